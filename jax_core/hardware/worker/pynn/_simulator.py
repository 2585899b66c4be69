"""Networks on PyNN simulators: backends for workers.

``evtorch_worker.pynn:brian2``, ``evtorch_worker.pynn:nest`` and ``evtorch_worker.pynn:simulator``.

Imported in the worker's environment, which has PyNN and the simulator but not evtorch.
``IF_curr_exp`` with ``cm = tau_m`` is the contract's neuron: milliseconds, millivolts for the
model's voltages, nanoamperes for its currents.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from .._contract import HardwareLimitError, Layer, Network, Observation, check_input
from ._timeline import Timeline, on_clock, plan

# The exact solution of the equations divides by tau_m - tau_syn, for which NEST has a limit.
_SMALLEST_TAU_DIFFERENCE = 1e-4
_NEVER = 1e9
# Milliseconds. Spike sources of pyNN.brian2 keep to this clock even where `setup` sets another.
_TIMESTEP = 0.1


class PyNNSimulator:
    """A backend that builds the network in PyNN anew for each batch, and runs it once."""

    weight_limit = None

    def __init__(self, simulator: str, milliseconds: float):
        self.name = f"pyNN.{simulator}"
        self._simulator = importlib.import_module(self.name)
        self._milliseconds = milliseconds

    def run(
        self,
        network: Network,
        spikes: np.ndarray,
        duration: float,
        *,
        voltage_times: np.ndarray | None = None,
    ) -> Observation:
        """See ``evtorch.jax_core.hardware.Backend``."""
        check_input(network, spikes, duration, voltage_times=voltage_times)
        step = _TIMESTEP / self._milliseconds
        timeline = plan(network, len(spikes), duration, lead=10 * step)
        sources, lost = [], 0
        for times in timeline.join(spikes):
            at, dropped = self._input_times(times)
            sources.append(at)
            lost += dropped
        with_voltages = voltage_times is not None
        populations = self._build(network, sources, duration, with_voltages)
        try:
            # NEST runs for whole steps only.
            self._simulator.run(np.ceil(timeline.length / step) * _TIMESTEP)
            recordings = [population.get_data().segments[0] for population in populations]
        finally:
            self._simulator.end()
        return self._observe(network, timeline, recordings, voltage_times, lost)

    def _build(
        self, network: Network, sources: list[np.ndarray], duration: float, with_voltages: bool
    ) -> list[Any]:
        sim = self._simulator
        sim.setup(timestep=_TIMESTEP, min_delay=_TIMESTEP)
        sequence = importlib.import_module("pyNN.parameters").Sequence
        # A list of one would be taken for a single value, so a silent source follows.
        spike_times = [sequence(times) for times in (*sources, [])]
        before = sim.Population(len(spike_times), sim.SpikeSourceArray(spike_times=spike_times))
        populations = []
        for k, layer in enumerate(network.layers):
            population = sim.Population(layer.neurons, self._cell(k, layer, duration))
            population.initialize(v=layer.v_leak)
            for receptor, synapses in synapse_lists(layer, _TIMESTEP).items():
                connector = sim.FromListConnector(synapses, column_names=["weight", "delay"])
                if synapses:
                    sim.Projection(before, population, connector, receptor_type=receptor)
            population.record(["spikes", "v"] if with_voltages else ["spikes"])
            populations.append(population)
            before = population
        return populations

    def _input_times(self, times: np.ndarray) -> tuple[np.ndarray, int]:
        """Milliseconds at which an input spikes, and how many of its spikes are lost."""
        steps, lost = on_clock(times, _TIMESTEP / self._milliseconds)
        return steps * _TIMESTEP, lost

    def _cell(self, k: int, layer: Layer, duration: float) -> Any:
        """The neurons of layer ``k``, as the simulator takes them."""
        parameters = cell_parameters(layer, self._milliseconds, duration)
        return self._simulator.IF_curr_exp(**parameters)

    def _observe(
        self,
        network: Network,
        timeline: Timeline,
        recordings: list[Any],
        voltage_times: np.ndarray | None,
        lost: int,
    ) -> Observation:
        spikes, overflow, voltages = [], [], []
        for k, (layer, recording) in enumerate(zip(network.layers, recordings, strict=True)):
            late = (k + 1) * _TIMESTEP / self._milliseconds  # one delay per projection
            times = recorded_times(recording.spiketrains, layer.neurons, self._milliseconds)
            cut, over = timeline.cut(times, layer.max_spikes, late)
            spikes.append(cut)
            overflow.append(over)
            if voltage_times is not None:
                trace = recording.filter(name="v")[0]
                when = timeline.starts[:, None] + late + voltage_times
                clock = trace.times.rescale("ms").magnitude / self._milliseconds
                values = [np.interp(when, clock, v) for v in trace.magnitude.T]
                voltages.append(np.stack(values, axis=1))
        return Observation(
            spikes=tuple(spikes),
            voltages=None if voltage_times is None else tuple(voltages),
            lost={"input clock": lost},
            overflow=tuple(overflow) if any(over.any() for over in overflow) else None,
        )


class Brian2(PyNNSimulator):
    """Corrects what is particular to ``pyNN.brian2``."""

    def __init__(self, milliseconds: float, target: str):
        importlib.import_module("brian2").prefs.codegen.target = target
        super().__init__("brian2", milliseconds)

    def _cell(self, k: int, layer: Layer, duration: float) -> Any:
        parameters = cell_parameters(layer, self._milliseconds, duration)
        periods = parameters["tau_refrac"]
        if np.ptp(periods) > 0:
            raise HardwareLimitError(
                f"pyNN.brian2 takes one refractory period per layer, but layer {k} has"
                f" {layer.refractory.min():g} to {layer.refractory.max():g} s"
            )
        # A period of n steps holds the neuron for n - 1 steps after its spike.
        parameters["tau_refrac"] = periods + _TIMESTEP
        return self._simulator.IF_curr_exp(**parameters)


class Nest(PyNNSimulator):
    """Makes use of ``pyNN.nest``'s spikes being off the clock, which is PyNN's default there."""

    def __init__(self, milliseconds: float):
        super().__init__("nest", milliseconds)

    def _input_times(self, times: np.ndarray) -> tuple[np.ndarray, int]:
        return times * self._milliseconds, 0

    def _cell(self, k: int, layer: Layer, duration: float) -> Any:
        parameters = cell_parameters(layer, self._milliseconds, duration, apart=0.0)
        # NEST counts them in whole steps, and refuses less than one.
        steps = np.maximum(np.round(parameters["tau_refrac"] / _TIMESTEP), 1)
        parameters["tau_refrac"] = steps * _TIMESTEP
        return self._simulator.IF_curr_exp(**parameters)


def simulator(name: str, milliseconds: float = 1e6) -> PyNNSimulator:
    """A backend on the simulator ``pyNN.<name>``.

    ``milliseconds`` of the simulator are one second of hardware time: by default a microsecond
    becomes a millisecond. The simulator's clock of 0.1 ms rounds input and output spikes; more
    milliseconds make it finer, and runs longer.
    """
    return PyNNSimulator(name, milliseconds)


def brian2(milliseconds: float = 1e6, target: str = "numpy") -> PyNNSimulator:
    """A backend on Brian 2, which runs the network with ``target``.

    ``"numpy"`` starts at once; ``"cython"`` compiles for a minute, and is faster in long runs.
    """
    return Brian2(milliseconds, target)


def nest(milliseconds: float = 1e6) -> PyNNSimulator:
    """A backend on NEST, whose spikes are not rounded to the clock, as those of inputs.

    Refractory periods are rounded to it, and last a step at least.
    """
    return Nest(milliseconds)


def cell_parameters(
    layer: Layer, milliseconds: float, duration: float, apart: float = _SMALLEST_TAU_DIFFERENCE
) -> dict[str, np.ndarray]:
    """The parameters of ``IF_curr_exp`` for a layer.

    A refractory period ends with the sample's duration, so that it does not reach into the next.
    Time constants become ``apart`` (relative) where they differ by less.
    """
    tau_m, tau_syn = layer.tau_mem * milliseconds, layer.tau_syn * milliseconds
    equal = np.abs(tau_m - tau_syn) < apart * tau_syn
    tau_m = np.where(equal, tau_syn * (1 + apart), tau_m)
    return {
        "tau_m": tau_m,
        "cm": tau_m,
        "tau_syn_E": tau_syn,
        "tau_syn_I": tau_syn,
        "tau_refrac": np.minimum(layer.refractory, duration) * milliseconds,
        "v_rest": layer.v_leak,
        "v_reset": layer.v_reset,
        "v_thresh": layer.v_threshold if layer.has_threshold else np.full_like(tau_m, _NEVER),
        "i_offset": np.zeros_like(tau_m),
    }


def recorded_times(trains: Any, neurons: int, milliseconds: float) -> list[np.ndarray]:
    """Seconds of hardware time of a recording's spikes, by neuron; silent ones may be missing."""
    times = [np.empty(0)] * neurons
    for train in trains:
        neuron = int(train.annotations["source_index"])
        times[neuron] = train.rescale("ms").magnitude / milliseconds
    return times


def synapse_lists(layer: Layer, delay: float) -> dict[str, list[tuple[int, int, float, float]]]:
    """Synapses ``(pre, post, weight, delay)`` by receptor; inhibitory weights stay negative."""
    current = layer.weight_unit * layer.weight
    return {
        receptor: [
            (int(pre), int(post), float(current[post, pre]), delay)
            for post, pre in np.argwhere(of_sign)
        ]
        for receptor, of_sign in (("excitatory", current > 0), ("inhibitory", current < 0))
    }
