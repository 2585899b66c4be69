"""The networks of `rounding.py`, and what they do in either precision.

Times are in units of about one synaptic time constant. All numbers are drawn in float32, so that
both precisions are given the same ones.
"""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from rounding_check import Lanes, highest

from evtorch import jax_core

INPUTS, INPUT_SPIKES, NEURONS, ROOM, T_MAX = 6, 2, 4, 32, 10.0
AT_ONCE = 2500
"""So many networks are simulated in one call."""
TOGETHER_WITHIN = 16
"""Neurons of a network whose voltages are so many units of rounding below their thresholds spike in
the moment of another one (`jax_core/simulate/_earliest.py`)."""

Rest = Literal["none", "some", "for ever"]
Recurrence = Literal["none", "at once", "delays of neurons", "delays of connections"]


class Kind(NamedTuple):
    """Networks of one shape; kinds that differ in values only share programs."""

    name: str
    rest: Rest
    ratio: int | None = None
    """``tau_mem / tau_syn`` if it has a closed form, else any, near 1 and 2 among them."""
    recurrence: Recurrence = "none"
    solver: Literal["lockstep", "chunked"] = "lockstep"
    grazing: bool = False
    """Whether thresholds are where a voltage without threshold has its peak, in float32."""


KINDS = (
    Kind("first spikes", "for ever"),
    Kind("first spikes, ratio 2", "for ever", 2),
    Kind("several spikes, ratio 1", "none", 1),
    Kind("several spikes, ratio 2", "none", 2),
    Kind("several spikes, refractory", "some"),
    Kind("several spikes, refractory, chunked solver", "some", solver="chunked"),
    Kind("recurrent, refractory", "some", recurrence="at once"),
    Kind("recurrent, ratio 2", "none", 2, "at once"),
    Kind("recurrent, a delay for each neuron", "none", recurrence="delays of neurons"),
    Kind(
        "recurrent, refractory, a delay for each connection", "some", None, "delays of connections"
    ),
    Kind("grazing: first spikes, ratio 2", "for ever", 2, grazing=True),
    Kind("grazing: several spikes, ratio 2", "none", 2, grazing=True),
    Kind("grazing: several spikes, refractory", "some", grazing=True),
    Kind("grazing: recurrent, ratio 2", "none", 2, "at once", grazing=True),
)


class Networks(NamedTuple):
    """Arrays, the first axis of each for the networks."""

    spikes: np.ndarray
    weight: np.ndarray
    constants: dict[str, np.ndarray]
    recurrent: np.ndarray | None
    delay: np.ndarray | None

    def map(self, change: Callable[[np.ndarray], np.ndarray]) -> "Networks":
        """Another array for each."""
        return jax.tree.map(change, self)

    def lanes(self, times: np.ndarray, keep: np.ndarray) -> Lanes:
        """Each neuron of some networks with all that happens to it, if ``times`` are its spikes."""
        net = self.map(lambda x: x[keep].astype(np.float64))
        own = times[keep].astype(np.float64)
        shape = *own.shape[:2], -1
        arrive = np.broadcast_to(net.spikes[:, None], (len(own), NEURONS, INPUTS, INPUT_SPIKES))
        weight = np.broadcast_to(net.weight[..., None], arrive.shape)
        time, drive = [arrive.reshape(shape)], [weight.reshape(shape)]
        if net.recurrent is not None:
            delay = np.zeros((1, NEURONS)) if net.delay is None else net.delay
            delay = delay if delay.ndim == 3 else np.repeat(delay[:, None], NEURONS, axis=1)
            arrive = own[:, None] + delay[..., None]
            weight = np.broadcast_to(net.recurrent[..., None], arrive.shape)
            time, drive = [*time, arrive.reshape(shape)], [*drive, weight.reshape(shape)]
        constants = {name: value.ravel() for name, value in net.constants.items()}
        slack = TOGETHER_WITHIN * _together(own) * (net.recurrent is not None)
        return Lanes(_flat(time), _flat(drive), _flat([own]), _flat([slack]), constants, T_MAX)


def _flat(parts: list[np.ndarray]) -> np.ndarray:
    """All that happens to each neuron in one row."""
    together = np.concatenate(parts, axis=-1)
    return together.reshape(-1, together.shape[-1])


def _together(own: np.ndarray) -> np.ndarray:
    """Whether another neuron of the network spikes in the same moment."""
    flat = own.reshape(len(own), -1)
    return (flat[:, :, None] == flat[:, None]).sum(2).reshape(own.shape) > 1


