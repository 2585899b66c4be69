"""Weights in a file of their own, in the format safetensors (https://github.com/huggingface/safetensors)."""

import hashlib
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ._files import whole_file

ENDING = ".safetensors"
# By NumPy's names, those that the format calls otherwise than F32, I64, U8, ...
_NAMES = {
    "bool": "BOOL",
    "bfloat16": "BF16",
    "complex64": "C64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}
_HELD = {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
_HELD |= {"float16", "float32", "float64", *_NAMES}


def _name(dtype: Any) -> str:
    name = np.dtype(dtype).name
    return _NAMES.get(name) or name[0].upper() + "".join(filter(str.isdigit, name))


def _safetensors(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            "weights beside a network need the package safetensors; run `pip install safetensors`, "
            "or write the network with weights='inside'"
        ) from error


def write_weights(weights: Mapping[str, np.ndarray], path: Path) -> str:
    """Write arrays by name, and return the file's SHA-256. Raises ``TypeError`` for dtypes that the
    format lacks."""
    for name, array in weights.items():
        if array.dtype.name not in _HELD:
            raise TypeError(
                f"{name!r} has dtype {array.dtype}, which {ENDING} files cannot hold; write the "
                "network with weights='inside'"
            )
    own = {name: np.ascontiguousarray(a).reshape(a.shape) for name, a in weights.items()}
    save_file = _safetensors("safetensors.numpy").save_file
    with whole_file(path) as unfinished:
        save_file(own, unfinished)
        return hashlib.sha256(unfinished.read_bytes()).hexdigest()


def read_weights(path: Path, types: Mapping[str, Any], digest: str | None) -> dict[str, np.ndarray]:
    """The arrays in a file.

    **Arguments:** ``types``: what is expected, with ``shape`` and ``dtype``, by name; ``digest``:
    the file's SHA-256, None for any.

    **Raises:** ``FileNotFoundError``; ``ValueError`` for a file of another kind, another hash, or
    other names, shapes or dtypes.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"the network's weights are in {path.name}, which is not in {path.parent}; put it "
            "there, or name the file with load_network(path, weights=...)"
        )
    stored = path.read_bytes()
    if digest is not None and hashlib.sha256(stored).hexdigest() != digest:
        raise ValueError(
            f"{path} is not the file that was written with the network; if it is to run with these "
            "weights, name the file with load_network(path, weights=...)"
        )
    try:
        rows = dict(_safetensors("safetensors").deserialize(stored))
    except (ValueError, _safetensors("safetensors").SafetensorError) as error:
        raise ValueError(f"{path} is no {ENDING} file: {error}") from error
    if rows.keys() != types.keys():
        raise ValueError(f"{path} has the names {sorted(rows)}, expected {sorted(types)}")
    return {name: _checked(path, name, rows[name], types[name]) for name in types}


def _checked(path: Path, name: str, row: Mapping[str, Any], expected: Any) -> np.ndarray:
    found, shape = row["dtype"], tuple(row["shape"])
    wanted = _name(expected.dtype)
    # A program without 64-bit types has narrow integers where torch's state has wide ones.
    narrowed = {("I64", "I32"): np.int64, ("U64", "U32"): np.uint64}.get((found, wanted))
    if shape != expected.shape or (found != wanted and narrowed is None):
        raise ValueError(
            f"{path} has {name!r} as {found}{list(shape)}, expected {wanted}{list(expected.shape)}"
        )
    array = np.frombuffer(row["data"], narrowed or expected.dtype).reshape(shape)
    if narrowed is not None and (array != array.astype(expected.dtype)).any():
        raise ValueError(f"{path} has values in {name!r} that do not fit into {expected.dtype}")
    return array.astype(expected.dtype, copy=False)
