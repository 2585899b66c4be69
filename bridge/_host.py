"""A torch function of flat tensors, run by JAX on the host, with gradients of any order.

The mechanism is ``jax.pure_callback``: it works under jit and vmap, for any torch code (control
flow on values, custom autograd.Functions, extensions), and needs no compiler. Gradients run the
torch function again inside the backward callback, so nothing of torch outlives a callback.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax.custom_derivatives import CustomVJPPrimal, SymbolicZero

from ._arrays import host_view, tensor_copy
from ._config import ambient_x64
from ._dtypes import NUMPY_DTYPE, TORCH_DTYPE
from ._guards import BridgeError, inside_callback

Mask = tuple[bool, ...]
_WIDE_INTEGERS = {np.dtype(np.int64): np.dtype(np.int32), np.dtype(np.uint64): np.dtype(np.uint32)}

# functional_call exchanges a module's parameters for the time of the call, and random numbers come
# from a generator that torch shares: one callback at a time.
_lock = threading.RLock()


@jax.tree_util.register_static
class _Static:
    """A hashable value that travels with residuals."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)


class _Callback:
    """``fn(tensors) -> tensors`` on the host's arrays; arguments as for `HostFunction`.

    An object of its own, because JAX's caches reach it from what they compiled: a compiled function
    that it led back to would never be released.
    """

    def __init__(
        self,
        fn: Callable[[Sequence[torch.Tensor]], Sequence[torch.Tensor]],
        in_types: Sequence[jax.ShapeDtypeStruct],
        in_dtypes: Sequence[torch.dtype],
        out_types: Sequence[jax.ShapeDtypeStruct],
        random: bool,
    ) -> None:
        self.fn = fn
        self.random = random
        self.in_types = tuple(in_types)
        self.in_dtypes = tuple(in_dtypes)
        self.out_types = tuple(out_types)
        self._ranks = [*([1] if random else []), *(len(t.shape) for t in in_types)]

    def __call__(self, *given: Any) -> list[np.ndarray]:
        """The callback of the seed, if it is random, and arrays, which may have more axes in front,
        from vmap."""
        operands = [np.asarray(array) for array in given]
        with inside_callback(), _lock:
            if [a.ndim for a in operands] == self._ranks:
                return self._run(operands)
            batch = np.broadcast_shapes(
                *(a.shape[: a.ndim - rank] for a, rank in zip(operands, self._ranks, strict=True))
            )
            spread = [
                np.broadcast_to(a, batch + a.shape[a.ndim - rank :])
                for a, rank in zip(operands, self._ranks, strict=True)
            ]
            rows = [self._run([a[index] for a in spread]) for index in np.ndindex(*batch)]
        return [
            np.stack(column).reshape(batch + t.shape)
            if rows
            else np.zeros(batch + t.shape, t.dtype)
            for column, t in zip(zip(*rows, strict=True), self.out_types, strict=True)
        ]

    def _run(self, operands: Sequence[np.ndarray]) -> list[np.ndarray]:
        seed, *arrays = operands if self.random else (None, *operands)
        # Copies, because torch may write to its inputs.
        tensors = [
            tensor_copy("an input", a).to(d) for a, d in zip(arrays, self.in_dtypes, strict=True)
        ]
        with _never_random() if seed is None else _seeded(seed):
            results = self.fn(tensors)
        return [_result(r, t) for r, t in zip(results, self.out_types, strict=True)]


def _is_inexact(array: Any) -> bool:
    return jnp.issubdtype(array.dtype, jnp.inexact)


def _in_jax(callback: _Callback, seed: Any, *arrays: Any) -> list[jax.Array]:
    out_types = list(callback.out_types)
    # JAX takes its time to hand over each array: no seed that nobody draws from.
    operands = (seed, *arrays) if callback.random else arrays
    return list(jax.pure_callback(callback, out_types, *operands, vmap_method="expand_dims"))


