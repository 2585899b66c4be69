"""Checks of what a rule is called with."""

import math
import numbers
from typing import Any, NamedTuple

import numpy as np

from .._events import Events
from .._validate import (
    check_duration,
    check_float,
    check_same_dtype,
    check_spikes,
    known,
    refuse,
)
from ._fields import check_choice
from ._state import PlasticityState


class Call(NamedTuple):
    """The arrays of a call, as `Rule` takes them."""

    weight: Any
    pre: Any
    post: Any
    signal: Any = None
    signal_times: Any = None
    state: Any = None

    @property
    def batch(self) -> tuple[int, ...]:
        return _leading(self.pre)


def check_call(
    rule: Any,
    call: Call,
    reduction: str,
    t_max: Any,
    return_state: bool,
    *,
    values: bool,
) -> None:
    """Check all arguments; arrays may be stand-ins with ``shape``, ``ndim`` and ``dtype`` if
    ``values`` are not looked at."""
    check_choice(reduction, "reduction", ("none", "mean", "sum"))
    check_duration(t_max, "t_max", positive=True)
    _check_weight(call.weight, values)
    outputs, inputs = call.weight.shape[-2:]
    for name, spikes, neurons in (("pre", call.pre, inputs), ("post", call.post, outputs)):
        check_spikes(spikes, neurons, name, values=values)
        time = spikes.time if isinstance(spikes, Events) else spikes
        if time.dtype != call.weight.dtype:
            check_same_dtype(call.weight, time.dtype, "weight")
    if _leading(call.post) != call.batch:
        raise ValueError(
            f"pre and post must be of the same samples, but pre has leading dimensions "
            f"{call.batch} and post {_leading(call.post)}; pass spikes of one forward"
        )
    if call.weight.ndim > 2 and tuple(call.weight.shape[:-2]) != call.batch:
        raise ValueError(
            f"weight must have shape (out, in), or the leading dimensions {call.batch} of the "
            f"spikes before that, got {tuple(call.weight.shape)}"
        )
    _check_signal(rule, call, t_max, return_state, values)
    _check_end(rule, call, t_max, return_state)
    _check_state(rule, call)


def _leading(spikes: Any) -> tuple[int, ...]:
    return tuple(spikes.time.shape[:-1] if isinstance(spikes, Events) else spikes.shape[:-2])


def _check_weight(weight: Any, values: bool) -> None:
    check_float(weight, "weight", "an array of shape (out, in)")
    if weight.ndim < 2:
        raise ValueError(f"weight must have shape (out, in), got {tuple(weight.shape)}")
    if values and known(weight):
        found = np.asarray(weight)
        refuse(~np.isfinite(found), found, "weight", "must be finite", "replace NaN and inf")


def _check_signal(rule: Any, call: Call, t_max: Any, return_state: bool, values: bool) -> None:
    name, times = rule.signal, call.signal_times
    signal: Any = call.signal
    if name is None:
        return
    if signal is None:
        if times is not None:
            raise ValueError(f"{name}_times need {name}, the values at these times")
        if not return_state and (call.state is None or not rule.has_reward_trace):
            raise ValueError(
                f"{name} is missing, without which {type(rule).__name__} changes no weight; pass "
                f"it, or return_state=True for a piece of a stream without any"
            )
        return
    neurons = (call.weight.shape[-2],) if name == "signal" else ()
    expected = (*call.batch, *neurons)
    if not hasattr(signal, "shape") and not neurons and times is None:
        _check_reward_for_all(signal, name)
        return
    check_float(signal, name, f"an array of shape {expected}")
    check_same_dtype(signal, call.weight.dtype, name)
    if times is None:
        if tuple(signal.shape) != expected:
            raise ValueError(
                f"{name} must have shape {expected}, one value per "
                f"{'neuron and sample' if neurons else 'sample'}, got {tuple(signal.shape)}; pass "
                f"{name}_times for several in a sample"
            )
    else:
        _check_times_of_signal(name, signal, times, call, expected, values)
    if values and known(signal):
        found = np.asarray(signal)
        refuse(~np.isfinite(found), found, name, "must be finite", "replace NaN and inf")


def _check_reward_for_all(reward: Any, name: str) -> None:
    """Check one number for all samples."""
    if isinstance(reward, bool) or not isinstance(reward, numbers.Real):
        raise TypeError(f"{name} must be a number or an array, got {type(reward).__name__}")
    if not math.isfinite(float(reward)):
        raise ValueError(f"{name} must be finite, got {reward}")


def _check_times_of_signal(
    name: str, signal: Any, times: Any, call: Call, expected: tuple[int, ...], values: bool
) -> None:
    check_float(times, f"{name}_times", f"an array of shape {(*call.batch, 'R')}")
    check_same_dtype(times, call.weight.dtype, f"{name}_times")
    if times.ndim == 0 or tuple(times.shape[:-1]) != call.batch:
        raise ValueError(
            f"{name}_times must have the leading dimensions {call.batch} of the spikes and one "
            f"axis of times, got shape {tuple(times.shape)}"
        )
    if tuple(signal.shape) != (*expected, times.shape[-1]):
        raise ValueError(
            f"{name} must have shape {(*expected, times.shape[-1])}, with one value for each of "
            f"{name}_times, got {tuple(signal.shape)}"
        )
    if values and known(times):
        found = np.asarray(times)
        remedy = "mark an absent one with inf, and count from the begin of the piece"
        refuse(~(found >= 0), found, f"{name}_times", "must be >= 0", remedy)


def _check_end(rule: Any, call: Call, t_max: Any, return_state: bool) -> None:
    """Where something is to be said about the end, there must be one."""
    if not known(t_max) or t_max < math.inf:
        return
    if return_state:
        raise ValueError("return_state needs an end of the piece; pass a finite t_max")
    if rule.needs_end(call.signal_times is not None):
        raise ValueError(
            f"{type(rule).__name__} needs to know when a sample ends; pass a finite t_max"
        )


def _check_state(rule: Any, call: Call) -> None:
    state = call.state
    if state is None:
        return
    if not isinstance(state, PlasticityState):
        raise TypeError(
            f"state must be the PlasticityState that the rule returned with return_state=True, or "
            f"None, got {type(state).__name__}"
        )
    shapes = state_shapes(rule, call.batch, *call.weight.shape[-2:])
    for name, shape in shapes._asdict().items():
        given = getattr(state, name)
        found = None if given is None else tuple(given.shape)
        if found != shape:
            raise ValueError(
                f"state.{name} must have shape {shape} for this rule, these weights and spikes, "
                f"got {found}; pass what the same rule returned for the same samples"
            )
        if given is not None:
            check_same_dtype(given, call.weight.dtype, f"state.{name}")


def state_shapes(rule: Any, batch: tuple[int, ...], outputs: int, inputs: int) -> PlasticityState:
    """The shapes of a rule's state, ``None`` for what it does not have."""
    pre, post = rule.traces
    return PlasticityState(
        (*batch, inputs, pre) if pre else None,
        (*batch, outputs, post) if post else None,
        (*batch, outputs, inputs) if rule.has_eligibility else None,
        batch if rule.has_reward_trace else None,
    )
