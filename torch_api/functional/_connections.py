"""How connections and neurons get to ``jax_core``: their tensors as arguments, all else compiled
in."""

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...jax_core import IF, QIF, AdaptiveLIF, AlphaLIF, Conv, DeltaLIF, Sparse, SynapticDelays

OBJECTS = ("connections", "recurrent_connections", "neuron")
"""Arguments that are dataclasses; of their tensors' names these are in front."""
# By name, as torch.compile hands on no types.
_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (Conv, Sparse, SynapticDelays, IF, QIF, AdaptiveLIF, AlphaLIF, DeltaLIF)
}


def taken_apart(name: str, given: Any, device: torch.device) -> tuple[dict[str, Tensor], Any]:
    """The arrays of a dataclass, if any, by name, and its kind and all else, which is compiled in.

    In plain Python, which torch.compile traces.

    **Arguments:** ``name``: one of `OBJECTS`.
    """
    if given is None:
        return {}, None
    kind: Any = type(given)
    if torch.compiler.is_compiling():
        if _KINDS.get(kind.__name__) is not kind:
            raise TypeError(
                f"{name} of type {kind.__name__} are not available under torch.compile, only those "
                f"of evtorch.jax_core; leave the layer eager"
            )
        kind = kind.__name__
    arrays: dict[str, Tensor] = {}
    fixed = []
    for field in dataclasses.fields(given):
        value = getattr(given, field.name)
        if isinstance(value, np.ndarray):
            value = torch.as_tensor(value, device=device)
        if isinstance(value, Tensor):
            arrays[f"{name}_{field.name}"] = value
        else:
            fixed.append((field.name, value))
    return arrays, (kind, tuple(fixed))


def put_together(named: dict[str, Any]) -> dict[str, Any]:
    """Named arguments with the dataclasses that `taken_apart` took apart."""
    for name in OBJECTS:
        if named.get(name) is not None:
            named = _with_object(name, named)
    return named


def _with_object(name: str, named: dict[str, Any]) -> dict[str, Any]:
    kind, fixed = named[name]
    kind = _KINDS[kind] if isinstance(kind, str) else kind
    begin = f"{name}_"
    arrays = {key[len(begin) :]: x for key, x in named.items() if key.startswith(begin)}
    others = {key: value for key, value in named.items() if not key.startswith(begin)}
    return {**others, name: kind(**dict(fixed), **arrays)}
