"""Checks of what users pass in: what is particular to torch, and when to look at values.

Shapes, dtypes and devices are always checked. Values (NaN, negative or unsorted times, ...) are
looked at with one fused test, which waits for the device on which the tensor lies; `validation`
switches that off. The rules and the messages are those of ``jax_core``.
"""

import contextvars
import functools
import math
import numbers
from typing import Any, NamedTuple

import jax
import numpy as np
import torch
from torch import Tensor

from ..bridge._torch_internals import values_are_unknown
from ..jax_core import Connections, Events, Sparse
from ..jax_core import _validate as rules
from ..jax_core.layer._recurrent_lists import check_own
from ._setting import Setting

_DTYPES = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_C: Any = torch._C
_transforming = getattr(_C, "_are_functorch_transforms_active", lambda: False)
"""Whether a torch.func transformation runs. Without it, checks of values fail under vmap."""
_enabled = contextvars.ContextVar("evtorch_validation", default=True)


class validation(Setting):
    """Switch the checks of values on or off, in this thread, inside a ``with`` block.

    They cost some microseconds on the CPU, but on another device they wait for it. Without them
    bad values (NaN, negative or unsorted times, constants out of their range) give meaningless
    results. Shapes, dtypes and devices are checked in any case.

    **Arguments:** ``enabled``: whether values are checked.
    """

    variable = _enabled

    def __init__(self, enabled: bool) -> None:
        super().__init__(enabled)


def values_are_checked() -> bool:
    """Whether the values of arguments are checked now: not where torch only traces them."""
    return not (values_are_unknown() or _transforming()) and _enabled.get()


def is_transformed() -> bool:
    """Whether tensors may be wrappers that torch.func (vmap, grad, ...) made."""
    return not values_are_unknown() and _transforming()


def check_tensor(x: Any, name: str, expected: str) -> None:
    """Check that ``x`` is a dense float32 or float64 tensor."""
    if not isinstance(x, Tensor):
        remedy = "" if x is None else f"; convert it: torch.as_tensor({name}, dtype=torch.float32)"
        raise TypeError(f"{name} must be {expected}, got {type(x).__name__}{remedy}")
    if x.dtype not in _DTYPES:
        raise TypeError(
            f"{name} must be float32 or float64, got {x.dtype}; convert it with {name}.float(), a "
            f"module with module.float(), since spike times need that precision"
        )
    if x.layout != torch.strided:
        raise TypeError(f"{name} must be dense, got {x.layout}; convert it with .to_dense()")


def check_spike_tensor(x: Any, name: str = "spikes") -> None:
    """Check that ``x`` is a tensor that can hold spike times."""
    if isinstance(x, Events):
        raise TypeError(
            f"{name} must be a tensor of spike times (..., neurons, spikes), got Events; convert "
            f"them with snn.spike_times_from_events"
        )
    if isinstance(x, Tensor) and x.dtype in (*_INTEGERS, torch.bool):
        raise TypeError(f"{name} must be float32 or float64, got {x.dtype}; {rules.NOT_A_RASTER}")
    if isinstance(x, Tensor) and x.dtype not in _DTYPES:
        _refuse_raster(x, name)
    check_tensor(x, name, "a tensor of spike times (..., neurons, spikes) or Events")


def check_dtype(dtype: torch.dtype | None) -> torch.dtype:
    """Check the dtype of a module; **returns** it, torch's default for ``None``."""
    dtype = dtype or torch.get_default_dtype()
    if dtype not in _DTYPES:
        raise TypeError(
            f"dtype must be torch.float32 or torch.float64, got {dtype}; spike times need their "
            f"precision"
        )
    return dtype


def check_like(x: Tensor, reference: Tensor, name: str, reference_name: str = "spikes") -> None:
    """Check that ``x`` has the dtype and the device of ``reference``."""
    if x.dtype != reference.dtype:
        raise TypeError(
            f"{name} is {x.dtype}, but {reference_name} is {reference.dtype}; convert one of them "
            f"so that both agree, for a module with .to(dtype)"
        )
    if x.is_meta:
        raise ValueError(
            f"{name} is on device 'meta' and has no values to compute with; give a module memory "
            f"with module.to_empty(device='cpu') and values with load_state_dict, and pass spikes "
            f"on that device"
        )
    if x.device != reference.device:
        raise ValueError(
            f"{name} is on {x.device}, but {reference_name} is on {reference.device}; move one of "
            f"them, for a module with .to(device)"
        )


