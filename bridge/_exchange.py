"""Parameters and gradients of torch modules as named JAX arrays, and as files."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch

from ._dtypes import NUMPY_DTYPE
from ._guards import BridgeError
from ._pytree import to_jax, to_torch

_SUFFIXES = (".safetensors", ".npz")
Source = Mapping[str, Any] | str | Path


def export_parameters(
    module: torch.nn.Module, path: str | Path | None = None, *, copy: bool = True
) -> dict[str, jax.Array]:
    """A module's parameters and buffers as ``{name: jax.Array}``, names as in ``state_dict``.

    **Arguments:**

    - ``path``: also write them there, as ``.safetensors`` or ``.npz``.
    - ``copy``: ``True`` takes a snapshot. ``False`` shares memory where it can: each array then
      changes whenever the parameter does, so use it only until the next optimiser step.

    **Raises:** ``ValueError`` for another file ending.
    """
    return _export(dict(module.state_dict(keep_vars=True)), path, copy)


def export_gradients(
    module: torch.nn.Module, path: str | Path | None = None, *, copy: bool = True
) -> dict[str, jax.Array]:
    """The parameters' gradients as ``{name: jax.Array}``; parameters without one are left out.

    Arguments as for `export_parameters`.

    **Raises:** `BridgeError` if no parameter has a gradient; ``ValueError`` for a file ending.
    """
    found = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    if not found:
        raise BridgeError("`module` has no gradients; call backward() before export_gradients")
    return _export(found, path, copy)


def load_parameters(module: torch.nn.Module, source: Source, *, strict: bool = True) -> None:
    """Copy named arrays into a module's parameters and buffers, in place.

    **Arguments:**

    - ``source``: ``{name: array}`` (JAX, NumPy or torch), or the path of a ``.safetensors`` or
      ``.npz`` file.
    - ``strict``: ``True`` demands all names and no others; ``False`` loads those that are there.

    **Raises:** ``KeyError`` for missing or unknown names, ``ValueError`` for a shape, ``TypeError``
    for a dtype that is not the module's. Nothing is changed then.
    """
    own = dict(module.state_dict(keep_vars=True))
    with torch.no_grad():
        for tensor, value in _matched(own, _read(source), strict, "parameters"):
            tensor.copy_(value)


def load_gradients(module: torch.nn.Module, source: Source, *, strict: bool = True) -> None:
    """Set the parameters' ``.grad`` to copies of named arrays, for a torch optimiser to step on.

    ``strict=True`` demands a gradient for every parameter that requires one. Other arguments and
    errors as for `load_parameters`.
    """
    own = {name: p for name, p in module.named_parameters() if p.requires_grad}
    for tensor, value in _matched(own, _read(source), strict, "gradients"):
        tensor.grad = value.to(tensor.device, copy=True)


def _export(
    tensors: dict[str, torch.Tensor], path: str | Path | None, copy: bool
) -> dict[str, jax.Array]:
    if path is not None:
        _write({name: t.detach() for name, t in tensors.items()}, Path(path))
    return {name: to_jax(t, copy=True if copy else None) for name, t in tensors.items()}


def _matched(
    own: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor], strict: bool, what: str
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    unknown = sorted(set(given) - set(own))
    missing = sorted(set(own) - set(given))
    if strict and (unknown or missing):
        raise KeyError(
            f"the {what} in `source` do not match the module: missing {missing}, unknown "
            f"{unknown}; pass strict=False to load those that match"
        )
    pairs = []
    for name in own:
        if name not in given:
            continue
        tensor, value = own[name], given[name]
        if tensor.shape != value.shape:
            raise ValueError(
                f"`source[{name!r}]` has shape {tuple(value.shape)}, the module's has "
                f"{tuple(tensor.shape)}"
            )
        narrowed = tensor.dtype is torch.int64 and value.dtype is torch.int32
        if tensor.dtype != value.dtype and not narrowed:
            raise TypeError(
                f"`source[{name!r}]` has dtype {value.dtype}, the module's has {tensor.dtype}; "
                "convert one of them first"
            )
        pairs.append((tensor, value.to(tensor.dtype)))
    return pairs


def _suffix(path: Path) -> str:
    if path.suffix not in _SUFFIXES:
        raise ValueError(f"`path` must end in .safetensors or .npz, got {path.name!r}")
    return path.suffix


def _safetensors() -> Any:
    try:
        return importlib.import_module("safetensors.torch")
    except ImportError as error:
        raise ImportError(
            "files ending in .safetensors need the package safetensors; run "
            "`pip install safetensors`, or use an .npz file"
        ) from error


def _write(tensors: dict[str, torch.Tensor], path: Path) -> None:
    if _suffix(path) == ".safetensors":
        _safetensors().save_file(
            {name: t.cpu().contiguous().clone() for name, t in tensors.items()}, path
        )
        return
    arrays = {}
    for name, tensor in tensors.items():
        if NUMPY_DTYPE[tensor.dtype].isbuiltin != 1:
            raise TypeError(
                f"{name!r} has dtype {tensor.dtype}, which .npz files cannot hold; "
                "write a .safetensors file"
            )
        arrays[name] = tensor.cpu().numpy()
    np.savez(path, allow_pickle=False, **arrays)


def _read(source: Source) -> dict[str, torch.Tensor]:
    if isinstance(source, Mapping):
        return {name: _as_tensor(name, value) for name, value in source.items()}
    path = Path(source)
    if _suffix(path) == ".safetensors":
        return _safetensors().load_file(path)
    with np.load(path, allow_pickle=False) as archive:
        return {name: torch.from_numpy(archive[name]) for name in archive.files}


def _as_tensor(name: str, value: Any) -> torch.Tensor:
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if not isinstance(value, (torch.Tensor, jax.Array, np.ndarray)):
        raise TypeError(f"`source[{name!r}]` is a {type(value).__name__}; pass an array")
    return to_torch(value)
