"""Random networks for evtorch and for NEST, whose delays and refractory periods are multiples of a
step and at least one."""

import subprocess
from pathlib import Path
from typing import Any

import jax
import numpy as np

from evtorch import jax_core

from .._simulators import PYTHON, ROOT

NETWORKS, INPUTS, NEURONS, ROOM = 100, 6, 8, 64
STEP, T_MAX = 1.25e-4, 0.1
CONSTANTS = ("tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset", "refractory")

Layer = dict[str, np.ndarray]
"""Constants ``(networks, neurons)``; of inputs, and of the layer's own neurons if it is recurrent,
``weight`` and ``delay``, ``recurrent_weight`` and ``recurrent_delay``, ``(networks, to, from)``."""


def random_input(rng: np.random.Generator) -> np.ndarray:
    """Spike times ``(networks, inputs, 8)`` from one step on, so that the first comes after 0."""
    return np.sort(rng.uniform(STEP, T_MAX, (NETWORKS, INPUTS, 8)))


def random_layer(rng: np.random.Generator, inputs: int, recurrent: bool) -> Layer:
    """A third of the connections inhibit; a fifth of the neurons have ``tau_mem < tau_syn``."""
    shape = NETWORKS, NEURONS
    tau_mem = rng.uniform(5e-3, 3e-2, shape)
    layer = {
        "tau_mem": tau_mem,
        "tau_syn": tau_mem * rng.choice([1.4, 0.7, 0.5, 0.3, 0.1], shape),
        "v_threshold": rng.uniform(0.7, 1.3, shape),
        "v_leak": rng.uniform(-0.3, 0.3, shape),
        "v_reset": rng.uniform(-0.5, 0.2, shape),
        "refractory": STEP * rng.integers(1, 40, shape),
    }
    scale = tau_mem / layer["tau_syn"]
    for name, size in (("", inputs), ("recurrent_", NEURONS if recurrent else 0)):
        if size:
            weight = rng.uniform(0.2, 1, (*shape, size)) * rng.choice([1, 1, -1], (*shape, size))
            layer[f"{name}weight"] = 8 / size * (0.3 if name else 1) * scale[..., None] * weight
            layer[f"{name}delay"] = STEP * rng.integers(1, 60, weight.shape)
    return layer


def simulated(layer: Layer, spikes: np.ndarray) -> np.ndarray:
    """evtorch's spikes ``(networks, neurons, room)``."""

    def one(spikes: Any, layer: dict[str, Any]) -> jax.Array:
        constants = {name: layer[name] for name in CONSTANTS}
        settings = {**constants, "max_spikes": ROOM, "t_max": T_MAX}
        connections = jax_core.SynapticDelays(layer["delay"])
        if "recurrent_weight" not in layer:
            return jax_core.lif(spikes, layer["weight"], connections=connections, **settings)
        settings["recurrent_delay"] = layer["recurrent_delay"]
        weights = layer["weight"], layer["recurrent_weight"]
        return jax_core.recurrent_lif(spikes, *weights, connections=connections, **settings)

    return np.asarray(jax.jit(jax.vmap(one))(spikes, layer))


def in_nest(layers: list[Layer], spikes: np.ndarray, folder: Path) -> list[np.ndarray]:
    """NEST's spikes ``(networks, neurons, room)`` of each layer, all networks in one kernel."""
    time, index = run_nest(flattened(layers, spikes), folder)
    tables = np.full((len(layers) * NETWORKS * NEURONS, ROOM), np.inf)
    for neuron, table in enumerate(tables):
        own = time[index == neuron]
        assert len(own) <= ROOM
        table[: len(own)] = own
    return list(tables.reshape(len(layers), NETWORKS, NEURONS, ROOM))


def run_nest(network: dict[str, Any], folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times and neurons of all spikes of a network for `in_nest.py`."""
    np.savez(folder / "network.npz", **network)
    script = ROOT / "benchmarks" / "in_nest.py"
    command = [PYTHON, script, folder / "network.npz", folder / "spikes.npz"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    with np.load(folder / "spikes.npz") as found:
        return found["time"], found["index"]


def flattened(layers: list[Layer], spikes: np.ndarray) -> dict[str, Any]:
    """All networks as one for `in_nest.py`: neurons by layer, then by network."""
    sources = np.arange(NETWORKS * INPUTS).reshape(NETWORKS, INPUTS)
    before, synapses = sources, []
    for k, layer in enumerate(layers):
        own = sources.size + np.arange(k * NETWORKS * NEURONS, (k + 1) * NETWORKS * NEURONS)
        own = own.reshape(NETWORKS, NEURONS)
        for name, pre in (("", before), ("recurrent_", own)):
            if f"{name}weight" in layer:
                weight, delay = layer[f"{name}weight"], layer[f"{name}delay"]
                pairs = np.broadcast_arrays(pre[:, None], own[..., None] - sources.size, weight)
                synapses.append([*(x.ravel() for x in pairs), delay.ravel()])
        before = own
    pre, post, weight, delay = (np.concatenate(parts) for parts in zip(*synapses, strict=True))
    order = np.argsort(spikes, axis=None)
    return {
        **{name: np.concatenate([x[name].ravel() for x in layers]) for name in CONSTANTS},
        "inputs": sources.size,
        "input_time": spikes.ravel()[order],
        "input_index": np.repeat(sources.ravel(), spikes.shape[-1])[order],
        "pre": pre,
        "post": post,
        "weight": weight,
        "delay": delay,
        "resolution": STEP,
        "t_max": T_MAX,
        "model": "iaf_psc_exp_ps_lossless",
    }
