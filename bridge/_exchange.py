"""Parameters and gradients of torch modules as named JAX arrays, and as files."""

from __future__ import annotations

import importlib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch

from .._files import whole_file  # pyright: ignore[reportMissingImports]  # It lies in top/.
from ._arrays import jax_array, tensor_copy, torch_tensor
from ._dtypes import NUMPY_DTYPE
from ._guards import BridgeError

_SUFFIXES = (".safetensors", ".npz")
Source = Mapping[str, Any] | str | Path


def export_parameters(
    module: torch.nn.Module, path: str | Path | None = None, *, copy: bool = True
) -> dict[str, jax.Array]:
    """A module's parameters and buffers as ``{name: jax.Array}``, names as in ``state_dict``.

    Tied parameters appear under each of their names. What modules add by ``get_extra_state`` is
    left out.

    **Arguments:**

    - ``path``: also write them there, as ``.safetensors`` or ``.npz``, replaced at once.
    - ``copy``: ``True`` takes a snapshot. ``False`` shares memory where it can: each array then
      changes whenever the parameter does, so use it only until the next optimiser step.

    **Raises:** ``ValueError`` for another file ending, ``TypeError`` for a dtype that JAX or the
    file format lacks.
    """
    return _export(_state(module), path, copy)


def export_gradients(
    module: torch.nn.Module, path: str | Path | None = None, *, copy: bool = True
) -> dict[str, jax.Array]:
    """The parameters' gradients as ``{name: jax.Array}``; parameters without one are left out.

    They follow JAX's convention, in files too: a complex one is the conjugate of torch's. A tied
    parameter appears under its first name, with its whole gradient. Arguments as for
    `export_parameters`.

    **Raises:** `BridgeError` if no parameter has a gradient; ``ValueError`` for a file ending.
    """
    found = {n: p.grad.conj() for n, p in module.named_parameters() if p.grad is not None}
    if not found:
        raise BridgeError("`module` has no gradients; call backward() before export_gradients")
    return _export(found, path, copy)


def load_parameters(module: torch.nn.Module, source: Source, *, strict: bool = True) -> None:
    """Copy named arrays into a module's parameters and buffers, in place.

    **Arguments:**

    - ``source``: ``{name: array}`` (JAX, NumPy or torch), or the path of a ``.safetensors`` or
      ``.npz`` file.
    - ``strict``: ``True`` demands all names and no others (of a tied parameter, one of its names);
      ``False`` loads those that are there.

    **Raises:** ``KeyError`` for missing or unknown names; ``ValueError`` for a shape, for a module
    on the meta device, and for values that differ between the names of a tied parameter;
    ``TypeError`` for a dtype that is not the module's. Nothing is changed then.
    """
    own = _state(module)
    pairs = []
    memory = {tensor.data_ptr() for tensor in own.values()}
    given = {name: x for name, x in _read(source).items() if not _is_extra(name)}
    for tensor, values in _matched(own, given, strict, "parameters"):
        (name, value), *others = values.items()
        for other, again in others:
            if not _same(value, again):
                raise ValueError(
                    f"{name!r} and {other!r} are one tied parameter, but their values in `source` "
                    "differ; give them the same value, or only one of the two"
                )
        # An alias of a parameter changes as soon as that one is loaded.
        pairs.append((tensor, value.clone() if value.data_ptr() in memory else value))
    with torch.no_grad():
        for tensor, value in pairs:
            tensor.copy_(value)


def load_gradients(module: torch.nn.Module, source: Source, *, strict: bool = True) -> None:
    """Set the parameters' ``.grad`` to copies of named arrays, for a torch optimiser to step on.

    The arrays are taken to follow JAX's convention: a complex one is conjugated. The gradients of
    a tied parameter's names are added up. ``strict=True`` demands a gradient for every parameter
    that requires one. Other arguments and errors as for `load_parameters`.
    """
    own = {n: p for n, p in module.named_parameters(remove_duplicate=False) if p.requires_grad}
    for tensor, values in _matched(own, _read(source), strict, "gradients"):
        first, *others = (value.conj().resolve_conj() for value in values.values())
        gradient = first.to(tensor.device, copy=True)
        for other in others:
            gradient += other.to(tensor.device)
        tensor.grad = gradient


