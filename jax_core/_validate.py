"""Checks of what users pass in: every error names the argument, what is wrong, and the remedy.

Shapes and dtypes are always known and always checked. Values are checked where they are known,
that is outside of ``jit``, ``vmap`` and ``grad`` (there arrays are tracers, which hold no values).
"""

import math
import numbers
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from ._events import Events

_FLOATS = (np.dtype("float32"), np.dtype("float64"))


NOT_A_RASTER = (
    "spikes are times in seconds, not a raster of zeros and ones; convert one with "
    "spike_times_from_dense(raster, dt, max_spikes), time first"
)
_LONGEST_RASTER = 1 << 23
"""Of more steps, float32 does not tell all apart."""


def known(x: Any) -> bool:
    """Whether the values of ``x`` are known now, which they are not while JAX traces."""
    return not isinstance(x, Tracer)


def canonical_dtype(x: Any) -> np.dtype:
    """The dtype that JAX gives ``x``: float64 is float32 unless x64 mode is on."""
    return np.dtype(jax.dtypes.canonicalize_dtype(x.dtype))


def check_spikes(
    spikes: Any, neurons: int | None = None, name: str = "spikes", *, values: bool = True
) -> None:
    """Check a spike-time tensor ``(..., neurons, k)`` or ``Events``.

    **Arguments:**

    - ``spikes``: what the user passed.
    - ``neurons``: how many neurons it must come from; ``None`` accepts any number.
    - ``name``: the argument's name in messages.
    - ``values``: whether to check values too; reading them waits for the device.
    """
    if isinstance(spikes, Events):
        check_events(spikes, neurons, name, values=values)
    else:
        check_spike_times(spikes, neurons, name, values=values)


def check_spike_times(
    spikes: Any, neurons: int | None = None, name: str = "spikes", *, values: bool = True
) -> None:
    """Check a spike-time tensor: float ``(..., neurons, k)``, no NaN, >= 0, ascending."""
    if getattr(getattr(spikes, "dtype", None), "kind", "f") in "biu":
        raise TypeError(f"{name} must be float32 or float64, got {spikes.dtype}; {NOT_A_RASTER}")
    if values and hasattr(spikes, "dtype") and known(spikes):
        refuse_raster(np.asarray(spikes), name)
    check_float(spikes, name, "an array of spike times (..., neurons, spikes) or Events")
    if spikes.ndim < 2:
        raise ValueError(
            f"{name} must have at least two axes (..., neurons, spikes), got shape {spikes.shape}; "
            f"for one spike per neuron add a last axis of length 1"
        )
    if neurons is not None and spikes.shape[-2] != neurons:
        raise ValueError(
            f"{name} of shape {spikes.shape} come from {spikes.shape[-2]} neurons (last axis but "
            f"one), but {neurons} are expected; {_right_shape(tuple(spikes.shape), neurons, name)}"
        )
    if values and known(spikes):
        _check_times(np.asarray(spikes), name)


def refuse_raster(spikes: np.ndarray, name: str = "spikes") -> None:
    """Raise for an array that holds zeros and ones, both and nothing else, of any shape and dtype.

    Zeros alone may be times: all neurons spike at once.
    """
    if spikes.size < 2 or spikes.min() != 0 or spikes.max() != 1:
        return
    if ((spikes == 0) | (spikes == 1)).all():
        raise ValueError(
            f"{name} of shape {spikes.shape} hold 0 and 1 only: {NOT_A_RASTER}. If all neurons do "
            f"spike at 0 s or at 1 s, append an empty slot, of inf, along the last axis"
        )


def _right_shape(shape: tuple[int, ...], neurons: int, name: str) -> str:
    """What was probably meant by a shape with the wrong number of neurons."""
    if shape[-1] == neurons:
        return f"did you mean {name}[..., None], with one spike per neuron?"
    axes = range(2, len(shape))
    if any(neurons in (math.prod(shape[-n:]), math.prod(shape[-n - 1 : -1])) for n in axes):
        return f"flatten the neurons' axes into one, before an encoder or here: (..., {neurons}, k)"
    return f"shape {name} as (..., {neurons}, spikes)"


