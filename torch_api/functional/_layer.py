"""What the functions of all layers share: checks, and the call into ``jax_core``."""

import functools
import math
import numbers
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import torch
from jax import Array
from torch import Tensor

from ...bridge import TorchFunction, as_torch_function
from ...jax_core import Connections, Events
from ...jax_core.neuron._constants import form_of
from ...jax_core.walk._walk import check_quantity
from .._validate import (
    check_connected,
    check_constants,
    check_like,
    check_spikes,
    check_times,
    check_times_and_weight,
    check_weight,
)
from ..layers._health import Health
from ..layers._late import warn_if_late
from ._batch import Batch, argument_names
from ._connections import OBJECTS, put_together, taken_apart

# Layers beyond this number that differ in more than numbers and shapes compile anew in turns.
MAX_BRIDGED = 128
# Numbers that say how many there are of something, and so are part of the program.
_COUNTS = frozenset({"axes", "max_spikes", "max_events", "neurons", "steps"})


def check_layer(
    spikes: Tensor | Events,
    weight: Tensor,
    constants: dict[str, Any],
    connections: Connections | None = None,
) -> Tensor:
    """Check the arguments of a layer; **returns** the tensor of spike times."""
    if connections is not None:
        neurons = check_connected(spikes, weight, connections)
        assert isinstance(spikes, Tensor)
        check_constants(constants, spikes, neurons)
        warn_if_late(spikes, constants)
        return spikes
    check_times_and_weight(spikes, weight)
    check_weight(weight)
    times = check_spikes(spikes, weight.shape[1])
    check_constants(constants, times, weight.shape[0])
    warn_if_late(times, constants)
    return times


def check_trace(
    spikes: Tensor | Events,
    weight: Tensor,
    times: Tensor,
    constants: dict[str, Any],
    quantity: str,
    connections: Connections | None = None,
) -> Tensor:
    """Check the arguments of a layer's trace; **returns** the tensor of spike times."""
    check_quantity(quantity)
    given = check_layer(spikes, weight, constants, connections)
    check_times(times, spikes, 1 if connections is None else connections.axes)
    return given


def check_output(
    output: Tensor,
    weight: Tensor,
    spikes: Tensor,
    name: str = "output",
    connections: Connections | None = None,
) -> None:
    """Check spikes that are given for those of a layer, in dtype and device of its input's."""
    # Where there are connections, jax_core checks the axes of neurons.
    check_spikes(output, weight.shape[0] if connections is None else None, name)
    check_like(output, spikes, name)


def call(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """`call_as_is` with a batch of one of few sizes.

    **Arguments:** ``function``: takes spikes first, and all that it returns is of samples.
    """
    if torch.compiler.is_compiling():
        return _call(function, False, arguments, named)
    batch = Batch.of(arguments[0], named.get("connections"))
    found = _call(function, False, *padded(batch, function, arguments, named))
    return batch.cut(found) if batch.is_padded else found


def call_with_health(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """`call` of a function with ``return_health``.

    **Returns:** its spikes, the `Health`, and what else it gives.
    """
    if torch.compiler.is_compiling():
        out, counts, *others = _call(function, True, arguments, named)
        return out, Health(*counts.unbind()), *others
    batch = Batch.of(arguments[0], named.get("connections"))
    arguments, named = padded(batch, function, arguments, named)
    # Given also where all count, as another set of arguments is another program.
    out, counts, *others = _call(function, True, arguments, named | {"samples": batch.samples})
    if batch.is_padded:
        out, *others = map(batch.cut, (out, *others))
    return out, Health(*counts.unbind()), *others


def padded(
    batch: Batch, function: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call, by position and by name, with the silent samples of its batch."""
    if not batch.is_padded:
        return arguments, named
    names = argument_names(function)
    more = tuple(map(batch.pad, names, arguments))
    tensors = {name: batch.pad(name, x) for name, x in named.items() if isinstance(x, Tensor)}
    return more, named | tensors


def call_as_is(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call a JAX function with tensors and with options.

    Finite numbers are values at run time; counts, infinity, strings and the like are compiled in.
    """
    return _call(function, False, arguments, named)


def counting(function: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[Any, ...]:
    """``function`` with its counts in one array, as each array has its price at the bridge."""
    out, health, *others = function(*arguments, **named, return_health=True)
    return out, jnp.stack([count for count in health if count is not None]), *others


def _call(
    function: Callable[..., Any], counts: bool, arguments: tuple[Any, ...], named: dict[str, Any]
) -> Any:
    like = arguments[0].time if isinstance(arguments[0], Events) else arguments[0]
    tensors, options, names, values = parted(named, like.device)
    packed = as_packed(values, like)
    if torch.compiler.is_compiling():
        # Importing torch's compiler takes a second; here it is loaded already.
        from .. import _compile

        return _compile.bridged(function, counts)(names, packed, *arguments, **tensors, **options)
    return _bridged(function, counts, names, tuple(options.items()))(packed, *arguments, **tensors)


def parted(
    named: dict[str, Any], device: torch.device
) -> tuple[dict[str, Tensor], dict[str, Any], tuple[str, ...], list[float]]:
    """Arguments by what becomes of them: tensors, what is compiled in, and run-time numbers.

    **Returns:** the first two by name, names of the numbers, and these.
    """
    tensors: dict[str, Tensor] = {}
    options: dict[str, Any] = {}
    names, values = [], []
    for name, value in named.items():
        if isinstance(value, Tensor):
            tensors[name] = value
        elif name in OBJECTS:
            arrays, options[name] = taken_apart(name, value, device)
            tensors.update(arrays)
        elif _is_value(name, value):
            names.append(name)
            values.append(float(value))
        else:
            options[name] = value
    if "refractory" in named:
        options["form"] = form_of(*(named[name] for name in ("tau_mem", "tau_syn", "refractory")))
    return tensors, options, tuple(names), values


def as_packed(values: list[float], like: Tensor) -> Tensor:
    """Numbers in one tensor, as each array has its price at the bridge.

    It is made anew each time: one made in inference mode, or while torch traces, is of no use
    outside of that.
    """
    return torch.tensor(values, dtype=like.dtype, device=like.device)


def _is_value(name: str, option: Any) -> bool:
    if name in _COUNTS or isinstance(option, bool) or not isinstance(option, numbers.Real):
        return False
    number: Any = option
    # A comparison, as torch.compile traces it where it leaves the value open.
    return -math.inf < number < math.inf


@functools.lru_cache(maxsize=MAX_BRIDGED)
def _bridged(
    function: Callable[..., Any],
    counts: bool,
    names: tuple[str, ...],
    options: tuple[tuple[str, Any], ...],
) -> TorchFunction:
    """The bridged function with its options bound, once: it keeps what it compiled."""
    bound = functools.partial(unpacking, function, counts, names, **dict(options))
    return as_torch_function(functools.update_wrapper(bound, function))


def unpacking(
    function: Callable[..., Any],
    counts: bool,
    names: tuple[str, ...],
    packed: Array,
    *arguments: Any,
    **named: Any,
) -> Any:
    """``function`` with the numbers of ``packed`` as options of these ``names``."""
    given = {name: packed[position] for position, name in enumerate(names)}
    named = put_together(named)
    if counts:
        return counting(function, *arguments, **given, **named)
    return function(*arguments, **given, **named)
