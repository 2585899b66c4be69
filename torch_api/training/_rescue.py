"""A remedy for silent neurons, which have no gradient that could make them spike."""

import torch
from torch import nn

from ..layers._li import LI
from ..layers._model_layer import ModelLayer
from ..layers._neuron_layer import NeuronLayer


@torch.no_grad()
def rescue_silent_(
    model: nn.Module,
    *,
    max_silent: float = 0.9,
    bump: float | None = None,
    max_doublings: int = 10,
    first_layer_only: bool = True,
) -> int:
    """Raise the incoming weights of neurons that were silent too often in the last forward.

    All incoming weights of such a neuron grow by ``bump``, and by twice as much each time when it
    has to be repeated in successive calls. Call it after the optimiser's step, in training only.

    **Arguments:**

    - ``model``: a module with spiking layers or `LI` layers in it, or such a layer. Of an
      `LI` read out by its maximum, neurons are raised whose voltage did not rise.
    - ``max_silent``: fraction of the samples, of the last forward, in which a neuron may be silent.
      1 rescues no neuron; 0 those silent in any sample.
    - ``bump``: the first addition, in the unit of the weights; ``None`` for 5 % of the layer's
      `LIF.critical_weight`.
    - ``max_doublings``: no addition is larger than ``bump * 2**max_doublings``.
    - ``first_layer_only``: stop after the first layer in which any weight was raised, as its new
      spikes may suffice for the next layers.

    **Returns:** the number of neurons whose weights were raised.

    **References:** Göltz et al. 2021, Methods, doi:10.1038/s42256-021-00388-x.
    """
    if not 0 <= max_silent <= 1:
        raise ValueError(f"max_silent must lie in [0, 1], got {max_silent}")
    if bump is not None and not bump > 0:
        raise ValueError(f"bump must be > 0 or None, got {bump}")
    rescued = 0
    for layer in model.modules():
        if isinstance(layer, NeuronLayer | ModelLayer | LI):
            rescued += _rescue(layer, max_silent, bump, max_doublings)
            if rescued and first_layer_only:
                break
    return rescued


def _rescue(
    layer: NeuronLayer | ModelLayer | LI, max_silent: float, bump: float | None, max_doublings: int
) -> int:
    health = layer.health()
    if health is None or health.samples == 0:
        return 0
    if nn.utils.parametrize.is_parametrized(layer, "weight"):
        raise ValueError(
            "rescue_silent_ raises the weights of single neurons, but a layer has a parametrised "
            "weight, such as a convolution's; raise its parameters instead"
        )
    needy = health.counts.silent > max_silent * health.samples
    repeats = layer.rescues
    if repeats is None or repeats.device != needy.device:
        repeats = torch.zeros_like(health.counts.silent)
    first = layer.critical_weight() * 0.05 if bump is None else torch.tensor(bump)
    step = first.to(layer.weight) * 2.0 ** repeats.clamp(max=max_doublings)
    raised = torch.where(needy, step, 0).to(layer.weight.dtype)
    layer.weight.add_(layer.per_weight(raised))
    layer.rescues = torch.where(needy, repeats + 1, 0)
    return int(needy.sum())