def check_times_and_weight(spikes: Any, weight: Any) -> None:
    """Check that spike times and weights are tensors of one dtype on one device."""
    times, name = (spikes.time, "spikes.time") if isinstance(spikes, Events) else (spikes, "spikes")
    check_spike_tensor(times, name)
    check_tensor(weight, "weight", "a tensor of shape (out, in)")
    if weight.dtype != times.dtype:
        _refuse_raster(times, name)
    check_like(weight, times, "weight")


def check_spikes(spikes: Any, neurons: int | None = None, name: str = "spikes") -> Tensor:
    """Check spike times ``(..., neurons, k)`` or ``Events``.

    **Returns:** the tensor of their times.
    """
    if isinstance(spikes, Events):
        return _check_events(spikes, neurons, name)
    check_spike_tensor(spikes, name)
    try:
        rules.check_spike_times(stand_in(spikes), neurons, name, values=False)
    except ValueError:
        _refuse_raster(spikes, name)
        raise
    if values_are_checked() and not _times_are_good(spikes.detach()):
        rules.check_spike_times(as_array(spikes), neurons, name)
    return spikes


def _refuse_raster(x: Tensor, name: str) -> None:
    """Raise for zeros and ones, where values are checked."""
    if values_are_checked() and x.layout == torch.strided and not x.is_meta and not x.is_complex():
        rules.refuse_raster(x.detach().cpu().double().numpy(), name)


def check_weight(weight: Tensor, name: str = "weight") -> None:
    """Check weights: shape ``(out, in)``, finite."""
    shape = stand_in(weight)
    rules.check_weight(shape, None, shape.dtype, name, values=False)
    # One NaN or inf makes the sum so, which is quicker to see than each; a sum of finite weights
    # that overflows passes the exact test.
    if values_are_checked() and not math.isfinite(weight.detach().sum().item()):
        rules.check_weight(as_array(weight), None, shape.dtype, name)


def check_connected(spikes: Any, weight: Any, connections: Connections) -> int:
    """Check spikes and weights of a layer with these connections; **returns** its neurons."""
    if isinstance(spikes, Events):
        raise TypeError(
            "spikes must be a spike-time tensor where there are connections, not Events; convert "
            "them with snn.spike_times_from_events"
        )
    check_spikes(spikes)
    if spikes.ndim <= connections.axes:
        raise ValueError(
            f"spikes must have at least {connections.axes + 1} axes for these connections (input "
            f"neurons, and spikes), got shape {tuple(spikes.shape)}"
        )
    check_tensor(weight, "weight", "a tensor of weights")
    check_like(weight, spikes, "weight")
    delay = getattr(connections, "delay", None)
    if delay is not None:
        check_tensor(delay, "delay", "a tensor with one delay per connection")
        check_like(delay, spikes, "delay")
    if torch.compiler.is_compiling():
        # jax_core checks them likewise, where this would break the compiler's graph.
        return connections.neurons(weight)  # pyright: ignore[reportArgumentType]
    shape = stand_in(weight)
    form = jax.tree.map(stand_in, connections)
    form.check(stand_in(spikes), shape, False)
    if values_are_checked():
        if not math.isfinite(weight.detach().sum().item()):
            rules.check_weight_values(as_array(weight), shape.dtype)
        if delay is not None and not bool(((delay >= 0) & (delay < math.inf)).all()):
            rules.check_connection_delays(as_array(delay), shape)
    return form.neurons(shape)


