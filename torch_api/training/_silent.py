"""A gradient for silent neurons: the peaks of their voltages, raised towards the threshold."""

from typing import Any

import torch
from torch import Tensor, nn

from ...jax_core import Events
from .. import functional
from ..layers._constants import Constant
from ..layers._health import Call
from ..layers._input_counts import input_counts
from ..layers._li import LI
from ..layers._model_layer import ModelLayer
from ..layers._neuron_layer import LI_CONSTANTS, DensePart, NeuronLayer

_FEWEST = 32


def silent_loss(model: nn.Module, *, max_silent: float = 0.1) -> Tensor:
    """How far neurons that are silent too often stay below their thresholds: a term for losses.

    A spike has an exact gradient, and so has the peak of the voltage of a neuron without one, as
    long as it rises at all. For each pair (sample, neuron) without a spike, of the neurons that
    are silent in more than ``max_silent`` of the samples,

        d = (v_threshold - max_t V(t)) / (v_threshold - v_leak)

    and where the voltage never rises, which makes its peak that of the beginning, without a
    gradient, ``d = 1 + q`` with the summed weights of the pair's input spikes ``-q``, in units of
    the weight with which one spike reaches the threshold. Of an `LI` read out by its maximum,
    pairs that never rise count likewise, with ``d = q``. The term is the mean of ``d`` over all
    pairs of a layer, 0 for pairs that spike, times the root of its number of neurons, summed over
    the layers. Its gradient is exact, for weights, input times, delays and constants; the unit of
    ``q`` counts as a constant.

    The root is there because of what the term has to hold against: one of ``n`` neurons whose
    contributions to a read-out add up by chance has the share ``1 / sqrt(n)`` in it, and in a
    loss's gradient, but only ``1 / n`` in a mean. So a mean is the weaker the larger a layer is.

    Call it after a forward in training mode, and add it to the loss; where that is a cross-entropy,
    with the factor 1:

        loss = criterion(model(spikes), target) + snn.silent_loss(model)

    It costs an `LI` read-out, forward and backward, of the neurons that are silent too often.
    `rescue_silent_`, which raises all weights of such neurons by hand, costs nothing and has no
    gradient.

    **Arguments:**

    - ``model``: a module with spiking layers in it, or such a layer.
    - ``max_silent``: fraction of the samples in which a neuron may be silent, in [0, 1).

    **Returns:** a scalar, 0 if no neuron is silent too often. Of a convolution, positions count as
    samples of its channels, which are its neurons.

    Of a recurrent layer whose sample has ended for want of room (``on_overflow``), neurons may be
    silent that would have spiked later: peaks above the threshold count 0.

    A LIF neuron with ``v_leak >= v_threshold`` spikes without input, so it adds nothing. In layers
    of other models, ``v_leak`` above stands for the voltage at time 0, which is ``v_reset`` of such
    neurons; they need a finite ``t_max``, and go through all of their events once more. Of a layer
    that is used several times in one forward, the last use counts. On hardware, the neurons are
    those that were seen to be silent, and the voltages those of the model.

    **Raises:** ``ValueError`` for layers whose neurons have no such peaks, `QIF` and those of
    `neuron`; and if a layer had no forward in training mode, with gradients enabled and outside of
    `torch.compile` and `torch.func`.
    """
    if not 0 <= max_silent < 1:
        raise ValueError(f"max_silent must lie in [0, 1), got {max_silent}")
    layers = {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, NeuronLayer | ModelLayer)
        or (isinstance(layer, LI) and layer.has_health)
    }
    if not layers:
        raise ValueError("model has no layers that can be silent (LIF, RecurrentLIF, LI's maximum)")
    for name, layer in layers.items():
        if isinstance(layer, ModelLayer):
            layer.check_peaks(f"silent_loss (layer {name!r})" if name else "silent_loss")
    terms = [_term(layer, name, max_silent) for name, layer in layers.items()]
    # Layers may lie on different devices.
    return torch.stack([term.to(terms[0]) for term in terms]).sum()


def _term(layer: NeuronLayer | ModelLayer | LI, name: str, max_silent: float) -> Tensor:
    call = layer.last_call
    if call is None:
        raise ValueError(
            f"{name or type(layer).__name__} had no forward in training mode with gradients "
            f"enabled; call silent_loss(model) after model(inputs), and model.train() before that, "
            f"where neither torch.compile nor torch.func is at work"
        )
    return layer.out_features**0.5 * _mean(layer, call, max_silent)


