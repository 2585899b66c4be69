"""Torch code as one function of JAX arrays."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
import torch

from .._torch_internals import Check
from ._capture import Captured, Flat, capture
from ._interpret import compiled_steps, run_steps


def _look(check: Check, array: Any) -> None:
    check(np.asarray(array))


class Lowered:
    """What a captured function of tensors is in JAX, for inputs of certain shapes and dtypes.

    Call it with a JAX key (None if it is not `random`) and arrays in the dtypes that torch's have
    in JAX's present x64 mode; it returns the outputs as a flat list. It works inside any JAX
    transformation and is differentiated by JAX. Raises `NotLowered` for unknown operators.
    """

    def __init__(self, captured: Captured) -> None:
        self._program = compiled_steps(captured.graph)
        self.tree = captured.tree
        """The pytree of the outputs."""
        self.dtypes = captured.dtypes
        """torch's dtypes of the outputs."""
        self.checks = captured.checks
        """Functions that raise or warn, of NumPy arrays."""
        self.random = self._program.random
        """Whether it draws random numbers."""

    def __call__(self, key: Any, arrays: Sequence[Any]) -> list[jax.Array]:
        """The outputs. What the torch code wants to have checked is, by callbacks, and makes the
        computation fail."""
        outputs, checked = self.run(key, arrays)
        for check, array in zip(self.checks, checked, strict=True):
            jax.debug.callback(partial(_look, check), array)
        return outputs

    def run(self, key: Any, arrays: Sequence[Any]) -> tuple[list[jax.Array], list[jax.Array]]:
        """The outputs, and arrays for each of `checks` to look at when they have values."""
        found = run_steps(self._program, key, arrays)
        count = len(self.dtypes)
        return found[:count], found[count:]


def lower(
    fn: Flat, shapes: Sequence[Sequence[int]], dtypes: Sequence[torch.dtype], name: str
) -> Lowered:
    """``fn(tensors) -> (flat outputs, pytree)`` in JAX, for tensors of these shapes and dtypes.

    It is captured now, in JAX's present x64 mode, once: Python code in it does not run again.

    **Raises:** `NotLowered` for operators that have no counterpart in the table, and where
    gradients are not what a graph of operators says; what ``fn`` raises.
    """
    return Lowered(capture(fn, shapes, dtypes, name))
