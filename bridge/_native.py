"""Torch code that became a JAX program, in place of a callback."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
import torch

from ._watch import Constants
from .lower._capture import Flat, capture, constants
from .lower._lower import Lowered
from .lower._reasons import NotLowered, explained


def _run(lowered: Lowered, seed: Any, arrays: Sequence[Any]) -> list[jax.Array]:
    key = jax.random.wrap_key_data(seed, impl="threefry2x32") if lowered.random else None
    return lowered(key, arrays)


class NativeFunction:
    """A lowered function with the interface of `HostFunction`."""

    def __init__(self, lowered: Lowered, arrays: Sequence[Any], constants: Constants) -> None:
        self.constants = constants
        self.random = lowered.random
        self.tree = lowered.tree
        # Compiled by itself where it is called outside of a transformation.
        self._jitted = jax.jit(partial(_run, lowered))
        # What JAX cannot do is found now. It remembers what it traced.
        types = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arrays]
        jax.eval_shape(self._jitted, jax.ShapeDtypeStruct((2,), np.uint32), types)

    def __call__(self, seed: jax.Array, arrays: Sequence[Any]) -> list[jax.Array]:
        return self._jitted(seed, list(arrays))


def native_or_reason(
    fn: Flat,
    arrays: Sequence[Any],
    dtypes: Sequence[torch.dtype],
    check_outputs: Callable[[Sequence[Any], Sequence[torch.dtype]], None],
    module: Any,
    name: str,
) -> tuple[NativeFunction | None, Exception | None]:
    """``fn`` of ``module`` in JAX, or None and why that is not possible: `NotLowered`, or what
    ``fn`` or ``check_outputs`` (of the outputs' places and dtypes) raised.

    **Arguments:** ``arrays``: of the types of the inputs; ``dtypes``: those that torch gets.
    """
    try:
        _check_hooks(module)
        captured = capture(fn, [a.shape for a in arrays], dtypes, name)
        check_outputs(captured.paths, captured.dtypes)
        held = Constants(constants(captured.graph), module)
        return NativeFunction(Lowered(captured), arrays, held), None
    except Exception as error:
        return None, explained(error)


def _check_hooks(module: Any) -> None:
    if not isinstance(module, torch.nn.Module):
        return
    for name, each in module.named_modules():
        if each._backward_hooks or each._backward_pre_hooks:
            raise NotLowered(f"{name or 'it'} has a backward hook, which runs in torch")