def check_recurrent_weight(
    recurrent_weight: Any, weight: Tensor, neurons: int, connections: Sparse | None = None
) -> None:
    """Check recurrent weights, ``(out, out)`` or of ``connections``: finite, dtype and device of
    ``weight``."""
    name = "recurrent_weight"
    form = "(out, out)" if connections is None else "(connections,)"
    check_tensor(recurrent_weight, name, f"a tensor of shape {form}")
    check_like(recurrent_weight, weight, name, "weight")
    shapes = stand_in(recurrent_weight), stand_in(weight)
    if connections is None:
        check_weight(recurrent_weight, name)
        rules.check_recurrent_weight(*shapes, neurons, values=False)
        return
    check_own(connections, *shapes, neurons, values=False)
    if values_are_checked() and not math.isfinite(recurrent_weight.detach().sum().item()):
        rules.check_weight_values(as_array(recurrent_weight), shapes[0].dtype, name)


def check_recurrent_delay(delay: Any, recurrent_weight: Tensor, neurons: int) -> None:
    """Check delays within a layer: a number, or a tensor ``()``, ``(out,)`` or ``(out, out)``."""
    name = "recurrent_delay"
    if not isinstance(delay, Tensor):
        check_constant_values({name: delay}, neurons)
        return
    check_like(delay, recurrent_weight, name, "recurrent_weight")
    if torch.compiler.is_compiling():
        # jax_core checks them likewise, where this would break the compiler's graph.
        return
    matrix = jax.ShapeDtypeStruct((neurons, neurons), stand_in(recurrent_weight).dtype)
    rules.check_recurrent_delay(stand_in(delay), matrix, values=False)
    if values_are_checked() and not bool(((delay >= 0) & (delay < math.inf)).all()):
        rules.check_recurrent_delay(as_array(delay), matrix)


def check_constants(constants: dict[str, Any], spikes: Tensor, neurons: int) -> None:
    """Check neuron constants: numbers, or tensors of shape ``()`` or ``(neurons,)``.

    **Arguments:** ``constants`` by name (as in `functional.lif`), ``spikes``: the times whose
    dtype and device they must have, ``neurons``: number of neurons.
    """
    for name, value in constants.items():
        if isinstance(value, Tensor):
            check_like(value, spikes, name)
    check_constant_values(constants, neurons)


def check_constant_values(
    constants: dict[str, Any], neurons: int, infinite: tuple[str, ...] = ("refractory",)
) -> None:
    """Check the shapes and, if `validation` is on, the values of neuron constants.

    ``infinite``: names of those that may be ``inf``.
    """
    if torch.compiler.is_compiling():
        # jax_core checks them likewise, where this would break the compiler's graph.
        return
    values = values_are_checked()
    for name, value in constants.items():
        if isinstance(value, Tensor) and value.is_meta:
            shape = stand_in(value)
            _check_constant(name, shape, neurons, shape.dtype, values=False, infinite=infinite)
        elif isinstance(value, Tensor):
            check_tensor(value, name, f"a number or a tensor of shape () or ({neurons},)")
            array = as_array(value) if values else stand_in(value)
            _check_constant(name, array, neurons, array.dtype, values, infinite)
        elif isinstance(value, bool) or not isinstance(value, numbers.Real):
            is_array = isinstance(value, (list, tuple, np.ndarray))
            raise TypeError(
                f"{name} must be a number or a tensor of shape ({neurons},), got "
                f"{type(value).__name__}"
                + (f"; convert it: torch.tensor({name}, dtype=torch.float32)" if is_array else "")
            )
        else:
            _check_number(name, float(value), infinite)
    if "v_threshold" in constants and "v_reset" in constants:
        reset, threshold = constants["v_reset"], constants["v_threshold"]
        if not (isinstance(reset, Tensor) or isinstance(threshold, Tensor)):
            _check_reset(float(reset), float(threshold))
        elif values and not any(isinstance(v, Tensor) and v.is_meta for v in (reset, threshold)):
            rules.check_less(as_array(reset), as_array(threshold), "v_reset", "v_threshold")


def _check_constant(
    name: str, value: Any, neurons: int, dtype: Any, values: bool, infinite: tuple[str, ...]
) -> None:
    rules.check_constant(
        value,
        name,
        neurons,
        dtype,
        positive=name.startswith("tau_"),
        nonnegative=name in ("refractory", "recurrent_delay"),
        infinite=name in infinite,
        values=values,
    )


