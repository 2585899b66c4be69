"""Pytrees of tensors to pytrees of arrays and back; how errors name a leaf."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import torch

from ._arrays import jax_array, tensor_copy, torch_tensor


def leaf_name(root: str, path: tuple[Any, ...]) -> str:
    """The expression a user would write for the leaf at ``path`` under ``root``."""
    return f"`{root}{jax.tree_util.keystr(path)}`"


def to_jax(x: Any, *, copy: bool | None = None) -> Any:
    """Torch tensors as JAX arrays: one tensor, or every tensor in a pytree.

    **Arguments:**

    - ``x``: a tensor or a pytree; leaves that are not tensors stay as they are.
    - ``copy``: ``None`` shares memory where JAX can read it in place (contiguous, and on CPU
      64-byte aligned) and copies otherwise; ``True`` always copies, synchronously; ``False``
      raises where a copy would be needed.

    **Returns:** the same pytree with `jax.Array` leaves of the same dtypes. float64, complex128
    and int64 keep their 64 bits even while JAX's x64 mode is off (JAX operations on them then
    follow JAX's own rules; enter `jax.enable_x64(True)` to compute in 64 bits).

    An array that shares memory changes when the tensor is changed in place, against JAX's
    assumption that arrays never change: pass ``copy=True`` if the tensor will be written to.
    Values only: gradients do not flow through `to_jax`; see `as_torch_function`.

    **Raises:** ``TypeError`` for sparse layouts and dtypes that JAX lacks, ``ValueError`` for
    unsupported devices and for ``copy=False`` where sharing is impossible.
    """

    def convert(path: tuple[Any, ...], leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            return jax_array(leaf_name("x", path), leaf, copy)
        return leaf

    if isinstance(x, torch.Tensor):
        return jax_array("`x`", x, copy)
    return jax.tree_util.tree_map_with_path(convert, x)


def to_torch(x: Any, *, copy: bool | None = None) -> Any:
    """JAX arrays as torch tensors: one array, or every array in a pytree.

    **Arguments:**

    - ``x``: a `jax.Array` or a pytree; NumPy arrays are copied into tensors, other leaves stay.
    - ``copy``: ``None`` or ``False`` shares memory; ``True`` copies.

    **Returns:** the same pytree with `torch.Tensor` leaves of the same dtypes, on the same device.

    Writing in place to a tensor that shares memory changes the JAX array too: pass ``copy=True``
    if the array is still used and the tensor will be written to.

    **Raises:** ``TypeError`` for traced arrays and for dtypes that torch lacks (PRNG keys, int4).
    """

    def convert(path: tuple[Any, ...], leaf: Any) -> Any:
        if isinstance(leaf, jax.Array):
            return torch_tensor(leaf_name("x", path), leaf, copy)
        if isinstance(leaf, np.ndarray):
            return tensor_copy(leaf_name("x", path), leaf)
        return leaf

    if isinstance(x, jax.Array):
        return torch_tensor("`x`", x, copy)
    return jax.tree_util.tree_map_with_path(convert, x)