def check_events(
    events: Events, neurons: int | None = None, name: str = "events", *, values: bool = True
) -> None:
    """Check ``Events``: equal shapes ``(..., M)``, sorted, padded with ``inf`` / ``-1``."""
    time, index = events
    check_float(time, f"{name}.time", "an array of event times (..., events)")
    if not hasattr(index, "dtype") or not np.issubdtype(index.dtype, np.integer):
        kind = getattr(index, "dtype", type(index).__name__)
        raise TypeError(f"{name}.index must hold integers (int32), got {kind}; convert it")
    if time.shape != index.shape or time.ndim < 1:
        raise ValueError(
            f"{name}.time and {name}.index must share one shape (..., events), "
            f"got {time.shape} and {index.shape}"
        )
    if values and known(time):
        _check_times(np.asarray(time), f"{name}.time")
    if values and known(index):
        _check_index(np.asarray(index), neurons, f"{name}.index")
    if values and known(time) and known(index):
        _check_padding(np.asarray(time), np.asarray(index), name)


def check_weight(
    weight: Any, pre: int | None, dtype: Any, name: str = "weight", *, values: bool = True
) -> None:
    """Check weights: finite, shape ``(post, pre)``, dtype of the spikes.

    **Arguments:**

    - ``weight``: what the user passed.
    - ``pre``: number of input neurons; ``None`` accepts any number.
    - ``dtype``: dtype of the spike times.
    - ``name``: the argument's name in messages.
    - ``values``: whether to check values too; reading them waits for the device.
    """
    check_float(weight, name, "an array of shape (out, in)")
    if weight.ndim != 2:
        raise ValueError(f"{name} must have shape (out, in), got shape {weight.shape}")
    if pre is not None and weight.shape[1] != pre:
        raise ValueError(
            f"{name} of shape {weight.shape} (out, in) takes {weight.shape[1]} inputs, but the "
            f"spikes come from {pre} neurons; make the two equal"
        )
    check_weight_values(weight, dtype, name, values=values)


def check_weight_values(
    weight: Any, dtype: Any, name: str = "weight", *, values: bool = True
) -> None:
    """Check weights of any shape: finite, dtype of the spikes."""
    check_float(weight, name, "an array of weights")
    check_same_dtype(weight, dtype, name)
    if values and known(weight):
        checked = np.asarray(weight)
        refuse(~np.isfinite(checked), checked, name, "must be finite", "replace NaN and inf")


def check_connection_delays(
    delay: Any, weight: Any, name: str = "delay", *, values: bool = True
) -> None:
    """Check delays of connections, if there are any: finite, >= 0, shape and dtype of weights."""
    if delay is None:
        return
    check_float(delay, name, "an array with one delay per connection")
    if delay.shape != weight.shape:
        raise ValueError(
            f"{name} must have one value per connection, the shape {tuple(weight.shape)} of "
            f"weight, got {tuple(delay.shape)}"
        )
    check_same_dtype(delay, weight.dtype, name)
    if values and known(delay):
        checked = np.asarray(delay)
        wrong = ~(np.isfinite(checked) & (checked >= 0))
        refuse(wrong, checked, name, "must be finite and >= 0", "choose delays in seconds")


def check_recurrent_weight(
    recurrent_weight: Any, weight: Any, neurons: int, *, values: bool = True
) -> None:
    """Check recurrent weights: finite, shape ``(out, out)`` and dtype to go with ``weight``."""
    name = "recurrent_weight"
    check_weight(recurrent_weight, None, weight.dtype, name, values=values)
    if recurrent_weight.shape != (neurons, neurons):
        raise ValueError(
            f"{name} must have shape ({neurons}, {neurons}), as weight of shape "
            f"{tuple(weight.shape)} is for {neurons} neurons, got {tuple(recurrent_weight.shape)}"
        )


