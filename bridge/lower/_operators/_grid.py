"""Volumes read at places between their elements"""

from __future__ import annotations

import itertools
from typing import Any

import jax.numpy as jnp

from ._registry import lowers

_NEAREST = 1
_ZEROS, _BORDER, _REFLECTION = range(3)


def _in_elements(x: Any, size: int, align_corners: bool) -> Any:
    """Places from -1 to 1, counted in elements."""
    return (x + 1) / 2 * (size - 1) if align_corners else ((x + 1) * size - 1) / 2


def _inside(x: Any, size: int, padding: int, align_corners: bool) -> Any:
    """Places outside, as they are read: at the border, or reflected at it."""
    if padding == _REFLECTION:
        low, span = (0.0, size - 1.0) if align_corners else (-0.5, float(size))
        if not span:
            return jnp.zeros_like(x)
        x = jnp.abs(x - low)
        turns = jnp.floor(x / span)
        rest = x - turns * span
        x = jnp.where(turns % 2 == 0, rest, span - rest) + low
    return x if padding == _ZEROS else jnp.clip(x, 0, size - 1)


@lowers("grid_sampler_3d")
def _grid_sampler_3d(
    x: Any, grid: Any, interpolation: int, padding: int, align_corners: bool
) -> Any:
    sizes = x.shape[2:]
    # The last axis of the grid goes from the innermost axis of the volume to the outermost.
    places = [
        _inside(_in_elements(grid[..., 2 - axis], n, align_corners), n, padding, align_corners)
        for axis, n in enumerate(sizes)
    ]
    if interpolation == _NEAREST:
        return _read(x, [jnp.round(place) for place in places])
    lower = [jnp.floor(place) for place in places]
    found = 0.0
    for corner in itertools.product((0, 1), repeat=3):
        weight = jnp.ones_like(places[0])
        for place, low, up in zip(places, lower, corner, strict=True):
            weight = weight * (place - low if up else 1 - (place - low))
        values = _read(x, [low + up for low, up in zip(lower, corner, strict=True)])
        found = found + values * weight[:, None]
    return found


def _read(x: Any, places: list[Any]) -> Any:
    """The elements ``(batch, channels, ...)`` at whole places ``(batch, ...)``; 0 outside."""
    valid, flat = True, 0
    for place, size in zip(places, x.shape[2:], strict=True):
        valid = valid & (place >= 0) & (place < size)
        flat = flat * size + jnp.clip(place, 0, size - 1).astype(jnp.int32)
    batch, channels = x.shape[:2]
    index = jnp.asarray(flat).reshape(batch, 1, -1)
    found = jnp.take_along_axis(x.reshape(batch, channels, -1), index, 2)
    found = found.reshape(batch, channels, *places[0].shape[1:])
    return jnp.where(jnp.asarray(valid)[:, None], found, 0)
