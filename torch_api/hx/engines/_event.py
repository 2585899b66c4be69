"""Experiments in continuous time: exact spikes and gradients."""

from functools import partial

import torch
from torch import Tensor

from ..modules._hx_module_wrapper import HXModuleWrapper
from ..modules.types._projection import Projection
from ..modules.types._sizes import check_size
from ._arriving import arriving
from ._call import Call
from ._engine import Engine
from ._neurons import simulation
from ._raster import NEVER, SpikeRaster
from ._recurrence import fill_recurrent
from ._room import spikes_with_room
from ._spiking import keep_spikes
from ._traces import fill_integrated


class EventEngine(Engine):
    """Hands spike times on from module to module; dense tensors are computed when they are read.

    A `forward_func` of one's own takes precedence, on dense tensors. That of synapses is taken for
    the weights with which it weighs spikes, if that is what it does.
    """

    def execute(self, call: Call) -> None:
        # Of a wrapper, forward_func is for the grid; of synapses, see `project`.
        has_events = isinstance(call.module, HXModuleWrapper | Projection)
        if has_events or not call.module.has_own_forward():
            super().execute(call)
        else:
            self.compute(call)

    def compute(self, call: Call) -> None:
        for handle in call.inputs:
            if handle.needs_exact_gradient:
                raise ValueError(
                    f"{call.module.title} computes on dense tensors, through which exact gradients "
                    f"do not pass; use Experiment(engine='euler')"
                )
        super().compute(call)

    def hand_on(self, call: Call) -> None:
        source = call.module.only(call.inputs)
        times = source.times(self.clock.dt, call.module.title)
        check_size(call.module, times.shape[1])
        call.outputs[0].fill(times, spikes=lambda: source.spikes)

    def drop(self, call: Call) -> None:
        source = call.module.only(call.inputs)
        times = source.times(self.clock.dt, call.module.title)
        check_size(call.module, times.shape[1])
        mask = call.module.set_mask().to(times.device)
        left = torch.where(mask[:, None], times, NEVER)
        dt = self.clock.dt
        call.outputs[0].fill(
            left, spikes=lambda: SpikeRaster.remembering(source.spikes * mask, left, dt)
        )

    def project(self, call: Call) -> None:
        weight = call.module.event_weight()
        if weight is None:
            self.compute(call)
        else:
            self.hand_on_weighted(call, weight)

    def hand_on_weighted(self, call: Call, weight: Tensor) -> None:
        """Hand on spike times and weights."""
        module, inputs, output = call.module, call.inputs, call.outputs[0]
        times = module.only(inputs).times(self.clock.dt, module.title, weight.dtype)
        module.check_input(times.shape[1])
        module.check_dtype(times)
        output.fill(graded_spikes=lambda: module.func(inputs).graded_spikes)
        output.events = (times, weight)
        output.synapse = module if getattr(module, "lists", None) is not None else None

    def spike(self, call: Call) -> None:
        neurons = call.module
        neurons.check_terms()
        times, weight = arriving(neurons, call.inputs)
        synapse = call.inputs[0].synapse if len(call.inputs) == 1 else None
        given, connections = weight, None
        if synapse is not None:
            given, connections = synapse.of_connections(weight), synapse.lists
        simulate = partial(
            simulation(neurons, times),
            times,
            given,
            connections=connections,
            t_max=self.clock.duration,
            return_health=True,
        )
        out, health, neurons.spike_room = spikes_with_room(simulate, neurons.spike_room)
        keep_spikes(call, out, health, (times, weight), self.clock)

    def integrate(self, call: Call) -> None:
        fill_integrated(call, self.clock)

    def connect(self, call: Call) -> None:
        fill_recurrent(self, call)