def check_recurrent_delay(delay: Any, recurrent_weight: Any, *, values: bool = True) -> None:
    """Check delays within a layer: a number, one per neuron, or one per connection; >= 0."""
    name, neurons = "recurrent_delay", recurrent_weight.shape[0]
    if getattr(delay, "shape", ()) not in ((), (neurons,), (neurons, neurons)):
        raise ValueError(
            f"{name} must be a number or have one value per neuron, shape ({neurons},), or per "
            f"connection, shape ({neurons}, {neurons}), got shape {tuple(delay.shape)}"
        )
    if getattr(delay, "ndim", 0) == 2:
        check_connection_delays(delay, recurrent_weight, name, values=values)
    else:
        dtype = recurrent_weight.dtype
        check_constant(delay, name, neurons, dtype, nonnegative=True, values=values)


def check_constant(
    value: Any,
    name: str,
    neurons: int,
    dtype: Any,
    *,
    positive: bool = False,
    nonnegative: bool = False,
    infinite: bool = False,
    values: bool = True,
) -> None:
    """Check a neuron constant: a number, or an array of shape ``()`` or ``(neurons,)``.

    **Arguments:**

    - ``value``: what the user passed.
    - ``name``: the argument's name in messages.
    - ``neurons``: number of neurons that the constant belongs to.
    - ``dtype``: dtype of the spike times; arrays must have it too.
    - ``positive``, ``nonnegative``: whether values must be > 0, or >= 0.
    - ``infinite``: whether ``inf`` is allowed.
    - ``values``: whether to check an array's values too; reading them waits for the device.
    """
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        checked = np.asarray(float(value))
    else:
        check_float(value, name, f"a number or an array of shape () or ({neurons},)")
        if value.shape not in ((), (neurons,)):
            raise ValueError(
                f"{name} must be a number or have one value per neuron, shape ({neurons},), "
                f"got shape {value.shape}"
            )
        if not getattr(value, "weak_type", False):
            check_same_dtype(value, dtype, name)
        if not (values and known(value)):
            return
        checked = np.asarray(value)
    refuse(np.isnan(checked), checked, name, "must not be NaN", "replace it")
    if not infinite:
        refuse(np.isinf(checked), checked, name, "must be finite", "choose a finite value")
    if positive:
        refuse(checked <= 0, checked, name, "must be > 0", "choose a positive value")
    if nonnegative:
        refuse(checked < 0, checked, name, "must be >= 0", "choose 0 or a positive value")


def check_less(lower: Any, upper: Any, lower_name: str, upper_name: str) -> None:
    """Check that ``lower < upper`` holds everywhere, each a number or an array."""
    if not (known(lower) and known(upper)):
        return
    low, high = np.broadcast_arrays(np.asarray(lower), np.asarray(upper))
    wrong = low >= high
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        where = f" at neuron {at[0]}" if at else ""
        raise ValueError(
            f"{lower_name} must be below {upper_name}, but {lower_name} = {low[at]!s} and "
            f"{upper_name} = {high[at]!s}{where}; lower {lower_name} or raise {upper_name}"
        )


