"""A term of a loss that keeps weights small."""

import torch
from torch import Tensor, nn

from ..functional._loss_checks import check_number
from ..layers._li import LI
from ..layers._model_layer import ModelLayer
from ..layers._neuron_layer import NeuronLayer
from ..layers._recurrent_lif import RecurrentLIF
from ..layers._recurrent_model import RecurrentModelLayer


def weight_penalty(model: nn.Module, limit: float | None = None) -> Tensor:
    """Squared weights of all layers, in units of each layer's critical weight.

    For each spiking layer and `LI` in ``model`` the mean of ``(w / c)^2`` over its weights,
    where ``c`` is `LIF.critical_weight`, summed over layers; so layers of different sizes and time
    constants are held equally. Recurrent weights are measured likewise, against coincident spikes
    of all neurons of the layer. ``c`` counts as a constant, also where it depends on learned ones.

    With ``limit``, only what exceeds it: ``(max(0, |w| - limit) / c)^2``. On hardware with weights
    up to ``m``, reached at ``m / scaling.weight`` here, that is the limit from which they clip.

    **Arguments:**

    - ``model``: a module with layers in it, or a layer. Parameters of other modules do not count.
    - ``limit``: in the unit of the weights, >= 0; ``None`` for none.

    **Returns:** a scalar, differentiable in the weights.

    **Raises:** ``ValueError`` if there is no such layer.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if limit is not None:
        check_number(limit, "limit")
    terms = [
        _excess(weight, critical, limit)
        for layer in model.modules()
        if isinstance(layer, NeuronLayer | ModelLayer | LI)
        for weight, critical in _weights(layer)
    ]
    if not terms:
        raise ValueError(
            "model must have LIF, RecurrentLIF or LI layers in it, but it has none; pass the "
            "module that holds them, or use weight_decay of the optimiser for others"
        )
    # Layers may lie on different devices.
    return torch.stack([term.to(terms[0]) for term in terms]).sum()


def _weights(layer: NeuronLayer | ModelLayer | LI) -> list[tuple[Tensor, Tensor]]:
    """Weights and their natural unit, in axes that go with them."""
    found: list[tuple[Tensor, Tensor]] = [(layer.weight, layer.per_weight(layer.critical_weight()))]
    if isinstance(layer, RecurrentLIF):
        unit = layer.weight_scale(layer.recurrent_fan_in)
        found.append((layer.recurrent_weight, layer.per_recurrent_weight(unit)))
    if isinstance(layer, RecurrentModelLayer):
        found.append((layer.recurrent_weight, layer.recurrent_scale()))
    return found


def _excess(weight: Tensor, critical: Tensor, limit: float | None) -> Tensor:
    beyond = weight if limit is None else (weight.abs() - limit).relu()
    relative = (beyond / critical.to(weight)).square()
    return relative.mean() if relative.numel() else relative.sum()
