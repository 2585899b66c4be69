"""Experiments on a backend: one run for all spiking layers, gradients of the model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....jax_core import hardware
from ... import functional
from ...backend._run import check_backend
from ...backend._scaling import WeightFit, warn_of_clipping, weight_fit
from ...backend._straight_through import straight_through
from .._experiment import Experiment
from ..modules.types._projection import Projection
from ._call import Call, Clock
from ._events import joined
from ._hardware_plan import Stage, runs_of
from ._raster import check_room

_FIRST_ROOM = 8
_VOLTAGES = ("v_threshold", "v_leak", "v_reset")
_RANGE = (-2.0, 3.0)
"""Voltages that the chip can have where a threshold is 1."""
_STEP = 0.01
"""What it can tell apart there."""
_default: hardware.Backend | None = None
_last: hardware.Backend | None = None
"""What was chosen last, which stays after a release."""


def init_hardware(backend: hardware.Backend | None = None) -> None:
    """Choose the backend of all experiments with ``mock=False`` that were not given their own.

    Without an argument, what was chosen last, also after `release_hardware`.
    """
    global _default, _last
    if backend is not None:
        check_backend(backend, None)
        _last = backend
    if _last is None:
        raise ValueError(
            "there is no hardware yet: init_hardware(backend), for example with "
            "snn.hardware.MockBSS2(), or Experiment(mock=True) to simulate"
        )
    _default = _last


def release_hardware() -> None:
    """Have no backend until `init_hardware` is called again."""
    global _default
    _default = None


def run_on_hardware(experiment: Experiment, calls: Sequence[Call], clock: Clock) -> None:
    """Run the spiking populations of ``calls`` on the backend, and fill all handles.

    Spikes are observed; membranes and currents are those of the model, given these spikes.
    """
    backend = _default if experiment.backend is None else experiment.backend
    if backend is None:
        raise ValueError(
            "Experiment(mock=False) needs a backend: Experiment(backend=...) or "
            "init_hardware(backend)"
        )
    check_backend(backend, None)
    first = {id(run[0].neurons): run for run in runs_of(calls)}
    observed: dict[int, tuple[Tensor, Mapping[str, int], WeightFit | None]] = {}
    for call in calls:
        output = call.outputs[0]
        if id(call) in first:
            observed |= _observe(backend, first[id(call)], clock)
        if id(call) in observed:
            _fill_observed(call, *observed[id(call)], clock)
            continue
        call.module.fill_events(call.inputs, output, clock)
        if isinstance(call.module, Projection):
            times, weight = output.events
            output.events = (times, _used_weight(call.module, weight, backend))


def _observe(
    backend: hardware.Backend, run: Sequence[Stage], clock: Clock
) -> dict[int, tuple[Tensor, Mapping[str, int], WeightFit | None]]:
    """Spikes, lost events and weights of the populations of a run, by the ids of their calls."""
    neurons = [stage.neurons.module for stage in run]
    sent, _ = joined(neurons[0].title, run[0].neurons.inputs)
    while True:
        for module in neurons:
            module._room = max(module._room, _FIRST_ROOM)
            check_room(module._room)
        network = hardware.Network(tuple(_layer(stage, backend, sent) for stage in run))
        seen = backend.run(network, sent.detach().cpu().numpy(), clock.duration)
        hardware.check_observation(seen, network, len(sent), clock.duration, name=backend.name)
        full = [] if seen.overflow is None else [each.any() for each in seen.overflow]
        if not any(full):
            break
        for module, has_overflow in zip(neurons, full, strict=True):
            module._room *= 2 if has_overflow else 1
    return {
        id(stage.neurons): (
            torch.as_tensor(spikes, dtype=sent.dtype, device=sent.device),
            {} if k else seen.lost,
            _weight_fit(stage, backend),
        )
        for k, (stage, spikes) in enumerate(zip(run, seen.spikes, strict=True))
    }


def _weight_fit(stage: Stage, backend: hardware.Backend) -> WeightFit | None:
    """What becomes of the weights of a population's synapses; many that are clipped warn."""
    if backend.weight_limit is None:
        return None
    neurons = stage.neurons.module
    scaling = hardware.Scaling(_shared_scale(stage))
    used = [call.module.used_weight().detach().cpu().double() for call in stage.synapses]
    fit = weight_fit(torch.cat(used, dim=1).numpy(), scaling, backend.weight_limit)
    what = f"{', '.join(call.module.title for call in stage.synapses)} on {backend.name}"
    remedy = "give its transform a smaller scale"
    warn_of_clipping(fit, neurons.health(), what, scaling, backend.weight_limit, remedy)
    return fit


