"""Functions of torch that look at values, in captured code: the same without that look."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from torch.overrides import TorchFunctionMode


class BlindFunctions(TorchFunctionMode):
    """What they would refuse gives NaN."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is functional.gaussian_nll_loss:
            func = _gaussian_nll_loss
        elif func is functional.ctc_loss:
            func = _ctc_loss
        return func(*args, **(kwargs or {}))


def _ctc_loss(
    log_probs: torch.Tensor,
    targets: torch.Tensor,
    input_lengths: torch.Tensor | Sequence[int],
    target_lengths: torch.Tensor | Sequence[int],
    *args: Any,
    **kwargs: Any,
) -> torch.Tensor:
    """The mean over lengths that are numbers would make a tensor of them that has no values."""
    if not isinstance(target_lengths, torch.Tensor):
        if targets.ndim == 1 and log_probs.ndim == 3:
            rows = list(targets.split(list(target_lengths)))
            targets = pad_sequence(rows, batch_first=True)
        target_lengths = torch.tensor(target_lengths, device=targets.device)
    if not isinstance(input_lengths, torch.Tensor):
        input_lengths = torch.tensor(input_lengths, device=targets.device)
    return functional.ctc_loss(log_probs, targets, input_lengths, target_lengths, *args, **kwargs)


def _gaussian_nll_loss(
    input: torch.Tensor,
    target: torch.Tensor,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> torch.Tensor:
    """Nix & Weigend 1994, equation 4. As in torch, the lower bound of the variance stops no
    gradient."""
    if not isinstance(var, torch.Tensor):
        return functional.gaussian_nll_loss(input, target, var, full, eps, reduction)
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"`reduction` must be 'none', 'mean' or 'sum', got {reduction!r}")
    if var.shape == input.shape[:-1] != input.shape:
        var = var.unsqueeze(-1)
    other = [b for a, b in zip(input.shape, var.shape, strict=False) if a != b]
    if var.ndim != input.ndim or (other and other != [1]):
        raise ValueError(
            f"`var` has shape {tuple(var.shape)}, which fits no input of {tuple(input.shape)}"
        )
    bounded = torch.where(var < eps, var + (eps - var).detach(), var)
    bounded = bounded.masked_fill(var < 0, math.nan)
    loss = 0.5 * (bounded.log() + (input - target) ** 2 / bounded)
    loss = loss + (0.5 * math.log(2 * math.pi) if full else 0.0)
    return loss if reduction == "none" else getattr(loss, reduction)()
