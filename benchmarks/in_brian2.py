"""A network of LIF neurons in Brian 2, with the files of `in_nest.py`.

    .venv-pynn/bin/python benchmarks/in_brian2.py NETWORK.npz SPIKES.npz

``resolution`` is the step; input spikes are moved to the nearest one, no two of an input to the
same. ``target`` is ``numpy`` or ``cython``, and ``cache`` the folder for what the latter compiles.
A spike's time is the begin of its step. Of the spikes, also ``compile_seconds``: what a run of no
time takes, which generates and compiles code.
"""

import importlib
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np


def main() -> None:
    given, written = sys.argv[1:]
    with np.load(given) as network:
        np.savez(written, **run(dict(network)))


def run(network: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Build and run a network; the time of the run is that from its first step to its last."""
    brian2: Any = importlib.import_module("brian2")
    brian2.prefs.codegen.target = str(network["target"])
    brian2.prefs.codegen.runtime.cython.cache_dir = str(network["cache"])
    begin = time.perf_counter()
    everything, monitor = build(brian2, network)
    built = time.perf_counter()
    seconds, clocks = brian2.second, []
    everything.run(0 * seconds)
    compiled = time.perf_counter()

    def note(*_: Any) -> None:
        clocks.append((time.perf_counter(), time.process_time()))

    everything.run(network["t_max"] * seconds, report=note, report_period=1e9 * seconds)
    return {
        "time": np.asarray(monitor.t / seconds),
        "index": np.asarray(monitor.i),
        "build_seconds": built - begin,
        "compile_seconds": compiled - built,
        "run_seconds": np.subtract(clocks[-1], clocks[0]),
    }


def build(brian2: Any, network: Mapping[str, np.ndarray]) -> tuple[Any, Any]:
    """**Returns** the network and the monitor of its spikes."""
    second, step = brian2.second, float(network["resolution"])
    brian2.defaultclock.dt = step * second
    neurons = brian2.NeuronGroup(
        len(network["tau_mem"]),
        """dv/dt = (v_leak - v + i_syn) / tau_mem : 1 (unless refractory)
        di_syn/dt = -i_syn / tau_syn : 1
        tau_mem : second (constant)
        tau_syn : second (constant)
        v_threshold : 1 (constant)
        v_leak : 1 (constant)
        v_reset : 1 (constant)
        held : second (constant)""",
        threshold="v >= v_threshold",
        reset="v = v_reset",
        refractory="held",
        method="exact",
    )
    neurons.tau_mem, neurons.tau_syn = network["tau_mem"] * second, network["tau_syn"] * second
    neurons.held = network["refractory"] * second
    neurons.v_threshold, neurons.v_reset = network["v_threshold"], network["v_reset"]
    neurons.v = neurons.v_leak = network["v_leak"]
    at = np.round(network["input_time"] / step) * step
    sources = brian2.SpikeGeneratorGroup(
        int(network["inputs"]), network["input_index"], at * second
    )
    monitor, parts = brian2.SpikeMonitor(neurons), []
    of_input = network["pre"] < network["inputs"]
    for group, chosen, first in ((sources, of_input, 0), (neurons, ~of_input, len(sources))):
        synapses = brian2.Synapses(group, neurons, "w : 1", on_pre="i_syn_post += w")
        synapses.connect(i=network["pre"][chosen] - first, j=network["post"][chosen])
        synapses.w = network["weight"][chosen]
        synapses.delay = network["delay"][chosen] * second
        parts.append(synapses)
    return brian2.Network(neurons, sources, monitor, *parts), monitor


if __name__ == "__main__":
    main()
