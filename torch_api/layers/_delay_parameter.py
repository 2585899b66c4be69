"""Delays as parameters that an optimiser may change freely, or as buffers."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .._validate import check_dtype, check_size


def delay_parameter(
    init: float | Tensor,
    features: int,
    *,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> nn.Parameter:
    """A parameter of shape ``(features,)``, seconds, with values >= 0."""
    check_size(features, "features")
    if isinstance(init, str | bool) or init is None:
        raise TypeError(
            f"init must be a number or a tensor ({features},), seconds, got {type(init).__name__}"
        )
    return nn.Parameter(_values(init, features, "init", device, dtype))


def register_delay(
    module: nn.Module,
    name: str,
    delay: Any,
    features: dict[str, int | tuple[int, int]],
    *,
    pairs: np.ndarray | None = None,
    device: torch.device | str | None,
    dtype: torch.dtype,
) -> str | None:
    """Register a delay: a parameter where it is named by its kind, a buffer where it is given.

    **Arguments:** ``delay``: ``None``, one of the kinds, or a number or a tensor, seconds;
    ``features``: how many delays there are, or their shape, by their kind. A given delay is of the
    first kind, a matrix of the one with that many axes. ``pairs``: the connections that there are,
    ``(connections, 2)``, of which alone there are synaptic delays; ``None`` for all.

    **Returns:** the kind of the delay, ``None`` without.
    """
    kind = next(iter(features))
    if delay is None:
        module.register_parameter(name, None)
        return None
    if isinstance(delay, str) and delay in features:
        initial = torch.zeros(features[delay], device=device, dtype=dtype)
        initial = _of_pairs(initial, pairs) if delay == "synaptic" else initial
        module.register_parameter(name, nn.Parameter(initial))
        return delay
    if isinstance(delay, bool) or not isinstance(delay, float | int | Tensor):
        meaning = {
            "axonal": "one per neuron that sends",
            "dendritic": "one per neuron",
            "synaptic": "one per connection",
        }
        kinds = " or ".join(f"{each!r} ({meaning[each]})" for each in features)
        raise ValueError(
            f"{name} must be None, {kinds} for a learnable delay, or a fixed one in seconds, a "
            f"number or a tensor ({features[kind]},), got {delay!r}"
        )
    if isinstance(delay, Tensor) and delay.ndim == 2 and "synaptic" in features:
        kind = "synaptic"
    value = _values(delay, features[kind], name, device, dtype)
    module.register_buffer(name, _of_pairs(value, pairs) if kind == "synaptic" else value)
    return kind


def _of_pairs(delay: Tensor, pairs: np.ndarray | None) -> Tensor:
    if pairs is None:
        return delay
    at = torch.as_tensor(pairs, device=delay.device)
    return delay[at[:, 0], at[:, 1]]


def delay_repr(name: str, delay: Tensor, kind: str) -> str:
    """A delay as text: its kind, or the value of a fixed one."""
    if isinstance(delay, nn.Parameter):
        return f"{name}={kind!r}"
    if delay.numel() and bool((delay == delay.flatten()[0]).all()):
        return f"{name}={delay.flatten()[0].item():g}"
    return f"{name}=fixed"


def _values(
    given: float | Tensor,
    features: int | tuple[int, int],
    name: str,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> Tensor:
    dtype = check_dtype(dtype)
    # On its own device, because a device that holds no values ("meta") has none to check.
    value = given if isinstance(given, Tensor) else torch.tensor(given, dtype=dtype, device="cpu")
    value = value.detach().to(dtype)
    shape = features if isinstance(features, tuple) else (features,)
    if value.shape not in ((), shape):
        raise ValueError(f"{name} must be a number or have shape {shape}, got {tuple(value.shape)}")
    if not value.is_meta and not bool(((value >= 0) & (value < math.inf)).all()):
        raise ValueError(f"{name} must be finite and >= 0 (seconds), got {given}")
    device = device or (value.device if isinstance(given, Tensor) else torch.get_default_device())
    return value.expand(shape).to(device, copy=True)


def nonnegative(delay: Tensor) -> Tensor:
    """``max(delay, 0)`` with a projected gradient, so that a delay below 0 can return."""
    return _Project.apply(delay)


class _Project(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(delay: Tensor) -> Tensor:
        return delay.clamp(min=0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (delay,) = ctx.saved_tensors
        (grad,) = grads
        return torch.where(delay >= 0, grad, grad.clamp(max=0))
