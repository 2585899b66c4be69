"""Experiments on a backend: one run for all spiking layers, gradients of the model."""

from collections.abc import Sequence

import torch

from ....jax_core import hardware
from ...backend._run import Seen, differentiate, observe
from ...backend._weights import WeightFit, as_on_hardware, checked_fit
from ._arriving import arriving, joined
from ._call import Call, Clock
from ._event import EventEngine
from ._hardware_layer import hardware_layer, hardware_weight, scale_of, shared_scale
from ._hardware_plan import Stage, runs_of
from ._room import until_spikes_fit
from ._traces import fill_spiking

_FIRST_ROOM = 8


class HardwareEngine(EventEngine):
    """Spiking populations run on a backend, those of a chain together.

    Spikes are observed; membranes, currents and read-outs are those of the model, given these
    spikes, and so are the gradients.
    """

    def __init__(self, clock: Clock, backend: hardware.Backend) -> None:
        super().__init__(clock)
        self.backend = backend
        self._runs: dict[int, Sequence[Stage]] = {}
        self._observed: dict[int, tuple[Seen, WeightFit | None]] = {}

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
        whole = hardware_weight(call.module, self.backend)
        output.events = (times, as_on_hardware(weight, whole, scale_of(call.module)))

    def spike(self, call: Call) -> None:
        if id(call) in self._runs:
            self._observe(self._runs[id(call)])
        module = call.module
        seen, fit = self._observed[id(call)]
        times, weight = arriving(module, call.inputs)
        settings = {**module.event_constants(times), "t_max": self.clock.duration}
        out, _ = differentiate(module, times, weight, seen, fit, **settings)
        fill_spiking(call, out, self.clock)

    def _observe(self, run: Sequence[Stage]) -> None:
        """Run the populations of a chain, and keep what was seen by the ids of their calls."""
        neurons = [stage.neurons.module for stage in run]
        sent, _ = joined(neurons[0].title, run[0].neurons.inputs)

        def attempt(rooms: Sequence[int]) -> tuple[list[Seen], list[bool]]:
            pairs = zip(run, rooms, strict=True)
            layers = tuple(hardware_layer(stage, self.backend, sent, room) for stage, room in pairs)
            network = hardware.Network(layers)
            seen = observe(self.backend, network, sent, self.clock.duration).layers
            return seen, [each.is_full for each in seen]

        first = [max(module.spike_room, _FIRST_ROOM) for module in neurons]
        seen, rooms = until_spikes_fit(attempt, first)
        for stage, each, room in zip(run, seen, rooms, strict=True):
            stage.neurons.module.spike_room = room
            self._observed[id(stage.neurons)] = (each, _weight_fit(stage, self.backend))


def _weight_fit(stage: Stage, backend: hardware.Backend) -> WeightFit | None:
    """What becomes of the weights of a population's synapses; many that are clipped warn."""
    if backend.weight_limit is None:
        return None
    used = [call.module.used_weight().detach().cpu().double() for call in stage.synapses]
    return checked_fit(
        torch.cat(used, dim=1).numpy(),
        stage.neurons.module.health(),
        f"{', '.join(call.module.title for call in stage.synapses)} on {backend.name}",
        backend,
        hardware.Scaling(shared_scale(stage)),
        remedy="give its transform a smaller scale",
    )
