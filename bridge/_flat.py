"""A JAX function of a flat list of arrays, run on torch tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import torch

from .._programs import Programs  # pyright: ignore[reportMissingImports]  # It lies in top/.
from ._arrays import as_operand, check_tensor
from ._config import JaxConfig
from ._dtypes import NUMPY_DTYPE, TORCH_DTYPE, WIDE_INTEGERS, WIDTH, needs_x64
from ._errors import reraise
from ._trace import FlatFn, Mask, Plan, backward, evaluate, forward, jvp_of, vjp_of, vmap_of

Tensors = Sequence[torch.Tensor]
Extras = Sequence[jax.Array]


class Forward(NamedTuple):
    """One run of a forward that can be followed by a backward."""

    config: JaxConfig
    plan: Plan
    outputs: tuple[torch.Tensor, ...]
    kept: tuple[jax.Array, ...]


def _array_type(tensor: torch.Tensor, x64: bool) -> jax.ShapeDtypeStruct:
    dtype = NUMPY_DTYPE[tensor.dtype]
    if not x64 and tensor.dtype in WIDE_INTEGERS:
        dtype = np.dtype(dtype.name.replace("64", "32"))
    return jax.ShapeDtypeStruct(tuple(int(n) for n in tensor.shape), dtype)


def _key(mask: Mask | None, extras: Extras, arrays: Sequence[Any]) -> Any:
    # Dtypes and configurations are few; JAX tells them apart.
    shapes = tuple([a.shape for a in arrays])
    return (mask, shapes, tuple([e.shape for e in extras])) if extras else (mask, shapes)


class FlatFunction:
    """``fn(extras, *arrays) -> pytree`` with its compiled forwards and derived functions.

    ``names`` are what error messages call the arrays; ``policy`` is the residual policy. The
    function is compiled once per set of shapes, dtypes and JAX configuration, while `Programs`
    keeps those.
    """

    def __init__(self, fn: FlatFn, name: str, names: Sequence[str], policy: str) -> None:
        self.fn = fn
        self.name = name
        self.names = tuple(names)
        self.policy = policy
        self._programs = Programs()
        self._derived: dict[Any, FlatFunction] = {}
        self.operations: dict[JaxConfig, Any] = {}

    def configure(self, tensors: Tensors, extras: Extras) -> JaxConfig:
        """The JAX configuration for these inputs; checks that they share one device."""
        width = 0
        device = None
        for position, tensor in enumerate(tensors):
            bit = WIDTH.get(tensor.dtype)
            if bit is None:
                check_tensor(self.names[position], tensor)
            else:
                width |= bit
            if device is None:
                device = tensor.device
            elif tensor.device != device:
                raise ValueError(
                    f"{self.names[position]} is on device '{tensor.device}' but {self.names[0]} is "
                    f"on '{device}'; move all inputs of {self.name} to one device"
                )
        for extra in extras:
            if extra.dtype in TORCH_DTYPE:
                width |= WIDTH[TORCH_DTYPE[extra.dtype]]
        return JaxConfig.capture(needs_x64(width), tensors[0].is_cpu if tensors else None)

    def _operands(self, names: Sequence[str], tensors: Tensors, x64: bool) -> list[Any]:
        return [as_operand(name, t, x64) for name, t in zip(names, tensors, strict=True)]

    def operand(self, tensor: torch.Tensor, config: JaxConfig) -> Any:
        """A saved residual as an argument of the backward pass."""
        return as_operand("a saved residual", tensor, config.x64)

    def _program(self, mask: Mask | None, extras: Extras, arrays: Sequence[Any]) -> Any:
        """The compiled `forward` for these shapes, or `evaluate` for no ``mask``."""
        key = _key(mask, extras, arrays)
        found = self._programs.find(key)
        if found is None:
            found = self._programs.first(key, self._traced(mask), self.name)
        return found

    def _traced(self, mask: Mask | None) -> Callable[..., Any]:
        # A new object each time: JAX keeps what it compiled by the identity of this.
        if mask is None:
            return partial(evaluate, self.fn, [])
        return partial(forward, self.fn, self.policy, mask, [])

    def evaluate(self, tensors: Tensors, extras: Extras) -> tuple[Plan, tuple[torch.Tensor, ...]]:
        """Outputs without gradients."""
        config = self.configure(tensors, extras)
        operands = self._operands(self.names, tensors, config.x64)
        try:
            # Held, so that its plan lives until it was read, whatever other threads compile.
            program = self._program(None, extras, operands)
            done = config.call(program, extras, *operands)
            return done.plan, config.export(done.arrays)
        except Exception as error:
            reraise(error, self.name, self.names, tensors)

    def describe(self, tensors: Tensors) -> Plan:
        """The plan of `evaluate`, for tensors that need not have values."""
        config = self.configure(tensors, ())
        arrays = [_array_type(tensor, config.x64) for tensor in tensors]
        try:
            traced = self._programs.traced(_key(None, (), arrays), self._traced(None))
            return config.call(jax.eval_shape, traced, (), *arrays).plan
        except Exception as error:
            reraise(error, self.name, self.names, tensors)

    def forward(self, mask: Mask, tensors: Tensors, extras: Extras) -> Forward:
        """Outputs and what the gradients selected by ``mask`` need later."""
        config = self.configure(tensors, extras)
        operands = self._operands(self.names, tensors, config.x64)
        try:
            program = self._program(mask, extras, operands)
            done = config.call(program, extras, *operands)
            count = len(done.plan.out_types)
            outputs = config.export(done.arrays[:count])
            return Forward(config, done.plan, outputs, done.arrays[count:])
        except Exception as error:
            reraise(error, self.name, self.names, tensors)

    def backward(
        self,
        config: JaxConfig,
        plan: Plan,
        needed: Mask,
        tensors: Tensors,
        extras: Extras,
        kept: Sequence[Any],
        gradients: Sequence[torch.Tensor | None],
    ) -> list[torch.Tensor | None]:
        """Gradients for the inputs selected by ``needed``, None for the others."""
        given = tuple(g is not None for g in gradients)
        key = (plan, needed, given)
        compiled = self._programs.find(key)
        if compiled is None:
            traced = partial(backward, plan, self.fn, needed, given)
            compiled = self._programs.first(key, traced, f"the gradient of {self.name}")
        cotangents = [g for g in gradients if g is not None]
        inputs = [as_operand(self.names[i], tensors[i], config.x64) for i in plan.needed_inputs]
        values = [as_operand("a gradient", g, config.x64) for g in cotangents]
        try:
            arrays = config.call(compiled, extras, inputs, kept, values)
            found = iter(config.export(arrays))
        except Exception as error:
            reraise(error, f"the gradient of {self.name}", self.names, tensors)
        return [next(found) if n else None for n in needed]

    def _derive(self, key: Any, fn: FlatFn, name: str, names: Sequence[str]) -> FlatFunction:
        # Differentiating a derivative again must fail only where that is asked for: its residuals
        # would be traced, and a missing rule hit, as soon as it is evaluated.
        derived = self._derived[key] = FlatFunction(fn, name, names, "recompute")
        return derived

    def vjp(self, out_tree: Any, needed: Mask, given: Mask) -> FlatFunction:
        """``(*inputs, *cotangents) -> gradients`` for these masks and structure of the outputs."""
        key = ("vjp", out_tree, needed, given)
        names = [*self.names, *(f"gradient {i}" for i, g in enumerate(given) if g)]
        return self._derived.get(key) or self._derive(
            key, vjp_of(self.fn, out_tree, needed, given), f"the gradient of {self.name}", names
        )

    def jvp(self, given: Mask) -> FlatFunction:
        """``(*inputs, *tangents) -> tangents`` of the differentiable outputs."""
        key = ("jvp", given)
        names = [
            *self.names,
            *(f"tangent of {n}" for n, g in zip(self.names, given, strict=True) if g),
        ]
        return self._derived.get(key) or self._derive(
            key, jvp_of(self.fn, given), f"the forward derivative of {self.name}", names
        )

    def vmap(self, dims: tuple[int | None, ...]) -> FlatFunction:
        """The function over one more axis, at ``dims`` of the inputs and first in the outputs."""
        key = ("vmap", dims)
        found = self._derived.get(key)
        if found is None:
            found = FlatFunction(vmap_of(self.fn, dims), self.name, self.names, self.policy)
            self._derived[key] = found
        return found
