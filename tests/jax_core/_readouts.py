"""Random leaky integrators, and every read-out of them as a function of all its arguments."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from evtorch import jax_core

from ..reference import Neuron, leaky_integral, leaky_maximum, leaky_value

INPUTS, SPIKES, OUTPUTS, TIMES = 4, 3, 2, 5
T_MAX, TAU_WEIGHT = 1.3, 0.4


class Problem(NamedTuple):
    """What a read-out is differentiable in; with leading axes, many problems."""

    spikes: Any
    weight: Any
    tau_mem: Any
    tau_syn: Any
    v_leak: Any
    times: Any


def random_problems(rng: np.random.Generator, count: int, shared: bool = False) -> Problem:
    """Problems with very different, nearly equal and equal time constants, in turns."""
    neurons = (count,) if shared else (count, OUTPUTS)
    spikes = rng.uniform(0, 1, (count, INPUTS, SPIKES))
    spikes[rng.uniform(size=spikes.shape) < 0.2] = math.inf
    tau_mem = np.exp(rng.uniform(np.log(0.1), np.log(2), neurons))
    tau_syn = np.exp(rng.uniform(np.log(0.1), np.log(2), neurons))
    tau_syn[1::3] = tau_mem[1::3] * (1 + 10.0 ** -rng.integers(2, 15, tau_mem[1::3].shape))
    tau_syn[2::3] = tau_mem[2::3]
    return Problem(
        spikes=np.sort(spikes, axis=-1),
        weight=rng.normal(size=(count, OUTPUTS, INPUTS)),
        tau_mem=tau_mem,
        tau_syn=tau_syn,
        v_leak=rng.normal(size=neurons),
        times=rng.uniform(0, 2, (count, TIMES)),
    )


def value(spikes, weight, tau_mem, tau_syn, v_leak, times):
    constants = {"tau_mem": tau_mem, "tau_syn": tau_syn, "v_leak": v_leak}
    return jax_core.li_value(spikes, weight, times, **constants)


def integral(spikes, weight, tau_mem, tau_syn, v_leak, times):
    constants = {"tau_mem": tau_mem, "tau_syn": tau_syn, "v_leak": v_leak}
    return jax_core.li_integral(spikes, weight, **constants, t_max=T_MAX)


def weighted_integral(spikes, weight, tau_mem, tau_syn, v_leak, times):
    constants = {"tau_mem": tau_mem, "tau_syn": tau_syn, "v_leak": v_leak}
    return jax_core.li_integral(spikes, weight, **constants, t_max=T_MAX, tau_weight=TAU_WEIGHT)


def endless_integral(spikes, weight, tau_mem, tau_syn, v_leak, times):
    constants = {"tau_mem": tau_mem, "tau_syn": tau_syn, "v_leak": v_leak}
    return jax_core.li_integral(spikes, weight, **constants, t_max=math.inf, tau_weight=TAU_WEIGHT)


def maximum(spikes, weight, tau_mem, tau_syn, v_leak, times):
    constants = {"tau_mem": tau_mem, "tau_syn": tau_syn, "v_leak": v_leak}
    return jax_core.li_max(spikes, weight, **constants, t_max=T_MAX)


def endless_maximum(spikes, weight, tau_mem, tau_syn, v_leak, times):
    constants = {"tau_mem": tau_mem, "tau_syn": tau_syn, "v_leak": v_leak}
    return jax_core.li_max(spikes, weight, **constants)


def _each_time(neuron, times, weights, at):
    return [leaky_value(neuron, times, weights, float(t)) for t in at]


# The library's read-out and the reference's, for one neuron with its events and ``times``.
READOUTS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "value": (value, _each_time),
    "integral": (integral, lambda *run: leaky_integral(*run[:-1], T_MAX)),
    "weighted integral": (
        weighted_integral,
        lambda *run: leaky_integral(*run[:-1], T_MAX, TAU_WEIGHT),
    ),
    # exp(-40 * 0.4 / 0.4) is below float64 rounding.
    "endless integral": (
        endless_integral,
        lambda *run: leaky_integral(*run[:-1], 40 * TAU_WEIGHT, TAU_WEIGHT),
    ),
    "maximum": (maximum, lambda *run: leaky_maximum(*run[:-1], T_MAX)),
    "endless maximum": (endless_maximum, lambda *run: leaky_maximum(*run[:-1])),
}


@functools.cache
def readout(name: str, as_events: bool) -> Callable[..., Any]:
    """The library's read-out of one `Problem`, with spikes as events or as spike times."""
    function = READOUTS[name][0]

    def run(spikes, *rest):
        spikes = jax_core.events_from_spike_times(spikes, validate=False) if as_events else spikes
        return function(spikes, *rest)

    return run


@functools.cache
def evaluate(name: str, as_events: bool = False) -> Callable[..., Any]:
    """The read-out of many problems at once."""
    return jax.jit(jax.vmap(readout(name, as_events)))


@functools.cache
def pull_back(name: str, as_events: bool = False) -> Callable[..., Any]:
    """Gradients of the read-outs of many problems, given the gradients of the results."""

    def one(problem, cotangent):
        return Problem(*jax.vjp(readout(name, as_events), *problem)[1](cotangent))

    return jax.jit(jax.vmap(one))


def reference(name: str, problems: Problem) -> np.ndarray:
    """The read-outs of many problems, neuron by neuron."""
    expected = []
    for problem in zip(*problems, strict=True):
        spikes, weight, tau_mem, tau_syn, v_leak, times = problem
        for neuron in range(OUTPUTS):
            constants = [
                float(np.broadcast_to(x, (OUTPUTS,))[neuron]) for x in (tau_mem, tau_syn, v_leak)
            ]
            unit = Neuron(constants[0], constants[1], v_leak=constants[2])
            events = sorted(
                (float(t), float(weight[neuron, i]))
                for i in range(INPUTS)
                for t in spikes[i]
                if math.isfinite(t)
            )
            arrivals, weights = [e[0] for e in events], [e[1] for e in events]
            expected.append(READOUTS[name][1](unit, arrivals, weights, times))
    return np.reshape(np.array(expected), (len(problems.spikes), OUTPUTS, -1))


def finite_differences(
    name: str, problem: Problem, cotangent: np.ndarray, step: float = 1e-4
) -> Problem:
    """Derivatives of ``sum(cotangent * result)`` of one problem, fourth order in ``step``."""
    sizes = [np.size(x) for x in problem]
    flat = np.concatenate([np.ravel(x) for x in problem])
    offsets = step * np.array([1, -1, 2, -2])
    moved = flat + np.where(np.isfinite(flat), np.eye(len(flat)), 0)[:, None] * offsets[:, None]
    moved = np.where(np.isfinite(flat), moved, flat).reshape(-1, len(flat))
    pieces = np.split(moved, np.cumsum(sizes)[:-1], axis=-1)
    problems = Problem(*(p.reshape(-1, *np.shape(x)) for p, x in zip(pieces, problem, strict=True)))
    results = np.asarray(evaluate(name)(*problems))
    axes = tuple(range(1, results.ndim))
    near, back, far, far_back = np.sum(results * cotangent, axis=axes).reshape(-1, 4).T
    slopes = (8 * (near - back) - (far - far_back)) / (12 * step)
    split = np.split(slopes, np.cumsum(sizes)[:-1])
    return Problem(*(s.reshape(np.shape(x)) for s, x in zip(split, problem, strict=True)))


def as_arrays(problems: Problem, dtype: Any) -> Problem:
    return Problem(*(jnp.asarray(x, dtype) for x in problems))
