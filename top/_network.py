"""Networks that `evtorch.bridge.export_network` wrote, run by JAX alone."""

import importlib.util
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array, export

from ._weights import read_weights

FORMAT = 1
PROGRAM, WEIGHTS, ABOUT = "network.stablehlo", "weights.npz", "about.json"
BESIDE = "weights"
"""Where ``about.json`` says which file has the weights, if it is another one."""


class Network:
    """What `load_network` returns: ``network(*inputs)`` on arrays of the shapes and dtypes of
    ``inputs``, the same as pytrees of `jax.ShapeDtypeStruct`.

    ``weights``: ``{name: array}``, parameters and buffers under torch's names;
    ``network.with_(...)`` is the network with others. It works inside ``jit``.
    """

    def __init__(self, exported: export.Exported, weights: Mapping[str, Any], x64: bool) -> None:
        self._exported = exported
        self._x64 = x64
        self.weights = dict(weights)
        weight_types, *self.inputs = _input_types(exported)
        _check_weights(self.weights, weight_types)

    def __call__(self, *inputs: Any) -> Any:
        """The outputs, in the pytree that the module returned."""
        own, given = (jax.tree_util.tree_structure(x) for x in (tuple(self.inputs), inputs))
        if own != given:
            raise ValueError(f"the network takes inputs of the structure {own}, got {given}")
        rows = jax.tree_util.tree_flatten_with_path(tuple(self.inputs))[0]
        for (path, expected), x in zip(rows, jax.tree_util.tree_leaves(inputs), strict=True):
            shape, dtype = np.shape(x), np.dtype(getattr(x, "dtype", type(x)))
            if shape != expected.shape or dtype != expected.dtype:
                raise ValueError(
                    f"inputs{jax.tree_util.keystr(path)} is {dtype}{list(shape)}, but the network "
                    f"was exported for {expected.dtype}{list(expected.shape)}; export it for this "
                    "shape too, or bring the input into that one"
                )
        with jax.enable_x64(self._x64):
            return self._exported.call(self.weights, *inputs)

    def with_(self, weights: Mapping[str, Any]) -> "Network":
        """The network with these weights in place of those of the same names."""
        unknown = sorted(set(weights) - set(self.weights))
        if unknown:
            raise ValueError(f"weights has names that the network lacks: {unknown}")
        return Network(self._exported, {**self.weights, **weights}, self._x64)


def _input_types(exported: export.Exported) -> tuple[Any, ...]:
    """Those of the weights by name, and of each input."""
    types = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in exported.in_avals]
    return jax.tree_util.tree_unflatten(exported.in_tree, types)[0]


def _check_weights(weights: Mapping[str, Any], types: Mapping[str, Any]) -> None:
    """Check names, shapes and dtypes."""
    if set(weights) != set(types):
        raise ValueError(f"weights has the names {sorted(weights)}, expected {sorted(types)}")
    for name, expected in types.items():
        shape, dtype = np.shape(weights[name]), weights[name].dtype
        if shape != expected.shape or dtype != expected.dtype:
            raise ValueError(
                f"weights[{name!r}] is {dtype}{list(shape)}, expected "
                f"{expected.dtype}{list(expected.shape)}"
            )


def need_flatbuffers() -> None:
    """Raise ``ImportError`` if the package is missing that `jax.export` needs for files."""
    if importlib.util.find_spec("flatbuffers") is None:
        raise ImportError(
            "files of networks need the package flatbuffers; run `pip install flatbuffers`"
        )


def load_network(path: str | Path, *, weights: str | Path | None = None) -> Network:
    """Load a network that `evtorch.bridge.export_network` wrote, without torch.

    **Arguments:** ``weights``: a file of safetensors to take the weights from, in place of those
    that were written with the network.

    **Returns:** a `Network`: call it on arrays. JAX versions up to half a year newer or older than
    the one that wrote the file run it (`jax.export`'s guarantee).

    **Raises:** ``ValueError`` for a file of another kind or of a newer format, and for weights that
    are not those written with the network, or do not fit; ``FileNotFoundError`` for a missing file;
    ``ImportError`` without the packages flatbuffers or, for weights beside it, safetensors.
    """
    need_flatbuffers()
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            about = json.loads(archive.read(ABOUT))
            program = archive.read(PROGRAM)
            beside = about.get(BESIDE)
            stored = b"" if beside or weights is not None else archive.read(WEIGHTS)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(f"{path} was not written by evtorch.bridge.export_network") from error
    if about["format"] > FORMAT:
        raise ValueError(
            f"{path} has format {about['format']}, this version of evtorch knows those up to "
            f"{FORMAT}; update evtorch"
        )
    with jax.enable_x64(about["x64"]):
        exported = export.deserialize(bytearray(program))
        types = _input_types(exported)[0]
        if weights is not None:
            found = read_weights(Path(weights), types, None)
        elif beside:
            found = read_weights(path.parent / Path(beside["file"]).name, types, beside["sha256"])
        else:
            found = _read_inside(stored, types)
        arrays: dict[str, Array] = {name: jax.device_put(x) for name, x in found.items()}
        return Network(exported, arrays, about["x64"])


def _read_inside(stored: bytes, types: Mapping[str, Any]) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(stored), allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files}
    # NumPy's files hold bfloat16 and its like as bytes without a type.
    return {n: x.view(types[n].dtype) if x.dtype.kind == "V" else x for n, x in arrays.items()}
