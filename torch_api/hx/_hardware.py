"""Experiments on a backend: one run for all spiking layers, gradients of the model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...jax_core import hardware
from .. import functional
from .._backend import check_backend
from .._scaling import WeightFit, warn_of_clipping, weight_fit
from .._straight_through import straight_through
from ._call import Call, Clock
from ._events import constant
from ._handles import Handle
from ._modules import InputNeuron
from ._neuron import AELIF
from ._raster import check_room
from ._readout import LI
from ._synapse import Projection

_FIRST_ROOM = 8
_default: hardware.Backend | None = None


def init_hardware(backend: hardware.Backend | None = None) -> None:
    """Choose the backend of all experiments with ``mock=False`` that were not given their own.

    Without an argument, what was chosen before stays.
    """
    global _default
    if backend is not None:
        check_backend(backend, None)
        _default = backend
    if _default is None:
        raise ValueError(
            "there is no hardware yet: init_hardware(backend), for example with "
            "snn.hardware.MockBSS2(), or Experiment(mock=True) to simulate"
        )


def release_hardware() -> None:
    """Forget the backend."""
    global _default
    _default = None


def run_on_hardware(backend: hardware.Backend | None, calls: Sequence[Call], clock: Clock) -> None:
    """Run the spiking layers of ``calls`` on the backend, and fill all handles.

    Spikes are observed; membranes and currents are those of the model, given these spikes.
    """
    if backend is None:
        backend = _default
    if backend is None:
        raise ValueError(
            "Experiment(mock=False) needs a backend: Experiment(backend=...) or "
            "init_hardware(backend)"
        )
    check_backend(backend, None)
    spiking = _chain(calls)
    if spiking:
        while not _observe(backend, calls, spiking, clock):
            pass
        return
    for call in calls:
        call.module.fill_events(call.inputs, call.outputs[0], clock)


def _chain(calls: Sequence[Call]) -> list[tuple[Call, Call]]:
    """The (synapse, neurons) pairs of the spiking layers, first to last."""
    spiking = []
    source: Handle | None = None
    by_output = {id(call.outputs[0]): call for call in calls}
    for call in calls:
        module = call.module
        if not isinstance(module, InputNeuron | Projection | AELIF | LI):
            raise ValueError(f"{module.title} cannot run on hardware; set mock=True")
        if isinstance(module, AELIF | LI) and module.options.get("enable_madc_recording"):
            raise ValueError(f"{module.title}: enable_madc_recording is not supported on hardware")
        if not isinstance(module, AELIF):
            continue
        module.check_terms()
        synapse = by_output.get(id(call.inputs[0]))
        if len(call.inputs) != 1 or synapse is None:
            raise ValueError(f"{module.title} needs exactly one synapse on hardware")
        if source is not None and synapse.inputs[0] is not source:
            raise ValueError(
                f"{module.title}: on hardware each spiking layer must follow the one before"
            )
        source = call.outputs[0]
        spiking.append((synapse, call))
    return spiking


def _observe(
    backend: hardware.Backend,
    calls: Sequence[Call],
    spiking: Sequence[tuple[Call, Call]],
    clock: Clock,
) -> bool:
    """One run; **returns** whether all spikes had room, which is doubled where they had not."""
    first = spiking[0][0]
    sent = first.inputs[0].times(clock.dt, first.module.title)
    for _, call in spiking:
        call.module._room = max(call.module._room, _FIRST_ROOM)
        check_room(call.module._room)
    network = hardware.Network(
        tuple(_layer(synapse.module, call.module, backend, sent) for synapse, call in spiking)
    )
    seen = backend.run(network, sent.detach().cpu().numpy(), clock.duration)
    hardware.check_observation(seen, network, len(sent), clock.duration, name=backend.name)
    complete = True
    for k, (_, call) in enumerate(spiking):
        if seen.overflow is not None and seen.overflow[k].any():
            call.module._room *= 2
            complete = False
    if not complete:
        return False
    layers = {id(call.module): k for k, (_, call) in enumerate(spiking)}
    for call in calls:
        k = layers.get(id(call.module))
        if isinstance(call.module, Projection):
            call.module.fill_events(call.inputs, call.outputs[0], clock)
            times, weight = call.outputs[0].events
            used = _used_weight(call.module, weight, backend)
            call.outputs[0].events = (times, used)
        elif k is None:
            call.module.fill_events(call.inputs, call.outputs[0], clock)
        else:
            observed = torch.as_tensor(seen.spikes[k], dtype=sent.dtype, device=sent.device)
            fit = _weight_fit(spiking[k][0].module, call.module, backend)
            _fill_observed(call, observed, clock, seen.lost if k == 0 else {}, fit)
    return True


def _weight_fit(synapse: Projection, neurons: Any, backend: hardware.Backend) -> WeightFit | None:
    """What becomes of the weights of a synapse to ``neurons``; many that are clipped warn."""
    if backend.weight_limit is None:
        return None
    scaling = hardware.Scaling(_scale(synapse))
    weight = synapse.used_weight().detach().cpu().double().numpy()
    fit = weight_fit(weight, scaling, backend.weight_limit)
    what = f"{synapse.title} on {backend.name}"
    remedy = "give its transform a smaller scale"
    warn_of_clipping(fit, neurons.health(), what, scaling, backend.weight_limit, remedy)
    return fit


def _fill_observed(
    call: Call,
    observed: Tensor,
    clock: Clock,
    lost: Mapping[str, int],
    fit: WeightFit | None,
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


def _layer(
    synapse: Projection, neurons: Any, backend: hardware.Backend, like: Tensor
) -> hardware.Layer:
    constants = neurons.event_constants(like)
    values: dict[str, Any] = {
        name: np.broadcast_to(
            np.asarray(constant(x, like) if not isinstance(x, Tensor) else x.detach().cpu()),
            (neurons.size,),
        ).astype(np.float64)
        for name, x in constants.items()
    }
    return hardware.Layer(
        _hardware_weight(synapse, backend),
        **values,
        max_spikes=neurons._room,
        weight_unit=1 / _scale(synapse),
    )
