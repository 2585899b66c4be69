"""Trained networks as files that JAX runs without torch."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch
from jax import export

from .._network import (  # pyright: ignore[reportMissingImports]  # It lies in top/.
    ABOUT,
    FORMAT,
    PROGRAM,
    WEIGHTS,
    need_flatbuffers,
)
from ._dtypes import WIDTH, needs_x64
from ._exchange import write_npz
from ._guards import BridgeError
from ._jax_function import JaxFunction, as_jax_function
from ._pytree import to_jax


def export_network(
    model: torch.nn.Module,
    path: str | Path,
    *inputs: Any,
    platforms: Sequence[str] | None = None,
) -> None:
    """Write what a trained model computes as one file: StableHLO, and its parameters and buffers.

    `evtorch.jax_core.load_network` runs it, without torch and without the classes of the model.

    **Arguments:**

    - ``model``: an ``nn.Module`` in the mode in which it is to run, usually ``model.eval()``, whose
      operators all have a form in JAX (``as_jax_function(lowering="native")``).
    - ``path``: the file.
    - ``inputs``: examples of its inputs, tensors in pytrees. The file is for these shapes.
    - ``platforms``: for what to export, such as ``("cpu", "cuda")``; by default JAX's present one.

    **Raises:** `BridgeError` for operators without a form in JAX, for random numbers, and for
    layers that report lost spikes, which a file cannot; ``TypeError`` for a model that is none;
    ``ImportError`` without the package flatbuffers.
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"`model` must be an nn.Module, got {model!r}")
    width = 0
    for tensor in (*model.parameters(), *model.buffers(), *jax.tree_util.tree_leaves(inputs)):
        width |= WIDTH.get(tensor.dtype, 0) if isinstance(tensor, torch.Tensor) else 0
    x64 = needs_x64(width)
    with jax.enable_x64(x64):
        fn, _ = as_jax_function(model, lowering="native")
        weights = {**fn.params, **fn.buffers}
        arrays = to_jax(inputs, copy=True)
        if not x64:
            weights, arrays = jax.tree_util.tree_map(_narrow, (weights, arrays))
        program = _exported(fn, weights, arrays, platforms)
    about = {"format": FORMAT, "evtorch": version("evtorch"), "jax": jax.__version__, "x64": x64}
    stored = io.BytesIO()
    write_npz({name: np.asarray(array) for name, array in weights.items()}, stored)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(ABOUT, json.dumps(about))
        archive.writestr(PROGRAM, program)
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
