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
from ..jax_core.layer._trace import lif_delayed_trace
from ..jax_core.readout._grid import li_grid
from .functional._layer import unpacking
from .functional._layer_state import recurrent_spiking_from_state, spiking_from_state
from .functional._lif_state import lif_from_state
from .functional._lists import lists
from .functional._projections import lif_of_projections
from .functional._recurrent_lif_state import recurrent_lif_from_state
from .layers._overflow import report_overflow

_PUBLIC = [each for each in map(vars(jax_core).get, jax_core.__all__) if inspect.isfunction(each)]
_OF_STATES = [
    lif_from_state,
    recurrent_lif_from_state,
    spiking_from_state,
    recurrent_spiking_from_state,
]
_OWN = [*_OF_STATES, lif_of_projections, lists]
_FUNCTIONS = [*_PUBLIC, *_OWN, li_grid, lif_delayed_trace]
_BRIDGED = {
    (function, counts): as_torch_function(
        functools.update_wrapper(functools.partial(unpacking, function, counts), function)
    )
    for function in _FUNCTIONS
    for counts in (False, True)
}


def bridged(function: Callable[..., Any], counts: bool) -> TorchFunction:
    """`unpacking` of a function of ``jax_core`` for tensors, with its counts or without."""
    return _BRIDGED[function, counts]


# It looks at values. Python does it, and the compiler breaks its graph there without a word; with
# fullgraph=True it gives this reason.
report_outside: Any = torch.compiler.disable(
    report_overflow,
    reason="whether spikes found no room is looked up in the values, outside of the graph; with "
    "fullgraph=True make the layer with on_overflow='truncate', or with refractory=inf, where one "
    "spike is all there is",
)
