"""Trained networks as files that JAX runs without torch."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import numpy as np
import torch
from jax import export

from .._files import whole_file  # pyright: ignore[reportMissingImports]  # It lies in top/.
from .._network import (  # pyright: ignore[reportMissingImports]  # It lies in top/.
    ABOUT,
    BESIDE,
    FORMAT,
    PROGRAM,
    WEIGHTS,
    need_flatbuffers,
)
from .._weights import (  # pyright: ignore[reportMissingImports]  # It lies in top/.
    ENDING,
    write_weights,
)
from ._dtypes import WIDTH, needs_x64
from ._exchange import write_npz
from ._guards import BridgeError
from ._jax_function import JaxFunction, as_jax_function
from ._pytree import to_jax

_Place = Literal["inside", "beside"]


def export_network(
    model: torch.nn.Module,
    path: str | Path,
    *inputs: Any,
    platforms: Sequence[str] | None = None,
    weights: _Place = "inside",
) -> None:
    """Write what a trained model computes as a file: StableHLO, and its parameters and buffers.

    `evtorch.jax_core.load_network` runs it, without torch and without the classes of the model.

    **Arguments:**

    - ``model``: an ``nn.Module`` in the mode in which it is to run, usually ``model.eval()``, whose
      operators all have a form in JAX (``as_jax_function(lowering="native")``).
    - ``path``: the file.
    - ``inputs``: examples of its inputs, tensors in pytrees. The file is for these shapes.
    - ``platforms``: for what to export, such as ``("cpu", "cuda")``; by default JAX's present one.
    - ``weights``: ``"inside"`` makes one file; ``"beside"`` writes parameters and buffers to
      another one in the same folder, with ``.safetensors`` behind the name, which other tools read.
      The first file knows the second by its name and SHA-256.

    **Raises:** `BridgeError` for operators without a form in JAX, for random numbers, and for
    layers that report lost spikes, which a file cannot; ``TypeError`` for a model that is none, and
    for weights of dtypes that the file cannot hold; ``ImportError`` without the package flatbuffers
    or, for ``"beside"``, safetensors.
    """
    if weights not in get_args(_Place):
        raise ValueError(f"`weights` must be one of {get_args(_Place)}, got {weights!r}")
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"`model` must be an nn.Module, got {model!r}")
    width = 0
    for tensor in (*model.parameters(), *model.buffers(), *jax.tree_util.tree_leaves(inputs)):
        width |= WIDTH.get(tensor.dtype, 0) if isinstance(tensor, torch.Tensor) else 0
    x64 = needs_x64(width)
    with jax.enable_x64(x64):
        fn, _ = as_jax_function(model, lowering="native")
        state = {**fn.params, **fn.buffers}
        arrays = to_jax(inputs, copy=True)
        if not x64:
            state, arrays = jax.tree_util.tree_map(_narrow, (state, arrays))
        program = _exported(fn, state, arrays, platforms)
    _write(Path(path), program, x64, {n: np.asarray(a) for n, a in state.items()}, weights)


def _write(
    path: Path, program: bytes, x64: bool, state: dict[str, np.ndarray], place: _Place
) -> None:
    versions = {"evtorch": version("evtorch"), "jax": jax.__version__}
    about: dict[str, Any] = {"format": FORMAT, **versions, "x64": x64}
    stored = io.BytesIO()
    if place == "beside":
        beside = path.with_name(path.name + ENDING)
        about[BESIDE] = {"file": beside.name, "sha256": write_weights(state, beside)}
    else:
        write_npz(state, stored)
    with (
        whole_file(path) as unfinished,
        zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        archive.writestr(ABOUT, json.dumps(about))
        archive.writestr(PROGRAM, program)
        if place == "inside":
            archive.writestr(WEIGHTS, stored.getvalue())


def _narrow(array: Any) -> Any:
    """64-bit integers in 32 bits, as they are computed while JAX's x64 mode is off."""
    narrow = {np.dtype(np.int64): np.int32, np.dtype(np.uint64): np.uint32}
    return array.astype(narrow[array.dtype]) if array.dtype in narrow else array


def _exported(fn: JaxFunction, weights: Any, inputs: Any, platforms: Any) -> bytes:
    def run(weights: dict[str, Any], *inputs: Any) -> Any:
        params, buffers = ({n: weights[n] for n in own} for own in (fn.params, fn.buffers))
        return fn(params, *inputs, buffers=buffers)[0]

    try:
        exported = export.export(jax.jit(run), platforms=platforms)(weights, *inputs)
    except NotImplementedError as error:
        if "callback" not in str(error):
            raise
        raise BridgeError(
            "the network looks at values while it runs, which a file cannot: it draws random "
            "numbers (call model.eval()), or a layer reports lost spikes (make it with "
            "on_overflow='truncate', or with refractory=inf, where one spike is all there is)"
        ) from error
    need_flatbuffers()
    return bytes(exported.serialize())