def check_integer(value: Any, name: str, minimum: int) -> None:
    """Check a static whole number, such as ``max_spikes``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an int, got {type(value).__name__}")
    if int(value) < minimum:
        raise ValueError(f"{name} must be >= {minimum}, got {value}")


def check_duration(value: Any, name: str, *, infinite: bool = True, positive: bool = False) -> None:
    """Check a time, such as ``t_max``: a number or scalar array, >= 0 (or > 0), never NaN."""
    # A plain number is only compared, which torch.compile traces where it leaves the value open.
    if not isinstance(value, float) and getattr(value, "shape", None) == ():
        if not known(value):
            return
        value = np.asarray(value).item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    number: Any = value
    if not number >= 0 or (positive and number == 0):
        raise ValueError(f"{name} must be {'> 0' if positive else '>= 0'}, got {value}")
    if number == math.inf and not infinite:
        raise ValueError(f"{name} must be finite, got {value}")


def check_query_times(
    times: Any, batch: tuple[int, ...], dtype: Any, name: str = "times", *, values: bool = True
) -> None:
    """Check times to look at a voltage: finite, >= 0, shape ``(T,)`` or ``(*batch, T)``."""
    check_float(times, name, "an array of shape (T,) or (..., T)")
    if times.ndim == 0 or times.shape[:-1] not in ((), batch):
        raise ValueError(
            f"{name} must have shape (T,), or (..., T) with the spikes' leading dimensions "
            f"{batch}, got {times.shape}"
        )
    check_same_dtype(times, dtype, name)
    if values and known(times):
        checked = np.asarray(times)
        refuse(~np.isfinite(checked), checked, name, "must be finite", "choose finite times")
        refuse(checked < 0, checked, name, "must be >= 0", "time starts at 0")


def check_raster(raster: Any, name: str = "raster", *, values: bool = True) -> None:
    """Check a dense raster ``(time, ..., neurons)`` of zeros and ones, of any dtype."""
    if not (hasattr(raster, "dtype") and hasattr(raster, "shape")):
        raise TypeError(
            f"{name} must be an array (time, ..., neurons), got {type(raster).__name__}"
        )
    if raster.ndim < 2:
        raise ValueError(f"{name} must have shape (time, ..., neurons), got {raster.shape}")
    kind = raster.dtype if raster.dtype in _FLOATS else np.dtype(np.float64)
    is_double = jax.dtypes.canonicalize_dtype(kind) == np.float64
    check_steps(raster.shape[0], is_double, name)
    if values and known(raster):
        checked = np.asarray(raster)
        wrong = (checked != 0) & (checked != 1)
        refuse(wrong, checked, name, "must hold only 0 and 1", "make dt small enough")


def check_steps(steps: int, is_double: bool, name: str = "raster") -> None:
    """Check that a floating-point time tells all steps of a raster apart."""
    if steps > _LONGEST_RASTER and not is_double:
        raise ValueError(
            f"{name} has {steps} steps, more than the {_LONGEST_RASTER} that float32 tells apart; "
            f"convert it to float64, or cut it into parts"
        )


def check_float(x: Any, name: str, expected: str) -> None:
    if not (hasattr(x, "dtype") and hasattr(x, "shape")):
        raise TypeError(
            f"{name} must be {expected}, got {type(x).__name__}; convert it to an array"
        )
    if x.dtype not in _FLOATS:
        raise TypeError(f"{name} must be float32 or float64, got {x.dtype}; convert it")


def check_same_dtype(x: Any, dtype: Any, name: str) -> None:
    if x.dtype != dtype and canonical_dtype(x) != jax.dtypes.canonicalize_dtype(dtype):
        raise TypeError(
            f"{name} has dtype {x.dtype}, but the spikes have {np.dtype(dtype)}; convert one of "
            f"them so that both agree"
        )


def _check_times(times: np.ndarray, name: str) -> None:
    refuse(np.isnan(times), times, name, "must not be NaN", "mark a missing spike with inf")
    refuse(times < 0, times, name, "must be >= 0", "shift all times so that the first is >= 0")
    descends = times[..., 1:] < times[..., :-1]
    if descends.any():
        at = tuple(int(i) for i in np.argwhere(descends)[0])
        later = (*at[:-1], at[-1] + 1)
        raise ValueError(
            f"{name} must ascend along the last axis, but {_place(name, later)} = {times[later]!s} "
            f"follows {times[at]!s}; sort the times (events: together with their indices)"
        )


def _check_index(index: np.ndarray, neurons: int | None, name: str) -> None:
    top = np.iinfo(np.int32).max if neurons is None else neurons
    refuse(
        (index < -1) | (index >= top),
        index,
        name,
        f"must be >= 0 and < {top} (the number of neurons), or -1 for padding",
        "check the addresses and the number of neurons",
    )


def _check_padding(time: np.ndarray, index: np.ndarray, name: str) -> None:
    wrong = np.isinf(time) != (index == -1)
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"{name}: an absent event has time inf and index -1, but {_place(f'{name}.time', at)} "
            f"= {time[at]!s} goes with index {index[at]}; set both or neither"
        )


def refuse(wrong: np.ndarray, values: np.ndarray, name: str, rule: str, remedy: str) -> None:
    """Raise if anything is ``wrong``, naming the first such place and its value."""
    if np.any(wrong):
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(f"{name} {rule}, but {_place(name, at)} = {values[at]!s}; {remedy}")


def _place(name: str, at: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(map(str, at))}]" if at else name
