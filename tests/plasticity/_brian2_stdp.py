"""STDP of Brian 2 on given spikes: reads arrays from a file and writes weights to another.

Runs in the environment that ``make pynn`` creates.
"""

import sys

import brian2  # pyright: ignore[reportMissingImports]
import numpy as np

MODEL = """
w : 1
dr/dt = -r / tau_plus : 1 (event-driven)
do/dt = -o / tau_minus : 1 (event-driven)
"""


def source(times: np.ndarray) -> brian2.SpikeGeneratorGroup:
    neuron, slot = np.nonzero(np.isfinite(times))
    return brian2.SpikeGeneratorGroup(len(times), neuron, times[neuron, slot] * brian2.second)


def main(given: str, result: str) -> None:
    brian2.prefs.codegen.target = "numpy"
    arrays = np.load(given)
    brian2.defaultclock.dt = float(arrays["step"]) * brian2.second
    pre, post = source(arrays["pre"]), source(arrays["post"])
    names = ("a_plus", "a_minus", "w_min", "w_max")
    namespace = {name: float(arrays[name]) for name in names}
    for name in ("tau_plus", "tau_minus"):
        namespace[name] = float(arrays[name]) * brian2.second
    change = "clip({}, w_min, w_max)" if bool(arrays["bounded"]) else "{}"
    synapses = brian2.Synapses(
        pre,
        post,
        MODEL,
        on_pre=f"r += 1\nw = {change.format('w - a_minus * o')}",
        on_post=f"o += 1\nw = {change.format('w + a_plus * r')}",
        namespace=namespace,
        method="exact",
    )
    synapses.connect()
    synapses.w = arrays["weight"].T.reshape(-1)
    brian2.Network(pre, post, synapses).run(float(arrays["t_max"]) * brian2.second)
    weight = np.empty_like(arrays["weight"])
    weight[synapses.j[:], synapses.i[:]] = synapses.w[:]
    np.save(result, weight)


if __name__ == "__main__":
    main(*sys.argv[1:])
