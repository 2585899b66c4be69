"""Recurrent layers of torch in captured code, as one operator each: torch would unroll them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_CELLS = {torch.lstm: "lstm", torch.gru: "gru", torch.rnn_tanh: "tanh", torch.rnn_relu: "relu"}


class RecurrentLayers(TorchFunctionMode):
    """Records ``evtorch::recurrent`` where `torch.lstm` and its like are called."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        cell = _CELLS.get(func) if _is_plain(args, kwargs) else None
        if cell is None:
            return func(*args, **(kwargs or {}))
        x, start, *rest = args
        start = list(start) if cell == "lstm" else [start]
        return tuple(torch.ops.evtorch.recurrent(x, start, *rest, cell))


def _is_plain(args: Any, kwargs: Any) -> bool:
    """Whether these are the arguments for a padded batch, with weights of the usual kind."""
    if kwargs or len(args) != 9 or not isinstance(args[3], bool):
        return False
    _, _, weights, bias, layers, _, _, bidirectional, _ = args
    # With projections an LSTM has one weight more per layer and direction.
    return len(weights) == (4 if bias else 2) * layers * (2 if bidirectional else 1)


@torch.library.custom_op("evtorch::recurrent", mutates_args=())
def recurrent(
    x: torch.Tensor,
    start: Sequence[torch.Tensor],
    weights: Sequence[torch.Tensor],
    bias: bool,
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
    cell: str,
) -> list[torch.Tensor]:
    """Outputs and last states; never runs, since what is captured becomes JAX."""
    raise NotImplementedError


@recurrent.register_fake
def _(x: torch.Tensor, start: Sequence[torch.Tensor], *others: Any) -> list[torch.Tensor]:
    _, _, _, _, _, bidirectional, _, _ = others
    width = start[0].shape[-1] * (2 if bidirectional else 1)
    return [x.new_empty((*x.shape[:-1], width)), *(torch.empty_like(s) for s in start)]