def draw(kind: Kind, seed: int, networks: int) -> Networks:
    """Networks of one kind; in a quarter times lie on a grid and two neurons are alike."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    on_grid = rng.random(networks) < 0.25
    constants = _constants(kind, rng, networks)
    spikes = rng.uniform(0.05, 6, (networks, INPUTS, INPUT_SPIKES))
    # A postsynaptic potential's height falls with tau_mem / tau_syn.
    height = (constants["v_threshold"] - constants["v_reset"]) * (
        0.5 + constants["tau_mem"] / constants["tau_syn"]
    )
    weight = rng.normal(0.3, 0.8, (networks, NEURONS, INPUTS)) * height[..., None]
    recurrent = delay = None
    if kind.recurrence != "none":
        recurrent = rng.normal(-0.1, 0.6, (networks, NEURONS, NEURONS)) * height[..., None]
        recurrent[on_grid, 1] = recurrent[on_grid, 0]
    if kind.recurrence.startswith("delays"):
        shape = (NEURONS,) if kind.recurrence == "delays of neurons" else (NEURONS, NEURONS)
        delay = rng.uniform(0, 2, (networks, *shape))
        delay[on_grid] = _grid(delay[on_grid])
        if len(shape) == 2:
            delay[on_grid, 1] = delay[on_grid, 0]
    spikes[on_grid], refractory = _grid(spikes[on_grid]), constants["refractory"]
    refractory[on_grid] = _grid(refractory[on_grid])
    for value in (weight, *constants.values()):
        value[on_grid, 1] = value[on_grid, 0]
    spikes = np.where(rng.random(spikes.shape) < 0.2, math.inf, spikes)
    net = Networks(np.sort(spikes, axis=-1), weight, constants, recurrent, delay)
    found = net.map(lambda x: x.astype(np.float32))
    if kind.ratio is not None:
        found.constants["tau_mem"] = found.constants["tau_syn"] * np.float32(kind.ratio)
    return _grazing(found) if kind.grazing else found


def _grid(times: np.ndarray) -> np.ndarray:
    return np.ceil(times * 4) / 4


def _constants(kind: Kind, rng: np.random.Generator, networks: int) -> dict[str, np.ndarray]:
    """Of each neuron its own; every tenth leaks over its threshold and fires without input."""
    shape = networks, NEURONS
    tau_syn = rng.uniform(0.5, 1.5, shape)
    ratio = np.exp(rng.uniform(math.log(0.2), math.log(8), shape))
    near = rng.choice([1.0, 2.0], shape) * (1 + rng.choice([0, 1e-7, -1e-4, 1e-3], shape))
    ratio = np.where(rng.random(shape) < 0.3, near, ratio)
    v_reset = np.where(rng.random(shape) < 0.5, 0.0, rng.uniform(-1, 1, shape))
    v_threshold = v_reset + rng.uniform(0.5, 1.5, shape)
    fraction = np.where(rng.random(shape) < 0.1, rng.uniform(1.05, 1.5, shape), 0)
    fraction = np.where(rng.random(shape) < 0.3, rng.uniform(-0.5, 0.7, shape), fraction)
    refractory = np.where(rng.random(shape) < 0.3, 0.0, 0.01 + rng.exponential(0.7, shape))
    return {
        "tau_mem": tau_syn * ratio,
        "tau_syn": tau_syn,
        "v_threshold": v_threshold,
        "v_leak": v_reset + fraction * (v_threshold - v_reset),
        "v_reset": v_reset,
        "refractory": {"none": 0, "some": 1, "for ever": math.inf}[kind.rest]
        * np.where(kind.rest == "for ever", 1.0, refractory),
    }


def _grazing(net: Networks) -> Networks:
    """With thresholds at peaks of voltages, where these are well above reset and leak."""
    silent = np.full((len(net.spikes), NEURONS, 1), math.inf)
    constants = dict(net.constants)
    peak = highest(net.lanes(silent, np.full(len(silent), True))).reshape(len(silent), NEURONS)
    floor = np.maximum(constants["v_leak"], constants["v_reset"])
    rests = constants["v_leak"] < constants["v_threshold"]
    threshold = np.where(rests & (peak > floor + 0.1), peak, constants["v_threshold"])
    return net._replace(constants={**constants, "v_threshold": threshold.astype(np.float32)})


def simulated(kind: Kind, net: Networks, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Spike times ``(networks, neurons, room)``, and which networks had no room for some."""
    net, found = net.map(lambda x: x.astype(dtype)), []
    with jax.enable_x64(dtype == np.float64):
        run = _program(kind.rest, kind.ratio, kind.recurrence, kind.solver)
        for begin in range(0, len(net.spikes), AT_ONCE):
            part = slice(begin, begin + AT_ONCE)
            found.append(jax.tree.map(np.asarray, run(net.map(partial(_take, part=part)))))
    times, overflow = zip(*found, strict=True)
    return np.concatenate(times), np.concatenate(overflow)


def _take(values: np.ndarray, part: slice) -> np.ndarray:
    return values[part]


@cache
def _program(rest: Rest, ratio: int | None, recurrence: Recurrence, solver: str) -> Any:
    """Networks' spikes and whether there was no room, compiled once for each precision."""
    form = jax_core.Form(ratio, rest == "for ever", rest != "none")
    room = 1 if form.spikes_once else ROOM
    options = {"form": form, "max_spikes": room, "t_max": T_MAX, "solver": solver}
    return jax.jit(jax.vmap(partial(_run, options, recurrence != "none")))


def _run(options: Any, recurs: bool, net: Any) -> Any:
    """One network."""
    options = {**options, **net.constants, "return_health": True}
    if recurs:
        delayed = {**options, "recurrent_delay": net.delay}
        times, health = jax_core.recurrent_lif(net.spikes, net.weight, net.recurrent, **delayed)
    else:
        times, health = jax_core.lif(net.spikes, net.weight, **options)
    return times, health.overflow.sum() > 0
