"""Gradients of single neurons, kept in proportion to those of their layer."""

import torch
from torch import Tensor, nn

from ._health import SpikingLayer


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

    **Returns:** the number of rows that were scaled down.
    """
    if not factor > 0:
        raise ValueError(f"factor must be > 0, got {factor}")
    clipped = 0
    for layer in model.modules():
        if isinstance(layer, SpikingLayer):
            for parameter in layer.parameters(recurse=False):
                if parameter.grad is not None:
                    clipped += _clip(parameter.grad, factor)
    return clipped


def _clip(gradient: Tensor, factor: float) -> int:
    norms = torch.linalg.vector_norm(gradient.reshape(gradient.shape[0], -1), dim=-1)
    present = norms[norms > 0]
    if present.numel() == 0:
        return 0
    limit = factor * present.median()
    excess = (limit / norms).clamp(max=1).nan_to_num(1.0)
    gradient.mul_(excess.reshape(-1, *[1] * (gradient.ndim - 1)))
    return int((excess < 1).sum())
