"""Gradients of single neurons, kept in proportion to those of their layer."""

import torch
from torch import Tensor, nn

from ..functional._loss_checks import check_number
from ..layers._health import SpikingLayer
from ..layers._projections import Synapses


@torch.no_grad()
def clip_grad_(model: nn.Module, factor: float = 3.0) -> int:
    """Bound the gradient of each neuron by a multiple of what is usual in its layer.

    The time of a spike that grazes the threshold changes without bound with the weights. One such
    spike in a batch makes a step useless, and with it the second moments of Adam for hundreds of
    steps: most of all for the neuron itself. So for each parameter of the spiking layers, the
    gradient of each neuron (a row of a weight, an element of a delay or constant) is scaled down
    to at most ``factor`` times the median norm of the neurons that have one. That needs no
    knowledge of the loss's scale. Gradients of other modules stay as they are.

    Call it between ``loss.backward()`` and the optimiser's step.

    **Arguments:**

    - ``model``: a module with spiking layers in it, or such a layer.
    - ``factor``: > 0.

    **Returns:** the number of rows that were scaled down. Weights that are parametrised, whose
    gradients belong to other tensors, stay as they are too.
    """
    check_number(factor, "factor", positive=True)
    clipped = [
        _clip(parameter.grad, factor)
        for layer in model.modules()
        if isinstance(layer, SpikingLayer | Synapses)
        for parameter in layer.parameters(recurse=False)
        if parameter.grad is not None
    ]
    return sum(int(count) for count in clipped)


def _clip(gradient: Tensor, factor: float) -> Tensor:
    norms = torch.linalg.vector_norm(gradient.unsqueeze(-1).flatten(1), dim=-1)
    usual = torch.where(norms > 0, norms, torch.nan).nanmedian()
    # NaN where there is nothing to compare with, or in the gradient, which is to be seen.
    share = (factor * usual / norms).clamp(max=1).nan_to_num(1.0)
    gradient.mul_(share.reshape(-1, *[1] * (gradient.ndim - 1)))
    return (share < 1).sum()
