"""Weights chosen from a batch of real inputs, layer by layer, such that a network can learn."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...jax_core import Events
from ..functional._loss_checks import check_number
from ..layers._li import LI
from ..layers._model_layer import ModelLayer
from ..layers._neuron_layer import NeuronLayer
from ..layers._recurrent_lif import RecurrentLIF
from ..layers._recurrent_model import RecurrentModelLayer

# Between these scales, the larger one times the number of input spikes, the right one is searched:
# below the first no neuron spikes, at the second each input spike alone makes one.
_LEAST, _MOST = 0.5, 4.0
# In such factors, and then in so many halvings of the last one, to one part in a thousand.
_STEP, _HALVINGS = 1.5, 9
# Mean and standard deviation, relative to each other, of what arrives at read-outs by a maximum.
_MEAN_OF_MAXIMA = 2.0


@torch.no_grad()
def initialise_(
    model: nn.Module,
    inputs: Any,
    *,
    active: float = 0.95,
    margin: float = 3.0,
    time: float | None = None,
    rate: float | None = None,
    spread: float = 1 / 6,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """Draw the weights of all spiking layers such that real inputs make neurons spike.

    A neuron that is silent for a sample does not learn from it, one that spikes only at the very
    top of its voltage has gradients without bound, and the drive of a neuron depends on data: on
    how many inputs spike, how often, and over how many time constants. So the model is run once
    on ``inputs``, and each layer's weights are drawn as its input arrives:

        w = s (1 + spread a xi) / m        xi ~ N(0, 1)

    with the mean number of spikes ``m`` per sample that arrive at the layer, and ``a`` the root of
    the number of inputs that they come from. Of `LIF` and
    `RecurrentLIF` the scale ``s`` is ``margin`` times the smallest with which the share ``active``
    of neurons spikes; or, if ``time`` or ``rate`` are given, the smallest with which these hold,
    too. Of `LI`, ``s`` makes the standard deviation of all read-outs 1, with the mean weight 0
    unless the ``readout`` is a maximum. Recurrent weights are drawn as in
    `RecurrentLIF.reset_parameters`; delays, constants and parameters of other modules stay as they
    are, while batch normalisation in training mode takes note of the inputs, as in any forward.

    **Arguments:**

    - ``model``: a module with spiking layers in it, or such a layer.
    - ``inputs``: what the model is called with, for some hundred samples; a tuple for several
      arguments.
    - ``active``: wanted share of the pairs (sample, neuron) with a spike, in (0, 1]. Samples
      without any input spike do not count.
    - ``margin``: by what factor most neurons are driven beyond their thresholds, >= 1. The larger
      it is, the fewer fall silent in training and the earlier they spike.
    - ``time``: the median of the first spikes is no later than this, seconds.
    - ``rate``: at least so many spikes per sample and neuron, for layers with ``max_spikes > 1``.
    - ``spread``: standard deviation of the summed weights of a neuron, as a fraction of their
      mean. The larger it is, the more neurons differ.
    - ``generator``: of the random numbers; ``None`` for torch's global one.

    **Returns:** the model.

    **Raises:** ``ValueError`` for settings out of range, for a layer that is never called or gets
    no input spikes, and where no weights satisfy what is wanted.
    """
    wanted = _Wanted(active, margin, time, rate, spread)
    wanted.check()
    layers = {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, NeuronLayer | ModelLayer | LI)
    }
    if not layers:
        raise ValueError("model has no spiking layers (LIF, RecurrentLIF, LI) to initialise")
    left = dict(layers)

    def before(name: str, layer: NeuronLayer | ModelLayer | LI, arguments: tuple[Any, ...]) -> None:
        if left.pop(name, None) is not None:
            _draw(layer, arguments[0], name or type(layer).__name__, wanted, generator)

    handles = [
        layer.register_forward_pre_hook(partial(before, name)) for name, layer in layers.items()
    ]
    try:
        several = isinstance(inputs, tuple) and not isinstance(inputs, Events)
        model(*inputs) if several else model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    if left:
        raise ValueError(
            f"the model did not call {', '.join(left)} for these inputs; initialise a model "
            f"before it is put on a backend, and with inputs that reach all of its layers"
        )
    return model


class _Wanted(NamedTuple):
    active: float
    margin: float
    time: float | None
    rate: float | None
    spread: float

    def check(self) -> None:
        if not 0 < self.active <= 1:
            raise ValueError(f"active must lie in (0, 1], got {self.active}")
        for name in ("margin", "time", "rate", "spread"):
            value = getattr(self, name)
            if value is not None:
                check_number(value, name, positive=True)
        if self.margin < 1:
            raise ValueError(f"margin must be >= 1, got {self.margin}")


class _Input(NamedTuple):
    """What arrives at a layer."""

    spikes: float
    """Mean number per sample, of the samples with any."""
    averaging: float
    """By how much the sum over all spikes varies less, relative to its mean, than one weight: the
    root of the number of inputs, where all spike alike."""
    samples: Tensor
    """Which samples have any, flat, bool; of a convolution: which positions of them."""


def _draw(
    layer: NeuronLayer | ModelLayer | LI,
    spikes: Tensor | Events,
    name: str,
    wanted: _Wanted,
    generator: torch.Generator | None,
) -> None:
    if nn.utils.parametrize.is_parametrized(layer, "weight"):
        raise ValueError(
            f"{name} has a parametrised weight, such as a convolution's, whose elements cannot be "
            f"drawn one by one; initialise its parameters instead"
        )
    arriving = _arriving(layer, spikes, name)
    weight = layer.weight
    noise = torch.randn(weight.shape, generator=generator, dtype=weight.dtype, device=weight.device)
    if isinstance(layer, LI):
        _draw_readout(layer, spikes, noise, arriving, name)
        return
    unit = layer.per_weight(layer.weight_scale(arriving.spikes).to(weight))
    pattern = unit * (1 + wanted.spread * arriving.averaging * noise)
    if isinstance(layer, RecurrentLIF | RecurrentModelLayer):
        layer.reset_recurrent_weight(generator)
    _scale_until(layer, spikes, pattern, arriving, name, wanted)


def _arriving(layer: NeuronLayer | ModelLayer | LI, spikes: Tensor | Events, name: str) -> _Input:
    counts = layer.counts_of_inputs(spikes)
    total = counts.sum(dim=-1)
    samples = total > 0
    if not bool(samples.any()):
        raise ValueError(
            f"{name} gets no input spikes before its t_max, so that no weights make it spike; pass "
            f"inputs that do, in seconds"
        )
    averaging = total[samples] / counts[samples].square().sum(dim=-1).sqrt()
    return _Input(total[samples].mean().item(), averaging.mean().item(), samples)


def _draw_readout(
    layer: LI, spikes: Tensor | Events, noise: Tensor, arriving: _Input, name: str
) -> None:
    unit = layer.weight_scale(arriving.spikes).to(noise).reshape(-1, 1)
    # Only a voltage that rises has a maximum with a gradient.
    mean = _MEAN_OF_MAXIMA if layer.readout == "max" else 0.0
    layer.weight.copy_(unit * (mean + arriving.averaging * noise))
    spread = layer(spikes).std().item()
    if not 0 < spread < math.inf:
        raise ValueError(
            f"{name} has read-outs with a standard deviation of {spread}, which no factor makes 1; "
            f"pass a batch of different samples"
        )
    layer.weight.div_(spread)


def _scale_until(
    layer: NeuronLayer | ModelLayer,
    spikes: Tensor | Events,
    pattern: Tensor,
    arriving: _Input,
    name: str,
    wanted: _Wanted,
) -> None:
    """Set the weights to a multiple of the pattern with which all that is wanted holds."""
    latest = math.inf if wanted.time is None else wanted.time
    rate = 0.0 if wanted.rate is None else wanted.rate

    def found(scale: float) -> tuple[float, float, float]:
        layer.weight.copy_(pattern * scale)
        return _activity(layer, spikes, arriving.samples)

    def holds(scale: float) -> bool:
        active, median, count = found(scale)
        return active >= wanted.active and median <= latest and count >= rate

    # Upwards, as a recurrent layer that is driven too hard has no room and ends its samples.
    high, most = _LEAST, _MOST * max(arriving.spikes, 1)
    while not holds(high):
        high *= _STEP
        if high > most:
            active, median, count = found(most)
            raise ValueError(
                f"no weights make {name} spike as wanted: even strong ones give {active:.1%} "
                f"active pairs, a median time of {median:g} s and {count:.2g} spikes per sample "
                f"and neuron, against active={wanted.active:g}, time={latest:g}, rate={rate:g}; "
                f"ask for less, or for a smaller spread, a larger max_spikes or t_max"
            )
    low = high / _STEP
    for _ in range(_HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if holds(middle) else (middle, high)
    margin = wanted.margin if wanted.time is None and wanted.rate is None else 1.0
    layer.weight.copy_(pattern * high * margin)


def _activity(
    layer: NeuronLayer | ModelLayer, spikes: Tensor | Events, samples: Tensor
) -> tuple[float, float, float]:
    """Share of active pairs, median of the first spikes, and spikes per pair."""
    policy, layer.on_overflow = layer.on_overflow, "truncate"
    try:
        out = layer(spikes)
    finally:
        layer.on_overflow = policy
    out = layer.by_neuron(out)[samples]
    first = out[..., 0]
    return (
        first.isfinite().double().mean().item(),
        # Not the mean of two for an even number, one of which may be infinite.
        first.flatten().median().item(),
        out.isfinite().double().sum().item() / first.numel(),
    )
