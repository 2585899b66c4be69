"""Results with named fields that JAX does not know, as NamedTuples, which it does."""

from __future__ import annotations

import dataclasses
import weakref
from collections import namedtuple
from collections.abc import Mapping
from typing import Any

import jax
import torch

_types: weakref.WeakKeyDictionary[type, type] = weakref.WeakKeyDictionary()


def known_to_jax(result: Any) -> Any:
    """``result`` with dataclasses (Hugging Face's ``ModelOutput`` among them) and what torch's
    ``max``, ``sort`` or ``linalg.eigh`` return as NamedTuples of the same fields."""
    return jax.tree_util.tree_map(_converted, result)


def _converted(leaf: Any) -> Any:
    # JAX takes for a leaf what it does not know.
    if isinstance(leaf, (torch.Tensor, type)):
        return leaf
    if dataclasses.is_dataclass(leaf):
        names = [field.name for field in dataclasses.fields(leaf)]
        return _record(type(leaf), names)(*[known_to_jax(getattr(leaf, n)) for n in names])
    kind: Any = type(leaf)
    if isinstance(leaf, tuple) and hasattr(kind, "n_sequence_fields"):
        return _record(kind, list(kind.__match_args__))(*map(known_to_jax, leaf))
    if isinstance(leaf, Mapping):
        return {name: known_to_jax(value) for name, value in leaf.items()}
    return leaf


def _record(original: type, names: list[str]) -> type:
    found = _types.get(original)
    if found is None:
        fields: Any = namedtuple(original.__name__, names, rename=True)

        def item(self: Any, key: Any) -> Any:
            """By position, as of any tuple, or by name, as of a ``ModelOutput``."""
            return getattr(self, key) if isinstance(key, str) else tuple.__getitem__(self, key)

        found = type(original.__name__, (fields,), {"__slots__": (), "__getitem__": item})
        _types[original] = found
    return found
