"""Sums, means and maxima of bags of embeddings"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ._index import not_from_behind
from ._registry import Needs, Unsupported, lowers

_SUM, _MEAN, _MAX = range(3)


@lowers("_embedding_bag", "_embedding_bag_forward_only", needs=Needs.OUTPUT)
def _embedding_bag(
    out: Any,
    weight: Any,
    indices: Any,
    offsets: Any,
    scale_grad_by_freq: bool = False,
    mode: int = _SUM,
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int = -1,
) -> list[Any]:
    if scale_grad_by_freq:
        raise Unsupported("scale_grad_by_freq")
    count = out[0].shape[0]
    # A bag ends where the next one begins; empty ones begin where others do.
    place = jnp.arange(indices.shape[0])
    bag = jnp.searchsorted(offsets[:count], place.astype(offsets.dtype), side="right") - 1
    used = indices != padding_idx
    sizes = jax.ops.segment_sum(used.astype(jnp.int32), bag, count)
    rows = jnp.take(weight, not_from_behind(indices, weight.shape[0]), 0)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights[:, None]
    if mode == _MAX:
        found, largest = _maxima(rows, bag, used, count)
    else:
        found = jax.ops.segment_sum(jnp.where(used[:, None], rows, 0), bag, count)
        largest = jnp.zeros((0,), jnp.int32)
        if mode == _MEAN:
            found = found / jnp.maximum(sizes, 1)[:, None].astype(found.dtype)
    # torch leaves some of them empty, depending on what it computes by them.
    rest = zip((bag, sizes, largest), out[1:], strict=True)
    return [found, *(o if o.shape == e.shape else jnp.zeros(e.shape, e.dtype) for o, e in rest)]


def _maxima(rows: Any, bag: Any, used: Any, count: int) -> tuple[Any, Any]:
    """By bag and column, and where they are: at the first of equal ones, as in torch. 0 for empty
    bags."""
    if not rows.shape[0]:
        shape = count, rows.shape[1]
        return jnp.zeros(shape, rows.dtype), jnp.zeros(shape, jnp.int32)
    fixed = jax.lax.stop_gradient(rows)
    largest = jax.ops.segment_max(jnp.where(used[:, None], fixed, -jnp.inf), bag, count)
    place = jnp.arange(rows.shape[0])[:, None]
    wanted = used[:, None] & ((fixed == largest[bag]) | jnp.isnan(fixed))
    first = jax.ops.segment_min(jnp.where(wanted, place, rows.shape[0]), bag, count)
    empty = first >= rows.shape[0]
    found = jnp.take_along_axis(rows, jnp.where(empty, 0, first), 0)
    return jnp.where(empty, 0, found), first
