"""What torch.compile sees of a layer. Imported only while it is tracing.

The compiler ignores caches: a bridged function made while it traces would be made and compiled anew
at each call. Here all of them exist before it looks.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch

from .. import jax_core
from ..bridge import TorchFunction, as_torch_function
from ..jax_core._li_grid import li_grid
from ._overflow import report_overflow
from .functional._layer import counting

_PUBLIC = [function for function in vars(jax_core).values() if inspect.isfunction(function)]
_FUNCTIONS = [*_PUBLIC, li_grid]
_PLAIN = {function: as_torch_function(function) for function in _FUNCTIONS}
_COUNTING = {
    function: as_torch_function(
        functools.update_wrapper(functools.partial(counting, function), function)
    )
    for function in _FUNCTIONS
}


def bridged(function: Callable[..., Any], counts: bool) -> TorchFunction:
    """A function of ``jax_core`` for tensors, with `counting` or without."""
    return (_COUNTING if counts else _PLAIN)[function]


# It looks at values. Python does it, and the compiler breaks its graph there without a word; with
# fullgraph=True it gives this reason.
report_outside: Any = torch.compiler.disable(
    report_overflow,
    reason="whether spikes found no room is looked up in the values, outside of the graph; with "
    "fullgraph=True make the layer with on_overflow='truncate', or with refractory=inf, where one "
    "spike is all there is",
)
