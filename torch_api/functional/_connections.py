"""How connections get to ``jax_core``: their tensors as arguments, all else compiled in."""

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...jax_core import Conv, Sparse, SynapticDelays

# In front of the names of connections' tensors.
_OF_CONNECTIONS = "connections_"
# By name, as torch.compile hands on no types.
_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (Conv, Sparse, SynapticDelays)}


def taken_apart(connections: Any, device: torch.device) -> tuple[dict[str, Tensor], Any]:
    """The arrays of a dataclass, if any, by name, and its kind and all else, which is compiled in.

    In plain Python, which torch.compile traces.
    """
    if connections is None:
        return {}, None
    kind: Any = type(connections)
    if torch.compiler.is_compiling():
        if _KINDS.get(kind.__name__) is not kind:
            raise TypeError(
                f"connections of type {kind.__name__} are not available under torch.compile, only "
                f"those of evtorch.jax_core; leave the layer eager"
            )
        kind = kind.__name__
    arrays: dict[str, Tensor] = {}
    fixed = []
    for field in dataclasses.fields(connections):
        value = getattr(connections, field.name)
        if isinstance(value, np.ndarray):
            value = torch.as_tensor(value, device=device)
        if isinstance(value, Tensor):
            arrays[_OF_CONNECTIONS + field.name] = value
        else:
            fixed.append((field.name, value))
    return arrays, (kind, tuple(fixed))


def put_together(named: dict[str, Any]) -> dict[str, Any]:
    """Named arguments with the connections that `taken_apart` took apart."""
    if named.get("connections") is None:
        return named
    kind, fixed = named["connections"]
    kind = _KINDS[kind] if isinstance(kind, str) else kind
    begin = len(_OF_CONNECTIONS)
    arrays = {key[begin:]: x for key, x in named.items() if key.startswith(_OF_CONNECTIONS)}
    others = {key: value for key, value in named.items() if not key.startswith(_OF_CONNECTIONS)}
    return {**others, "connections": kind(**dict(fixed), **arrays)}
