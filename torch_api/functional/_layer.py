"""What the functions of all layers share: checks, and the call into ``jax_core``."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from ...bridge import as_torch_function
from ...jax_core import Events
from .._validate import check_constants, check_spikes, check_times_and_weight, check_weight


def check_layer(spikes: Tensor | Events, weight: Tensor, constants: dict[str, Any]) -> Tensor:
    """Check the arguments of a layer; **returns** the tensor of spike times."""
    check_times_and_weight(spikes, weight)
    check_weight(weight)
    times = check_spikes(spikes, weight.shape[1])
    check_constants(constants, times, weight.shape[0])
    return times


def call(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call a JAX function with tensors; what is no tensor (numbers, strings) is compiled in."""
    for name, value in named.items():
        if isinstance(value, np.generic):
            named[name] = value.item()
    return _bridged(function)(*arguments, **named)


# One bridged function per JAX function, as each keeps what it compiled.
_bridged = functools.cache(as_torch_function)