# Numbers are the same at every call of a layer, so they are checked once.
@functools.lru_cache(maxsize=1024)
def _check_number(name: str, value: float, infinite: tuple[str, ...]) -> None:
    _check_constant(name, value, 0, None, values=True, infinite=infinite)


@functools.lru_cache(maxsize=1024)
def _check_reset(v_reset: float, v_threshold: float) -> None:
    rules.check_less(v_reset, v_threshold, "v_reset", "v_threshold")


def check_times(times: Any, spikes: Tensor | Events, axes: int = 1) -> None:
    """Check the times at which a voltage is asked for: ``(T,)`` or ``(..., T)``, finite, >= 0.

    ``axes``: how many axes there are of input neurons.
    """
    check_tensor(times, "times", "a tensor of times (T,) or (..., T)")
    is_events = isinstance(spikes, Events)
    check_like(times, spikes.time if is_events else spikes, "times")
    leading = tuple(spikes.time.shape[:-1] if is_events else spikes.shape[: -axes - 1])
    shape = stand_in(times)
    rules.check_query_times(shape, leading, shape.dtype, values=False)
    if values_are_checked() and not bool(((times >= 0) & (times < math.inf)).all()):
        rules.check_query_times(as_array(times), leading, shape.dtype)


def check_raster(raster: Any) -> None:
    """Check a dense raster ``(steps, ..., neurons)`` of zeros and ones, of any dtype."""
    if not isinstance(raster, Tensor):
        raise TypeError(
            f"raster must be a tensor (steps, ..., neurons), got {type(raster).__name__}"
        )
    if raster.ndim < 2:
        raise ValueError(f"raster must have shape (steps, ..., neurons), got {tuple(raster.shape)}")
    kept = raster.dtype if raster.dtype in _DTYPES else torch.get_default_dtype()
    is_double = kept == torch.float64
    rules.check_steps(len(raster), is_double)
    if values_are_checked() and not bool(((raster == 0) | (raster == 1)).all()):
        raise ValueError("raster must hold only 0 and 1; choose a dt that parts the spikes")


def check_size(value: Any, name: str) -> int:
    """Check a number of neurons; **returns** it."""
    rules.check_integer(value, name, 0)
    return int(value)


def _check_events(events: Events, neurons: int | None, name: str) -> Tensor:
    time, index = events
    check_tensor(time, f"{name}.time", "a tensor of event times (..., events)")
    if not isinstance(index, Tensor) or index.dtype not in _INTEGERS:
        kind = index.dtype if isinstance(index, Tensor) else type(index).__name__
        raise TypeError(f"{name}.index must be a tensor of integers (int32), got {kind}")
    if index.device != time.device:
        raise ValueError(
            f"{name}.index is on {index.device}, but {name}.time is on {time.device}; move one"
        )
    rules.check_events(Events(stand_in(time), stand_in(index)), neurons, name, values=False)
    if values_are_checked():
        absent = index == -1
        good = (index >= -1) & (absent == time.detach().isinf())
        if neurons is not None:
            good &= index < neurons
        if not (bool(good.all()) and _times_are_good(time.detach())):
            rules.check_events(Events(as_array(time), as_array(index)), neurons, name)
    return time


def _times_are_good(times: Tensor) -> bool:
    """Whether times have no NaN (which compares false), are >= 0, ascend, and look like times."""
    if times.numel() == 0:
        return True
    low, high = torch.stack(times.aminmax()).tolist()
    good = low >= 0
    if low == 0 and high == 1:
        good = not bool(((times == 0) | (times == 1)).all())
    if good and times.shape[-1] > 1:
        good = bool((times[..., 1:] >= times[..., :-1]).all())
    return good


class _StandIn(NamedTuple):
    """The shape and dtype of a tensor, for checks that need no values."""

    shape: tuple[int, ...]
    ndim: int
    dtype: Any


def stand_in(x: Tensor) -> _StandIn:
    return _StandIn(tuple(x.shape), x.ndim, _DTYPES.get(x.dtype, np.dtype(np.int32)))


def as_array(x: Any) -> Any:
    """The values of a tensor, for checks; anything else as it is."""
    return x.detach().cpu().numpy() if isinstance(x, Tensor) else x
