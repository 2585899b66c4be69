"""A network of LIF neurons in NEST, run by the Python of the environment that has it.

    .venv-pynn/bin/python benchmarks/in_nest.py NETWORK.npz SPIKES.npz

Both files hold arrays in seconds. Of the network: of each neuron ``tau_mem``, ``tau_syn``,
``v_threshold``, ``v_leak``, ``v_reset`` and ``refractory``; of the input spikes ``input_time``,
ascending, and ``input_index``, below ``inputs``; of the synapses ``pre``, where neurons follow the
inputs, ``post``, ``weight`` and ``delay``; ``resolution``, ``t_max`` and ``model``. Refractory
periods and delays are multiples of the resolution, one of it at least. Models whose spikes are on
the clock get input spikes at the nearest step, and have their own at the end of one.

Of the spikes: ``time``, ascending, and ``index``; and what building and running took,
``build_seconds`` and ``run_seconds``, the latter of wall time and of the processor.
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
    """Build and run a network in an empty kernel."""
    nest: Any = importlib.import_module("nest")
    begin = time.perf_counter()
    nest.ResetKernel()
    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.resolution = milliseconds(network["resolution"])
    neurons, recorder = build(nest, network)
    built, used = time.perf_counter(), time.process_time()
    # The kernel goes in whole steps, and records what it has sent.
    steps = np.ceil(network["t_max"] / network["resolution"]) + 1
    nest.Simulate(milliseconds(steps * network["resolution"]))
    took = time.perf_counter() - built, time.process_time() - used
    events = recorder.events
    times, index = events["times"] / 1e3, events["senders"] - neurons[0].global_id
    inside = times <= network["t_max"]
    order = np.argsort(times[inside], kind="stable")
    return {
        "time": times[inside][order],
        "index": index[inside][order],
        "build_seconds": built - begin,
        "run_seconds": took,
    }


def build(nest: Any, network: Mapping[str, np.ndarray]) -> tuple[Any, Any]:
    """**Returns** the neurons and their recorder.

    With ``C_m = tau_m``, picoamperes and millivolts are the model's numbers.
    """
    tau_mem = milliseconds(network["tau_mem"])
    constants = {
        "tau_m": tau_mem,
        "C_m": tau_mem,
        "tau_syn_ex": milliseconds(network["tau_syn"]),
        "tau_syn_in": milliseconds(network["tau_syn"]),
        "t_ref": milliseconds(network["refractory"]),
        "E_L": network["v_leak"],
        "V_m": network["v_leak"],
        "V_th": network["v_threshold"],
        "V_reset": network["v_reset"],
    }
    size = len(tau_mem)
    neurons = nest.Create(
        str(network["model"]), size, {name: value.tolist() for name, value in constants.items()}
    )
    exact, step = "_ps" in str(network["model"]), network["resolution"]
    sources = nest.Create("spike_generator", int(network["inputs"]), {"precise_times": exact})
    at = network["input_time"]
    at = milliseconds(at if exact else np.round(at / step) * step)
    sources.set([{"spike_times": at[network["input_index"] == i]} for i in range(len(sources))])
    senders = np.concatenate([sources.tolist(), neurons.tolist()])
    nest.Connect(
        senders[network["pre"]],
        np.asarray(neurons.tolist())[network["post"]],
        "one_to_one",
        {"weight": network["weight"], "delay": milliseconds(network["delay"])},
    )
    recorder = nest.Create("spike_recorder")
    nest.Connect(neurons, recorder, "all_to_all", {"delay": nest.resolution})
    return neurons, recorder


def milliseconds(seconds: Any) -> Any:
    return 1e3 * seconds


if __name__ == "__main__":
    main()