def _state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    state = module.state_dict(keep_vars=True)
    return {name: value for name, value in state.items() if not _is_extra(name)}


def _is_extra(name: Any) -> bool:
    """Whether torch has this name for what a module adds by ``get_extra_state``."""
    return isinstance(name, str) and name.rpartition(".")[2] == "_extra_state"


def _export(
    tensors: dict[str, torch.Tensor], path: str | Path | None, copy: bool
) -> dict[str, jax.Array]:
    arrays = {n: jax_array(repr(n), t, copy=True if copy else None) for n, t in tensors.items()}
    if path is not None:
        _write({n: t.detach().resolve_conj().cpu() for n, t in tensors.items()}, Path(path))
    return arrays


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(((a == b) | ((a != a) & (b != b))).all())  # NaN too


def _by_tensor(own: Mapping[str, torch.Tensor]) -> Iterable[list[str]]:
    """The names, those of one tensor together."""
    groups: dict[int, list[str]] = {}
    for name, tensor in own.items():
        groups.setdefault(id(tensor), []).append(name)
    return groups.values()


def _matched(
    own: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor], strict: bool, what: str
) -> list[tuple[torch.Tensor, dict[str, torch.Tensor]]]:
    """Every tensor in ``own`` for which something is given, with that by name."""
    groups = _by_tensor(own)
    unknown = sorted(set(given) - set(own))
    missing = sorted(names[0] for names in groups if not any(name in given for name in names))
    if strict and (unknown or missing):
        raise KeyError(
            f"the {what} in `source` do not match the module: missing {missing}, unknown "
            f"{unknown}; pass strict=False to load those that match"
        )
    pairs = []
    for names in groups:
        tensor = own[names[0]]
        values = {name: _fitting(name, tensor, given[name]) for name in names if name in given}
        if values:
            pairs.append((tensor, values))
    return pairs


def _fitting(name: str, tensor: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """``value`` in the dtype of the module's ``tensor``, after a check that it belongs there."""
    if tensor.is_meta:
        raise ValueError(
            f"{name!r} is on device 'meta' and has no memory to load into; call "
            "module.to_empty(device=...) first"
        )
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
    return value.to(tensor.dtype)


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
    """Write tensors on the CPU."""
    if _suffix(path) == ".safetensors":
        try:
            with whole_file(path) as unfinished:
                own = {n: t.contiguous().clone() for n, t in tensors.items()}
                _safetensors().save_file(own, unfinished)
        except KeyError as error:
            (dtype,) = error.args
            names = [name for name, tensor in tensors.items() if tensor.dtype == dtype]
            raise TypeError(
                f"{names} have dtype {dtype}, which .safetensors files cannot hold; write an .npz "
                "file"
            ) from error
        return
    for name, tensor in tensors.items():
        if NUMPY_DTYPE[tensor.dtype].isbuiltin != 1:
            raise TypeError(
                f"{name!r} has dtype {tensor.dtype}, which .npz files cannot hold; "
                "write a .safetensors file"
            )
    with whole_file(path) as unfinished:
        write_npz({name: tensor.numpy() for name, tensor in tensors.items()}, unfinished)


def write_npz(arrays: Mapping[str, np.ndarray], target: Any) -> None:
    """As numpy.savez, which would take a parameter called `file` for its own argument."""
    with zipfile.ZipFile(target, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _read(source: Source) -> dict[str, torch.Tensor]:
    if isinstance(source, Mapping):
        return {name: _as_tensor(name, value) for name, value in source.items()}
    path = Path(source)
    if _suffix(path) == ".safetensors":
        return _safetensors().load_file(path)
    with np.load(path, allow_pickle=False) as archive:
        return {name: torch.from_numpy(archive[name]) for name in archive.files}


def _as_tensor(name: str, value: Any) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value.detach()
    described = f"`source[{name!r}]`"
    if isinstance(value, jax.Array):
        return torch_tensor(described, value, copy=None)
    if isinstance(value, (np.ndarray, np.generic)):
        return tensor_copy(described, value)
    raise TypeError(f"{described} is a {type(value).__name__}; pass an array")
