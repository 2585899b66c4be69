"""`JaxModule`: a JAX function and its parameters as a torch module."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import jax
import numpy as np
import torch

from ._arrays import tensor_copy, torch_tensor
from ._function import ResidualPolicy, TorchFunction
from ._pytree import leaf_name


def _dotted(path: tuple[Any, ...]) -> str:
    parts = [jax.tree_util.keystr((key,), simple=True) for key in path]
    return ".".join(_free(part.replace(".", "_") or "_") for part in parts) or "param"


def _free(name: str) -> str:
    # What a torch module calls a method or keeps itself cannot be a parameter's name.
    return f"{name}_" if name in _RESERVED else name


def _copied(name: str, leaf: Any) -> torch.Tensor:
    if isinstance(leaf, torch.Tensor):
        return leaf.detach().clone()
    if isinstance(leaf, jax.Array):
        return torch_tensor(name, leaf, copy=True)
    return tensor_copy(name, leaf)


class _Slot:
    """Stands for an array in the skeleton of the parameters."""

    def __init__(self, name: str) -> None:
        self.name = name


class _WithParameters:
    """``fn(params, ...)`` with the arrays of ``params`` given by name."""

    def __init__(self, fn: Callable[..., Any], skeleton: Any) -> None:
        self.fn = fn
        self.skeleton = skeleton
        self.__name__ = getattr(fn, "__name__", type(fn).__name__)
        with suppress(TypeError, ValueError):
            self.__signature__ = inspect.signature(fn)

    def __call__(self, params: dict[str, Any], /, *args: Any, **kwargs: Any) -> Any:
        restored = jax.tree_util.tree_map(
            lambda leaf: params[leaf.name] if isinstance(leaf, _Slot) else leaf, self.skeleton
        )
        return self.fn(restored, *args, **kwargs)


class _Branch(torch.nn.Module):
    """Holds the parameters and branches below one node of the pytree."""


_RESERVED = {*dir(torch.nn.Module()), "params", "_names", "_skeleton", "_function"}
_CLASH = "`params` has two entries whose name in torch is {!r}; rename one of them"


def _holder(root: torch.nn.Module, names: list[str]) -> torch.nn.Module:
    for name in names:
        child = root._modules.get(name)
        if child is None:
            if hasattr(root, name):
                raise ValueError(_CLASH.format(name))
            child = _Branch()
            root.add_module(name, child)
        root = child
    return root


class JaxModule(torch.nn.Module):
    """A JAX function ``jax_fn(params, *args, **kwargs)`` as a torch module.

    **Arguments:**

    - ``jax_fn``: a pure JAX function; see `as_torch_function`.
    - ``params``: its first argument, a pytree of JAX arrays, NumPy arrays or tensors, which are
      copied. Floating-point and complex arrays become ``nn.Parameter``s, other arrays buffers, and
      leaves that are no arrays stay as they are. Names follow the pytree:
      ``{"layer": {"w": ...}}`` gives ``layer.w``. Names that a torch module needs itself get an
      underscore: ``params_.Dense_0.kernel`` for Flax's ``{"params": {"Dense_0": ...}}``.
    - ``static_argnames``, ``residuals``: as for `as_torch_function`.

    ``state_dict``, ``.to``, ``deepcopy``, ``torch.func.functional_call``, ``torch.compile`` and
    DistributedDataParallel work as for any module; ``pickle`` does if ``jax_fn`` can be imported.

    **Raises:** ``ValueError`` for two parameters of one name, and for a static argument that
    ``jax_fn`` does not have; ``TypeError`` for arrays of a dtype that torch lacks.
    """

    def __init__(
        self,
        jax_fn: Callable[..., Any],
        params: Any,
        *,
        static_argnames: str | Iterable[str] = (),
        residuals: ResidualPolicy = "auto",
    ) -> None:
        super().__init__()
        self._names: list[str] = []
        skeleton = jax.tree_util.tree_map_with_path(self._adopt, params)
        self._skeleton = skeleton
        self._function = TorchFunction(
            _WithParameters(jax_fn, skeleton), static_argnames, residuals
        )

    def _adopt(self, path: tuple[Any, ...], leaf: Any) -> Any:
        if not isinstance(leaf, (torch.Tensor, jax.Array, np.ndarray, np.generic)):
            return leaf
        name = _dotted(path)
        *branches, last = name.split(".")
        holder = _holder(self, branches)
        if hasattr(holder, last):
            raise ValueError(_CLASH.format(name))
        tensor = _copied(leaf_name("params", path), leaf)
        if tensor.dtype.is_floating_point or tensor.dtype.is_complex:
            holder.register_parameter(last, torch.nn.Parameter(tensor))
        else:
            holder.register_buffer(last, tensor)
        self._names.append(name)
        return _Slot(name)

    def _tensor(self, name: str) -> torch.Tensor:
        holder: Any = self
        for part in name.split("."):
            holder = getattr(holder, part)
        return holder

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """``jax_fn(params, *args, **kwargs)`` with this module's parameters."""
        params = {name: self._tensor(name) for name in self._names}
        return self._function(params, *args, **kwargs)

    def params(self) -> Any:
        """The parameters as the pytree that ``jax_fn`` takes, with the tensors as leaves."""
        return jax.tree_util.tree_map(
            lambda leaf: self._tensor(leaf.name) if isinstance(leaf, _Slot) else leaf,
            self._skeleton,
        )

    def extra_repr(self) -> str:
        return self._function.name
