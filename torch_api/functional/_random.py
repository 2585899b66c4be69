"""Random numbers, from torch's global generator or one that is given."""

from typing import Any

import torch
from torch import Tensor


def check_generator(generator: Any) -> None:
    """Check what random numbers come from."""
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(
            f"generator must be a torch.Generator or None, got {type(generator).__name__}; for a "
            f"seed pass torch.Generator().manual_seed(seed)"
        )


def uniform(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Uniform numbers in [0, 1), of the dtype and on the device of ``like``."""
    _check_device(like, generator)
    return torch.rand(shape, dtype=like.dtype, device=like.device, generator=generator)


def normal(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Normal numbers of variance 1, of the dtype and on the device of ``like``."""
    _check_device(like, generator)
    return torch.randn(shape, dtype=like.dtype, device=like.device, generator=generator)


def arrivals(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """The first times of Poisson processes of rate 1, along the last axis."""
    # 1 - u is never 0, so that each interval is finite.
    return torch.cumsum(-torch.log1p(-uniform(shape, like, generator)), dim=-1)


def _check_device(like: Tensor, generator: torch.Generator | None) -> None:
    check_generator(generator)
    if generator is not None and generator.device.type != like.device.type:
        raise ValueError(
            f"generator is on {generator.device}, but the tensor is on {like.device}; make it with "
            f"torch.Generator({str(like.device)!r})"
        )
