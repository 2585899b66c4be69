"""A network of LIF neurons in evtorch, with the files of `in_nest.py`.

    .venv/bin/python benchmarks/in_evtorch.py NETWORK.npz SPIKES.npz

Of the network, also ``dtype``, and ``max_spikes``, room for the spikes of a neuron. All synapses of
a neuron have one delay, and those of inputs have one. Of the spikes, also ``compile_seconds``: what
the first call takes longer than the second.
"""

import sys
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from evtorch import jax_core


def main() -> None:
    given, written = sys.argv[1:]
    with np.load(given) as network, jax.enable_x64(str(network["dtype"]) == "float64"):
        np.savez(written, **run(dict(network)))


def run(network: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Build a network, and run it twice."""
    begin = time.perf_counter()
    arguments, settings = build(network)
    built = time.perf_counter()
    jax_core.recurrent_lif(*arguments, **settings).block_until_ready()
    first, used = time.perf_counter(), time.process_time()
    spikes = np.asarray(jax_core.recurrent_lif(*arguments, **settings))
    took = time.perf_counter() - first, time.process_time() - used
    index, slot = np.nonzero(np.isfinite(spikes))
    times = spikes[index, slot].astype(np.float64)
    order = np.argsort(times, kind="stable")
    return {
        "time": times[order],
        "index": index[order],
        "build_seconds": built - begin,
        "compile_seconds": first - built - took[0],
        "run_seconds": took,
    }


def build(network: Mapping[str, np.ndarray]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """**Returns** arguments and options of `recurrent_lif`."""
    dtype = np.dtype(str(network["dtype"]))
    names = ("tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset", "refractory")
    inputs, size = int(network["inputs"]), len(network["tau_mem"])
    of_input = network["pre"] < inputs
    weights: list[np.ndarray] = []
    settings: dict[str, Any] = {name: network[name].astype(dtype) for name in names}
    for name, some, sources in [
        ("connections", of_input, inputs),
        ("recurrent_connections", ~of_input, size),
    ]:
        pre = network["pre"][some] - (0 if some is of_input else inputs)
        pairs = np.stack([network["post"][some], pre], axis=1)
        settings[name] = jax_core.Sparse.of(pairs, sources, size, hearers=True)
        weights.append(network["weight"][some].astype(dtype))
    delay = np.zeros(size)
    delay[network["pre"][~of_input] - inputs] = network["delay"][~of_input]
    arrival = network["input_time"] + network["delay"][of_input][0]
    spikes = spike_times(arrival, network["input_index"], inputs).astype(dtype)
    settings["recurrent_delay"] = delay.astype(dtype)
    room = int(network["max_spikes"])
    settings |= {"t_max": float(network["t_max"]), "max_spikes": room}
    return (spikes, *weights), settings


def spike_times(time: np.ndarray, index: np.ndarray, inputs: int) -> np.ndarray:
    """Events, which ascend, as ``(inputs, most of one input)``."""
    count = np.bincount(index, minlength=inputs)
    order = np.argsort(index, kind="stable")
    slot = np.arange(len(index)) - np.repeat(count.cumsum() - count, count)
    spikes = np.full((inputs, count.max(initial=1)), np.inf)
    spikes[index[order], slot] = time[order]
    return spikes


if __name__ == "__main__":
    main()
