"""What the functions of all layers share: checks, and the call into ``jax_core``."""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch
from jax import Array
from torch import Tensor

from ...bridge import TorchFunction, as_torch_function
from ...jax_core import Events
from .._health import Health
from .._late import warn_if_late
from .._validate import check_constants, check_spikes, check_times_and_weight, check_weight

# Layers beyond this number with different constants or shapes of options compile anew in turns.
_MAX_BRIDGED = 1024


def check_layer(spikes: Tensor | Events, weight: Tensor, constants: dict[str, Any]) -> Tensor:
    """Check the arguments of a layer; **returns** the tensor of spike times."""
    check_times_and_weight(spikes, weight)
    check_weight(weight)
    times = check_spikes(spikes, weight.shape[1])
    check_constants(constants, times, weight.shape[0])
    warn_if_late(times, constants)
    return times


def call(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call a JAX function with tensors; what is no tensor (numbers, strings) is compiled in."""
    return _call(function, False, arguments, named)


def call_with_health(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """`call` of a function with ``return_health``; **returns** its spikes and the `Health`."""
    out, counts = _call(function, True, arguments, named)
    return out, Health(*counts.unbind())


def counting(function: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[Array, Array]:
    """``function`` with its counts in one array, as each array has its price at the bridge."""
    out, health = function(*arguments, **named, return_health=True)
    return out, jnp.stack([count for count in health if count is not None])


def _call(
    function: Callable[..., Any], counts: bool, arguments: tuple[Any, ...], named: dict[str, Any]
) -> Any:
    if torch.compiler.is_compiling():
        # Importing torch's compiler takes a second; here it is loaded already.
        from .. import _compile

        return _compile.bridged(function, counts)(*arguments, **named)
    tensors: dict[str, Tensor] = {}
    options = []
    for name, value in named.items():
        if isinstance(value, Tensor):
            tensors[name] = value
        else:
            value = value.item() if isinstance(value, np.generic) else value
            # 1, 1.0 and True are equal, but not the same to JAX.
            options.append((name, type(value), value))
    return _bridged(function, counts, tuple(options))(*arguments, **tensors)


@functools.lru_cache(maxsize=_MAX_BRIDGED)
def _bridged(
    function: Callable[..., Any], counts: bool, options: tuple[tuple[str, type, Any], ...]
) -> TorchFunction:
    """The bridged function with its options bound, once: it keeps what it compiled."""
    given = {name: value for name, _, value in options}
    first = (counting, function) if counts else (function,)
    bound = functools.partial(*first, **given)
    return as_torch_function(functools.update_wrapper(bound, function))
