"""Experiments on a backend: one run for all spiking layers, gradients of the model."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ....jax_core import hardware
from ... import functional
from ...backend._scaling import WeightFit, warn_of_clipping, weight_fit
from ...backend._straight_through import straight_through
from ..modules.types._projection import Projection
from ._arriving import arriving, joined
from ._call import Call, Clock
from ._event import EventEngine
from ._hardware_plan import Stage, runs_of
from ._room import until_spikes_fit
from ._traces import fill_spiking

_FIRST_ROOM = 8
_VOLTAGES = ("v_threshold", "v_leak", "v_reset")
_RANGE = (-2.0, 3.0)
"""Voltages that the chip can have where a threshold is 1."""
_STEP = 0.01
"""What it can tell apart there."""


class HardwareEngine(EventEngine):
    """Spiking populations run on a backend, those of a chain together.

    Spikes are observed; membranes, currents and read-outs are those of the model, given these
    spikes, and so are the gradients.
    """

    def __init__(self, clock: Clock, backend: hardware.Backend) -> None:
        super().__init__(clock)
        self.backend = backend
        self._runs: dict[int, Sequence[Stage]] = {}
        self._observed: dict[int, _Observed] = {}

    def run(self, calls: Sequence[Call]) -> None:
        self._runs = {id(run[0].neurons): run for run in runs_of(calls)}
        super().run(calls)

    def execute(self, call: Call) -> None:
        # Also where neurons have a forward_func of their own, which chips do not have.
        call.module.execute(call, self)

    def project(self, call: Call) -> None:
        weight = call.module.event_weight()
        if weight is None:
            raise ValueError(
                f"{call.module.title}: its forward_func is not linear in the spikes, so that "
                f"events do not pass; use Experiment(mock=True, engine='euler')"
            )
        self.hand_on_weighted(call, weight)
        output = call.outputs[0]
        times, weight = output.events
        output.events = (times, _used_weight(call.module, weight, self.backend))

    def spike(self, call: Call) -> None:
        if id(call) in self._runs:
            self._observe(self._runs[id(call)])
        seen = self._observed[id(call)]
        module = call.module
        times, weight = arriving(module, call.inputs)
        out, health = functional.lif_observed(
            times,
            weight,
            seen.spikes,
            **module.event_constants(times),
            t_max=self.clock.duration,
            return_health=True,
        )
        module.remember(len(out), health, {what: n for what, n in seen.lost.items() if n}, seen.fit)
        fill_spiking(call, out, self.clock)

    def _observe(self, run: Sequence[Stage]) -> None:
        """Run the populations of a chain, and keep what was seen by the ids of their calls."""
        backend, duration = self.backend, self.clock.duration
        neurons = [stage.neurons.module for stage in run]
        sent, _ = joined(neurons[0].title, run[0].neurons.inputs)

        def attempt(rooms: Sequence[int]) -> tuple[hardware.Observation, list[bool]]:
            layers = [_layer(s, backend, sent, room) for s, room in zip(run, rooms, strict=True)]
            network = hardware.Network(tuple(layers))
            seen = backend.run(network, sent.detach().cpu().numpy(), duration)
            hardware.check_observation(seen, network, len(sent), duration, name=backend.name)
            full = [False for _ in rooms]
            if seen.overflow is not None:
                full = [bool(each.any()) for each in seen.overflow]
            return seen, full

        first = [max(module.spike_room, _FIRST_ROOM) for module in neurons]
        seen, rooms = until_spikes_fit(attempt, first)
        for k, (stage, spikes, room) in enumerate(zip(run, seen.spikes, rooms, strict=True)):
            stage.neurons.module.spike_room = room
            self._observed[id(stage.neurons)] = _Observed(
                torch.as_tensor(spikes, dtype=sent.dtype, device=sent.device),
                {} if k else seen.lost,
                _weight_fit(stage, backend),
            )


class _Observed(NamedTuple):
    """What a run observed of a population."""

    spikes: Tensor
    lost: Mapping[str, int]
    """Events that were lost in the run, of the first one in it."""
    fit: WeightFit | None


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


def _layer(stage: Stage, backend: hardware.Backend, like: Tensor, room: int) -> hardware.Layer:
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
    gap = 2e-6 * np.where(voltages[0] == 0, 1, np.abs(voltages[0]))
    is_at_threshold = voltages[0] - voltages[2] <= gap
    voltages, span = _in_range(voltages)
    voltages[2] = np.where(is_at_threshold, voltages[0] - _STEP, voltages[2])
    values |= dict(zip(_VOLTAGES, voltages, strict=True))
    weights = [_hardware_weight(call.module, backend) for call in stage.synapses]
    return hardware.Layer(
        np.concatenate(weights, axis=1),
        **values,
        max_spikes=room,
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
