"""The complete table: importing this fills it."""

from __future__ import annotations

from . import (
    _activations,
    _binary,
    _convolve,
    _create,
    _index,
    _linalg,
    _loss,
    _norm,
    _pool,
    _random,
    _recurrent,
    _reduce,
    _shape,
    _sort,
    _unary,
)
from ._registry import TABLE as TABLE

PARTS = (
    _activations,
    _binary,
    _convolve,
    _create,
    _index,
    _linalg,
    _loss,
    _norm,
    _pool,
    _random,
    _recurrent,
    _reduce,
    _shape,
    _sort,
    _unary,
)
"""The modules that filled it."""