class HostFunction:
    """``fn(tensors) -> tensors`` with known types, callable on JAX arrays.

    ``in_dtypes`` are what torch receives, ``out_types`` what JAX gets. ``random`` says that the
    function draws random numbers; the seed makes those of the backward pass the forward pass's.
    """

    def __init__(
        self,
        fn: Callable[[Sequence[torch.Tensor]], Sequence[torch.Tensor]],
        in_types: Sequence[jax.ShapeDtypeStruct],
        in_dtypes: Sequence[torch.dtype],
        out_types: Sequence[jax.ShapeDtypeStruct],
        random: bool,
    ) -> None:
        self.random = random
        self._host = _Callback(fn, in_types, in_dtypes, out_types, random)
        self._x64 = ambient_x64()
        self._gradients: dict[Any, HostFunction] = {}
        # Jitted, because JAX keeps a bare callback and its program beyond the life of this object.
        self._with_rule = jax.custom_vjp(jax.jit(partial(_in_jax, self._host)))
        self._with_rule.defvjp(self._forward, self._backward, symbolic_zeros=True)

    def __call__(self, seed: jax.Array, arrays: Sequence[Any]) -> list[jax.Array]:
        try:
            return self._with_rule(seed, *arrays)
        except TypeError as error:
            if "forward-mode" not in str(error):
                raise
            raise BridgeError(
                "torch code has no forward-mode derivative in JAX (jax.jvp, jax.jacfwd, "
                "jax.hessian); use reverse mode instead (jax.grad, jax.vjp, jax.jacrev). JAX says: "
                f"{error}"
            ) from error

    def _forward(self, seed: CustomVJPPrimal, *primals: CustomVJPPrimal) -> Any:
        arrays = [p.value for p in primals]
        # An integer that comes from another call counts as perturbed, but has no gradient.
        needed = tuple(p.perturbed and _is_inexact(p.value) for p in primals)
        # Through the rule again, for gradients of gradients.
        return self._with_rule(seed.value, *arrays), (_Static(needed), seed.value, arrays)

    def _backward(self, residuals: Any, cotangents: Any) -> Any:
        needed, seed, arrays = residuals
        # As in the forward pass, which may have run in another mode than its gradient.
        with jax.enable_x64(self._x64):
            return self._gradient_of(needed.value, seed, arrays, cotangents)

    def _gradient_of(self, needed: Mask, seed: Any, arrays: Any, cotangents: Any) -> Any:
        given = tuple(
            not isinstance(c, SymbolicZero) and _is_inexact(out)
            for c, out in zip(cotangents, self._host.out_types, strict=True)
        )
        values = [jnp.conj(c) for c, g in zip(cotangents, given, strict=True) if g]
        found = iter(self.gradient(needed, given)(seed, [*arrays, *values]))
        return None, *(jnp.conj(next(found)) if n else None for n in needed)

    def gradient(self, needed: Mask, given: Mask) -> HostFunction:
        """``(*inputs, *cotangents) -> gradients`` for these masks, in torch's convention."""
        function = self._gradients.get((needed, given))
        if function is None:
            host = self._host
            outs = [t for t, g in zip(host.out_types, given, strict=True) if g]
            function = HostFunction(
                partial(_gradients, host.fn, needed, given),
                [*host.in_types, *outs],
                [*host.in_dtypes, *(TORCH_DTYPE[np.dtype(t.dtype)] for t in outs)],
                [t for t, n in zip(host.in_types, needed, strict=True) if n],
                self.random,
            )
            self._gradients[needed, given] = function
        return function


@contextmanager
def _seeded(seed: np.ndarray) -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed((int(seed[0]) << 32) | int(seed[1]))
        yield


@contextmanager
def _never_random() -> Iterator[None]:
    before = torch.get_rng_state()
    yield
    if not torch.equal(before, torch.get_rng_state()):
        raise BridgeError(
            "the torch function drew random numbers, and did not when JAX traced it. If its module "
            "was set to train mode since then: set the mode first, and trace anew (with a new "
            "jax.jit). If it draws them in a branch: draw at least one number in every branch"
        )


def _gradients(
    fn: Callable[..., Any], needed: Mask, given: Mask, tensors: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    count = len(needed)
    keep_graph = any(t.requires_grad for t in tensors)
    with torch.enable_grad():
        inputs = [
            (t if t.requires_grad else t.detach().requires_grad_()) if n else t
            for t, n in zip(tensors[:count], needed, strict=True)
        ]
        outputs = fn(inputs)
        selected = [t for t, n in zip(inputs, needed, strict=True) if n]
        pairs = [
            (output, cotangent)
            for output, cotangent in zip(
                (o for o, g in zip(outputs, given, strict=True) if g), tensors[count:], strict=True
            )
            if output.requires_grad
        ]
        if not pairs:
            return [torch.zeros_like(t) for t in selected]
        found = torch.autograd.grad(
            [output for output, _ in pairs],
            selected,
            [cotangent for _, cotangent in pairs],
            create_graph=keep_graph,
            allow_unused=True,
        )
    return [torch.zeros_like(t) if g is None else g for g, t in zip(found, selected, strict=True)]


def _result(tensor: torch.Tensor, expected: jax.ShapeDtypeStruct) -> np.ndarray:
    array = host_view(tensor.detach().cpu())
    if array.shape != expected.shape:
        raise ValueError(
            f"the torch function returned shape {array.shape} where it returned {expected.shape} "
            "when JAX traced it; its output shapes must not depend on values"
        )
    if array.dtype == expected.dtype:
        return array
    narrow = array.astype(expected.dtype)
    if _WIDE_INTEGERS.get(array.dtype) != expected.dtype or not np.array_equal(narrow, array):
        raise TypeError(
            f"the torch function returned {array.dtype} values that do not fit {expected.dtype}, "
            "which it returned when JAX traced it; enter jax.enable_x64(True) for 64-bit integers"
        )
    return narrow


def jax_type(shape: Sequence[int], dtype: torch.dtype) -> jax.ShapeDtypeStruct:
    """What a tensor of this shape and dtype is in JAX, in its present x64 mode."""
    found = NUMPY_DTYPE[dtype]
    if not ambient_x64():
        found = _WIDE_INTEGERS.get(found, found)
    return jax.ShapeDtypeStruct(tuple(shape), found)
