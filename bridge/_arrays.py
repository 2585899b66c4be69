"""One tensor to one JAX array and back, without copies where that is safe."""

from __future__ import annotations

import functools
import os
import warnings
from typing import Any

import jax
import numpy as np
import torch
from jax.core import Tracer
from torch.nn.parameter import is_lazy

from ._dtypes import NUMPY_ALIASES, NUMPY_DTYPE, TORCH_DTYPE, WIDE_INTEGERS, WIDTH
from ._guards import BridgeError
from ._jax_internals import capsule_of
from ._torch_internals import from_capsule

# XLA on CPU reads a foreign buffer in place only at this alignment; anything else it copies
# asynchronously, and a torch write right after the call would race with that copy.
_ALIGNMENT_MASK = 63


def check_tensor(name: str, tensor: torch.Tensor) -> None:
    """Raise if ``tensor`` cannot be handed to JAX; ``name`` is what the message calls it."""
    if is_lazy(tensor):
        raise ValueError(
            f"{name} belongs to a lazy module and has no shape yet; call the module once on an "
            "example of its inputs"
        )
    if tensor.layout is not torch.strided:
        raise TypeError(
            f"{name} has layout {tensor.layout}, which JAX does not read; "
            "pass a dense tensor, for example through .to_dense()"
        )
    if tensor.is_nested:
        raise TypeError(
            f"{name} is a nested tensor, which JAX does not read; pass a padded one, for example "
            "through torch.nested.to_padded_tensor"
        )
    if tensor.dtype not in WIDTH:
        raise TypeError(
            f"{name} has dtype {tensor.dtype}, which has no counterpart in JAX; "
            "convert it to a supported dtype first, for example with .to(torch.float32)"
        )
    if tensor.is_meta:
        raise ValueError(
            f"{name} is on device 'meta', where tensors have no values; give them memory with "
            "module.to_empty(device='cpu'), then initialise or load them"
        )
    if tensor.device.type not in ("cpu", "cuda"):
        raise ValueError(
            f"{name} is on device '{tensor.device}', which the bridge cannot read; "
            "move it to 'cpu' or 'cuda' first"
        )


def check_module(module: torch.nn.Module) -> None:
    """Raise for the first of a module's parameters and buffers that cannot be handed to JAX."""
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        check_tensor(f"`{name}` of the model", tensor)


def is_readable_in_place(tensor: torch.Tensor) -> bool:
    """Whether XLA reads a tensor's memory as it is, rather than a copy."""
    return (
        tensor.is_contiguous()
        and not tensor.is_conj()
        and not tensor.is_neg()
        and not (tensor.is_cpu and tensor.data_ptr() & _ALIGNMENT_MASK)
    )


def host_view(tensor: torch.Tensor) -> np.ndarray:
    """NumPy array of a CPU tensor's values, sharing its memory where XLA can read that in place.

    A tensor that is not contiguous, not 64-byte aligned, or lazily conjugated or negated is
    copied by torch (synchronously).
    """
    if not tensor.is_contiguous() or tensor.data_ptr() & _ALIGNMENT_MASK:
        tensor = tensor.clone(memory_format=torch.contiguous_format)
    alias = NUMPY_ALIASES.get(tensor.dtype)
    if alias is None:
        return tensor.numpy(force=True)
    return tensor.detach().view(alias[0]).numpy().view(alias[1])


def tensor_copy(name: str, array: Any) -> torch.Tensor:
    """A tensor with a copy of a NumPy array's values."""
    if array.dtype not in TORCH_DTYPE:
        raise TypeError(f"{name} has dtype {array.dtype}, which has no counterpart in torch")
    own = np.array(array, copy=True, order="C")
    alias = NUMPY_ALIASES.get(TORCH_DTYPE[own.dtype])
    if alias is None:
        return torch.from_numpy(own)
    return torch.from_numpy(own.view(NUMPY_DTYPE[alias[0]])).view(TORCH_DTYPE[own.dtype])


