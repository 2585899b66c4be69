"""A stand-in for ``pynn_brainscales.brainscales2`` that keeps the rules its interface documents.

Neurons are those of the exact simulation; a weight of 1 makes a current of ``GAIN``.
"""

from types import SimpleNamespace

import numpy as np

from evtorch import jax_core

GAIN = 0.05
MAX_SPIKES = 20  # of a neuron in a run
ZERO, UNIT = 80.0, 45.0  # of voltages, in units of the calibration
FPGA_CYCLES_PER_US = 125.0
NIGHTLY = SimpleNamespace(
    tau_m=12.0, tau_syn_E=6.0, tau_refrac=2.0, v_rest=80.0, v_reset=58.0, v_thresh=125.0
)

calls: list[str] = []
_state = SimpleNamespace(populations=[], projections=[], running=False, config=None)


def setup(**settings):
    unknown = set(settings) - {"initial_config"}
    assert not unknown, unknown
    calls.append("setup")
    _state.populations, _state.projections, _state.running = [], [], False
    _state.config = settings.get("initial_config")


def end():
    calls.append("end")


def run(runtime):
    """Milliseconds of hardware time."""
    if _state.running:
        raise RuntimeError("Call `pynn.reset()` before calling `pynn.run()` again.")
    calls.append("run")
    _state.running = True
    for population in _state.populations:
        population.spikes = population.evolve(runtime)


def reset():
    for population in _state.populations:
        if population.recorded:
            population.segments.append(population.segment())
    _state.running = False


class Population:
    def __init__(self, size, cell):
        self.size, self.cell, self.recorded = size, cell, False
        self.spikes, self.segments = [np.empty(0)] * size, []
        for value in vars(cell).values():
            assert np.shape(value) in ((), (size,)) or isinstance(cell, SpikeSourceArray)
        _state.populations.append(self)

    def record(self, variables):
        assert variables == ["spikes"]
        self.recorded = True

    def set(self, spike_times):
        self.cell.spike_times = [spike_times] if self.size == 1 else spike_times
        assert len(self.cell.spike_times) == self.size

    def get_data(self, clear):
        found = SimpleNamespace(segments=list(self.segments))
        if clear:
            self.segments.clear()
        return found

    def segment(self):
        trains = [Train(times, k) for k, times in enumerate(self.spikes) if len(times)]
        return SimpleNamespace(spiketrains=trains[::-1])

    def evolve(self, runtime):
        if isinstance(self.cell, SpikeSourceArray):
            cycles = [np.trunc(1000 * FPGA_CYCLES_PER_US * t) for t in self.cell.spike_times]
            return [own / FPGA_CYCLES_PER_US / 1000 for own in cycles]
        assert len([p for p in _state.projections if p.post is self]) == 2
        (before,) = {id(p.pre): p.pre for p in _state.projections if p.post is self}.values()
        weight = np.sum([p.weight for p in _state.projections if p.post is self], axis=0)
        arriving = np.full((before.size, MAX_SPIKES), np.inf)
        for row, times in zip(arriving, before.spikes, strict=True):
            row[: len(times)] = times
        cell = NIGHTLY if isinstance(self.cell, HXNeuron) else self.cell
        given = {name: np.broadcast_to(x, self.size) for name, x in vars(cell).items()}
        volts = {name: (given[name] - ZERO) / UNIT for name in ("v_rest", "v_reset", "v_thresh")}
        spikes = jax_core.lif(
            1e-3 * arriving,
            GAIN * weight.T.astype(float),
            tau_mem=1e-6 * given["tau_m"],
            tau_syn=1e-6 * given["tau_syn_E"],
            refractory=1e-6 * given["tau_refrac"],
            v_leak=volts["v_rest"],
            v_reset=volts["v_reset"],
            v_threshold=volts["v_thresh"],
            max_spikes=MAX_SPIKES,
            t_max=1e-3 * runtime,
        )
        return [1e3 * row[np.isfinite(row)] for row in np.asarray(spikes)]


class Train:
    """What is used of neo's class."""

    def __init__(self, milliseconds, neuron):
        self.magnitude, self.annotations = milliseconds, {"source_index": neuron}

    def rescale(self, unit):
        assert unit == "ms"
        return self


class Projection:
    def __init__(self, pre, post, connector, *, synapse_type, receptor_type):
        assert isinstance(connector, AllToAllConnector)
        self.pre, self.post, self.receptor_type = pre, post, receptor_type
        self.weight = np.zeros((pre.size, post.size))
        self.set(np.full((pre.size, post.size), synapse_type.weight))
        _state.projections.append(self)

    def set(self, weight):
        assert weight.shape == self.weight.shape
        assert weight.dtype.kind == "i"
        assert np.abs(weight).max() <= 63
        sign = {"excitatory": 1, "inhibitory": -1}[self.receptor_type]
        if (sign * weight < 0).any():
            raise ValueError("Weights must be positive for excitatory and negative for inhibitory")
        self.weight = weight


class AllToAllConnector:
    pass


class SpikeSourceArray:
    def __init__(self, spike_times):
        self.spike_times = spike_times


class CalibHXNeuronCuba:
    def __init__(self, *, v_rest, v_reset, v_thresh, tau_m, tau_syn_E, tau_syn_I, tau_refrac, **cm):
        assert set(cm) <= {"cm"}
        np.testing.assert_array_equal(tau_syn_E, tau_syn_I)
        self.v_rest, self.v_reset, self.v_thresh = v_rest, v_reset, v_thresh
        self.tau_m, self.tau_syn_E, self.tau_refrac = tau_m, tau_syn_E, tau_refrac


class HXNeuron:
    def __init__(self, **parameters):
        self.__dict__.update(parameters)


cells = SimpleNamespace(
    SpikeSourceArray=SpikeSourceArray, CalibHXNeuronCuba=CalibHXNeuronCuba, HXNeuron=HXNeuron
)
standardmodels = SimpleNamespace(
    synapses=SimpleNamespace(StaticSynapse=lambda weight: SimpleNamespace(weight=weight))
)
helper = SimpleNamespace(
    chip_from_nightly=lambda: "nightly", chip_from_file=lambda path: f"file {path}"
)