def _mean(layer: NeuronLayer | ModelLayer | LI, call: Call, max_silent: float) -> Tensor:
    if isinstance(layer, LI):
        return _mean_of_readout(layer, call, max_silent)
    if isinstance(layer, ModelLayer):
        return _mean_of_model(layer, call, max_silent)
    parts = [_mean_of_part(layer, part, max_silent) for part in layer.dense_parts(*call)]
    return torch.stack(parts).mean()


def _too_silent(silent: Tensor, max_silent: float) -> Tensor:
    """Indices of the neurons that are silent too often; ``silent``: ``(..., neurons)``, bool."""
    share = silent.reshape(-1, silent.shape[-1]).double().mean(dim=0)
    return (share > max_silent).nonzero().squeeze(-1)


def _mean_of_readout(layer: LI, call: Call, max_silent: float) -> Tensor:
    silent = call.output.detach() == layer.v_leak
    neurons = _too_silent(silent, max_silent)
    if neurons.numel() == 0:
        return call.output.new_zeros(())
    unit = _unit(layer, neurons)
    deficit = -_drive(call.arriving, layer.weight[neurons], layer.t_max) / unit
    return torch.where(silent[..., neurons], deficit, 0).sum() / silent.numel()


def _mean_of_model(layer: ModelLayer, call: Call, max_silent: float) -> Tensor:
    axis = layer.neuron_axis
    silent = call.output.detach()[..., 0].isinf().movedim(axis, -1)
    neurons = _too_silent(silent, max_silent)
    if neurons.numel() == 0:
        return call.output.new_zeros(())
    peak = layer.peaks(*call)
    height, drive = (x.movedim(axis, -1)[..., neurons] for x in (peak.height, peak.drive))
    deficit = 1 - torch.where(height > 0, height.clamp(max=1), drive / _unit(layer, neurons))
    return torch.where(silent[..., neurons], deficit, 0).sum() / silent.numel()


def _mean_of_part(layer: NeuronLayer, part: DensePart, max_silent: float) -> Tensor:
    silent = part.output.detach()[..., 0].isinf()
    neurons = _too_silent(silent, max_silent)
    if neurons.numel() == 0:
        return part.output.new_zeros(())
    deficit = _below_threshold(layer, part, neurons)
    return torch.where(silent[..., neurons], deficit, 0).sum() / silent.numel()


def _below_threshold(layer: NeuronLayer, part: DensePart, neurons: Tensor) -> Tensor:
    # Powers of two, as each size is compiled.
    room = min(max(1 << (neurons.numel() - 1).bit_length(), _FEWEST), len(part.weight))
    rows = torch.cat([neurons, neurons[:1].expand(max(room - neurons.numel(), 0))])
    spikes, weight = part.arriving, part.weight[rows]
    of_layer, rows = part.first + neurons, part.first + rows
    constants: dict[str, Any] = {
        key: _of(value, rows) for key, value in layer.constants().items() if key in LI_CONSTANTS
    }
    peak = functional.li(spikes, weight, **constants, readout="max", t_max=layer.t_max)
    peak, weight = peak[..., : neurons.numel()], weight[: neurons.numel()]
    leak, threshold = (
        torch.as_tensor(_of(x, of_layer), dtype=weight.dtype, device=weight.device)
        for x in (layer.v_leak, layer.v_threshold)
    )
    rests = leak < threshold
    rising = (threshold - peak).clamp(min=0) / torch.where(rests, threshold - leak, 1)
    falling = 1 - _drive(spikes, weight, layer.t_max) / _unit(layer, of_layer)
    return torch.where(rests, torch.where(peak > leak, rising, falling), 0)


def _of(constant: Constant, neurons: Tensor) -> Constant:
    return constant[neurons] if isinstance(constant, Tensor) else constant


def _unit(layer: NeuronLayer | ModelLayer | LI, neurons: Tensor) -> Tensor:
    unit = layer.weight_scale(1).to(layer.weight)
    return unit[neurons] if unit.ndim else unit


def _drive(spikes: Tensor | Events, weight: Tensor, t_max: float) -> Tensor:
    """The summed weights of the input spikes of each neuron, ``(..., out)``."""
    return input_counts(spikes, weight.shape[1], t_max, weight.dtype) @ weight.T