def narrowed(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """A 64-bit integer tensor as a 32-bit one, or OverflowError if a value does not fit."""
    dtype = torch.int32 if tensor.dtype is torch.int64 else torch.uint32
    narrow = tensor.to(dtype)
    if not torch.equal(narrow.to(tensor.dtype), tensor):
        raise OverflowError(
            f"{name} is {tensor.dtype} and holds values beyond {dtype}, and JAX computes in 32 "
            "bits here because the floating-point inputs are narrower than 64; pass those as "
            "float64, or call inside `with jax.enable_x64(True):`"
        )
    return narrow


@functools.cache
def _cuda_ready() -> None:
    """Check once that JAX has CUDA, and say what its memory policy means for torch."""
    try:
        jax.devices("cuda")
    except RuntimeError as error:
        raise BridgeError(
            "a tensor is on 'cuda', but JAX has no CUDA device here; install jax[cuda12] or "
            "jax[cuda13], or move the tensor to 'cpu'"
        ) from error
    if not {"XLA_PYTHON_CLIENT_PREALLOCATE", "XLA_PYTHON_CLIENT_MEM_FRACTION"} & set(os.environ):
        warnings.warn(
            "JAX has reserved most of the GPU's memory, which leaves little for torch; set "
            "XLA_PYTHON_CLIENT_PREALLOCATE=false before JAX is imported",
            stacklevel=2,
        )


def device_view(tensor: torch.Tensor) -> jax.Array:
    """JAX array sharing a CUDA tensor's memory; JAX's stream waits for torch's current one."""
    _cuda_ready()
    tensor = tensor.detach().resolve_conj().resolve_neg().contiguous()
    with torch.cuda.device(tensor.device):  # torch exports from the current device only
        return jax.dlpack.from_dlpack(tensor)


def as_operand(name: str, tensor: torch.Tensor, x64: bool) -> Any:
    """What a jitted function is called with for ``tensor``: valid for the duration of the call."""
    if not x64 and tensor.dtype in WIDE_INTEGERS:
        tensor = narrowed(name, tensor)
    try:
        return host_view(tensor) if tensor.is_cpu else device_view(tensor)
    except (RuntimeError, TypeError, ValueError):
        # Not checked beforehand, because the checks cost more than the view itself.
        check_tensor(name, tensor)
        raise


def as_tensor(array: jax.Array, on_host: bool) -> torch.Tensor:
    """Torch tensor that shares the array's memory; ``on_host`` says that this is a CPU's."""
    if on_host:
        tensor = from_capsule(capsule_of(array))
        if tensor.shape == array.shape:
            return tensor
        # One of several devices' parts: gather them first.
        with jax.enable_x64(True):
            return from_capsule(capsule_of(jax.device_put(array, jax.devices("cpu")[0])))
    with torch.cuda.device(next(iter(array.devices())).local_hardware_id):
        return torch.from_dlpack(array)


def jax_array(name: str, tensor: torch.Tensor, copy: bool | None) -> jax.Array:
    """`to_jax` for one tensor."""
    check_tensor(name, tensor)
    source = tensor.detach()
    ready = is_readable_in_place(source)
    if copy is False and not ready:
        raise ValueError(
            f"{name} cannot be shared with JAX without a copy: it is not contiguous, not 64-byte "
            "aligned, or lazily conjugated; drop copy=False"
        )
    if copy or not ready:
        source = source.resolve_conj().resolve_neg()
        source = source.clone(memory_format=torch.contiguous_format)
    if source.device.type == "cuda":
        with jax.enable_x64(True):
            return device_view(source)
    if NUMPY_DTYPE[source.dtype].itemsize < 8:
        return jax.dlpack.from_dlpack(source)
    with jax.enable_x64(True):
        return jax.dlpack.from_dlpack(source)


def torch_tensor(name: str, array: jax.Array, copy: bool | None) -> torch.Tensor:
    """`to_torch` for one array."""
    if isinstance(array, Tracer):
        raise TypeError(
            f"{name} is traced by a JAX transformation and has no values yet; "
            "call to_torch outside jit, grad and vmap, or use as_jax_function for torch code inside"
        )
    if array.dtype not in TORCH_DTYPE:
        raise TypeError(
            f"{name} has dtype {array.dtype}, which has no counterpart in torch; "
            "convert it first (for PRNG keys: jax.random.key_data)"
        )
    devices = array.devices()
    if len(devices) > 1:
        raise ValueError(
            f"{name} is spread over {len(devices)} devices; gather it on one first, "
            "for example with jax.device_put(x, jax.devices()[0])"
        )
    tensor = as_tensor(array, next(iter(devices)).platform == "cpu")
    return tensor.clone() if copy else tensor
