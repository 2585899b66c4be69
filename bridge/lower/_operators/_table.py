"""The complete table: importing this fills it."""

from __future__ import annotations

from importlib import import_module

from ._registry import RULES as RULES
from ._registry import TABLE as TABLE

_NAMES = (
    *("_activations", "_bags", "_binary", "_convolve", "_create", "_ctc", "_eigen", "_grid"),
    *(
        "_index",
        "_linalg",
        "_loss",
        "_norm",
        "_pool",
        "_random",
        "_recurrent",
        "_reduce",
        "_shape",
        "_sort",
        "_unary",
    ),
)
PARTS = tuple(import_module(f".{name}", __package__) for name in _NAMES)
"""The modules that filled it."""
