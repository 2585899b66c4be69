"""The parts of JAX's thread-local configuration that a computation depends on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import jax
import torch

from ._arrays import as_tensor
from ._jax_internals import wait

# JAX adds its options to this class at run time.
_ambient: Any = jax.config


def ambient_x64() -> bool:
    """Whether JAX's x64 mode is on here."""
    return _ambient.jax_enable_x64


def product_precision() -> str:
    """How exact products of float32 are in lowered code: JAX's setting, or else torch's, which
    unlike JAX does not round to 10 bits on a GPU unless it is told to."""
    of_torch = {"highest": "highest", "high": "high", "medium": "default"}
    return _ambient.jax_default_matmul_precision or of_torch[torch.get_float32_matmul_precision()]


def autocast_dtype(device: torch.device | None) -> torch.dtype | None:
    """To which dtype torch casts operators' inputs here; None if it does not."""
    kind = "cpu" if device is None else device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None


@functools.cache
def _host_device() -> Any:
    """The CPU, where JAX would choose another device for host memory; else None."""
    return None if jax.default_backend() == "cpu" else jax.devices("cpu")[0]


class JaxConfig(NamedTuple):
    """Captured in the forward pass and restored in the backward pass, which may run in another
    thread or outside the context managers that surrounded the forward pass."""

    x64: bool
    matmul_precision: Any
    on_host: bool

    @classmethod
    def capture(cls, wide: bool, on_host: bool | None) -> JaxConfig:
        """The current configuration, in x64 mode if it is on already or the inputs are ``wide``;
        ``on_host``: whether they are on the CPU, None where there are no inputs."""
        if on_host is None:
            on_host = jax.default_backend() == "cpu"
        return cls(wide or _ambient.jax_enable_x64, _ambient.jax_default_matmul_precision, on_host)

    def call(self, fn: Callable[..., Any], *args: Any) -> Any:
        """``fn(*args)`` under this configuration."""
        device = _host_device() if self.on_host else None
        same_precision = self.matmul_precision == _ambient.jax_default_matmul_precision
        if same_precision and device is None and self.x64 == _ambient.jax_enable_x64:
            return fn(*args)
        with ExitStack() as stack:
            stack.enter_context(jax.enable_x64(self.x64))
            stack.enter_context(jax.default_matmul_precision(self.matmul_precision))
            if device is not None:
                stack.enter_context(jax.default_device(device))
            return fn(*args)

    def export(self, arrays: Sequence[jax.Array]) -> tuple[torch.Tensor, ...]:
        """One executable's outputs as tensors.

        On CPU this waits for the executable: it reads torch's memory in place, which the caller
        may overwrite as soon as it has control again. On CUDA torch's stream waits instead.
        """
        if self.on_host and arrays:
            wait(arrays[0])
        return tuple([as_tensor(array, self.on_host) for array in arrays])