def _fill_observed(
    call: Call,
    observed: Tensor,
    lost: Mapping[str, int],
    fit: WeightFit | None,
    clock: Clock,
) -> None:
    module = call.module
    times, weight = module.joined_events(call.inputs)
    constants = module.event_constants(times)
    out, health = functional.lif_observed(
        times, weight, observed, **constants, t_max=clock.duration, return_health=True
    )
    module.remember(len(out), health, {what: n for what, n in lost.items() if n}, fit)
    module.fill_from_spikes(call.inputs, call.outputs[0], out, clock)


def _scale(synapse: Projection) -> float:
    """Hardware weight per model weight, as the synapse's transform has it for small weights."""
    small = torch.tensor(1e-3, dtype=torch.float64)
    scale = float(synapse.weight_transform(small)) / 1e-3
    if not scale > 0:
        raise ValueError(f"{synapse.title}: its transform must grow with the weight")
    return scale


def _shared_scale(stage: Stage) -> float:
    """The scale of all synapses of a population, whose weights have one unit on the chip."""
    scales = [_scale(call.module) for call in stage.synapses]
    if max(scales) > (1 + 1e-6) * min(scales):
        raise ValueError(
            f"{stage.neurons.module.title}: on hardware, the transforms of its synapses must have "
            f"the same scale, got {', '.join(f'{scale:g}' for scale in scales)}"
        )
    return scales[0]


def _hardware_weight(synapse: Projection, backend: hardware.Backend) -> np.ndarray:
    transformed = synapse.weight_transform(synapse.used_weight().detach().double())
    limit = backend.weight_limit
    if limit is not None:
        transformed = transformed.clamp(-limit, limit).round()
    return transformed.cpu().numpy()


def _used_weight(synapse: Projection, weight: Tensor, backend: hardware.Backend) -> Tensor:
    """The hardware's weights in units of the model, straight-through."""
    whole = torch.as_tensor(_hardware_weight(synapse, backend) / _scale(synapse))
    return straight_through(weight, whole.to(weight))


def _layer(stage: Stage, backend: hardware.Backend, like: Tensor) -> hardware.Layer:
    neurons = stage.neurons.module
    neurons.check_parameters()
    values: dict[str, Any] = {
        name: np.broadcast_to(
            np.asarray(x.detach().cpu() if isinstance(x, Tensor) else x), (neurons.size,)
        ).astype(np.float64)
        for name, x in neurons.event_constants(like).items()
    }
    # A weight is a current there, with a voltage of 1 / conductance; so, voltages become currents.
    conductance = neurons.conductance().detach().cpu().numpy().astype(np.float64)
    voltages = np.stack([values[name] * conductance for name in _VOLTAGES])
    # A reset at threshold is just below it in the model, and a step of the chip below it there.
    room = 2e-6 * np.where(voltages[0] == 0, 1, np.abs(voltages[0]))
    is_at_threshold = voltages[0] - voltages[2] <= room
    voltages, span = _in_range(voltages)
    voltages[2] = np.where(is_at_threshold, voltages[0] - _STEP, voltages[2])
    values |= dict(zip(_VOLTAGES, voltages, strict=True))
    weights = [_hardware_weight(call.module, backend) for call in stage.synapses]
    return hardware.Layer(
        np.concatenate(weights, axis=1),
        **values,
        max_spikes=neurons._room,
        weight_unit=1 / (_shared_scale(stage) * span),
    )


def _in_range(voltages: np.ndarray) -> tuple[np.ndarray, float]:
    """Voltages as they are, or from 0 to 1 if they are not of the size of a threshold of 1.

    hxtorch's defaults are in units of the chip's converter, 80 to 125.

    **Returns:** them, and what is now 1.
    """
    low, high = _RANGE
    if voltages.min() >= low and voltages.max() <= high:
        return voltages, 1.0
    span = float(np.ptp(voltages))
    return (voltages - voltages.min()) / span, span
