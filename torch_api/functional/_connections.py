"""How connections get to ``jax_core``: their tensors as arguments, all else compiled in."""

import dataclasses
from typing import Any

import torch
from torch import Tensor

from ...jax_core import Conv, Sparse, SynapticDelays

# In front of the names of connections' tensors.
_OF_CONNECTIONS = "connections_"
# By name, as torch.compile hands on no types. Others join at their first call without it.
_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (Conv, Sparse, SynapticDelays)}


def taken_apart(connections: Any) -> tuple[dict[str, Tensor], Any]:
    """The tensors of a dataclass, if any, by name, and its kind and all else, which is compiled in.

    In plain Python, which torch.compile traces.
    """
    if connections is None:
        return {}, None
    kind = type(connections)
    name = kind.__name__
    if not torch.compiler.is_compiling():
        name = name if _KINDS.setdefault(name, kind) is kind else repr(kind)
        _KINDS[name] = kind
    arrays: dict[str, Tensor] = {}
    fixed = []
    for field in dataclasses.fields(connections):
        value = getattr(connections, field.name)
        if isinstance(value, Tensor):
            arrays[_OF_CONNECTIONS + field.name] = value
        else:
            fixed.append((field.name, value))
    return arrays, (name, tuple(fixed))


def put_together(named: dict[str, Any]) -> dict[str, Any]:
    """Named arguments with the connections that `taken_apart` took apart."""
    if named.get("connections") is None:
        return named
    name, fixed = named["connections"]
    begin = len(_OF_CONNECTIONS)
    arrays = {key[begin:]: x for key, x in named.items() if key.startswith(_OF_CONNECTIONS)}
    others = {name: value for name, value in named.items() if not name.startswith(_OF_CONNECTIONS)}
    return {**others, "connections": _KINDS[name](**dict(fixed), **arrays)}
