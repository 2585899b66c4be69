"""The BrainScaleS-2 chip through ``pynn_brainscales``: backends for workers.

``evtorch_worker.pynn.brainscales:calibrated`` and ``...:precalibrated``.

Written against the documented interface of ``pynn_brainscales.brainscales2``; it has not run on a
chip. See docs/workers.md for what to check there. That interface takes milliseconds of hardware
time for spikes and runs, and microseconds for the constants of calibrated cells.
"""

from __future__ import annotations

import atexit
import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..._contract import HardwareLimitError, Layer, Network, Observation, check_input, check_weights
from .._simulator import recorded_times
from .._timeline import Timeline, on_clock, plan
from ._cells import WEIGHT_LIMIT, calibration_targets, check_constants, check_fits, check_synapses

_MILLISECONDS = 1e3  # per second
_CLOCK = 8e-9  # spikes are injected on cycles of 125 MHz
_CONSTANTS = ("tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset", "refractory")

# Parameters of the cells of a layer, from its number, itself and the duration of a sample.
Translate = Callable[[int, Layer, float], Mapping[str, Any]]


class BrainScaleS2:
    """A chip that keeps its network between runs; only weights and input spikes are exchanged.

    The network is built, and where that is asked for calibrated, again when the layers' shapes or
    constants change or the duration does.
    """

    name = "BrainScaleS-2"
    weight_limit = WEIGHT_LIMIT

    def __init__(
        self,
        cell_type: str,
        translate: Translate,
        setup: Callable[[Any], Mapping[str, Any]],
        lead: float,
        latency: float,
    ):
        """``setup``: the arguments of ``pynn.setup``, from the module ``pynn``."""
        if not (lead >= 0 and latency >= 0):
            raise ValueError(f"lead and latency must be >= 0 seconds, got {lead} and {latency}")
        self._pynn = importlib.import_module("pynn_brainscales.brainscales2")
        self._cell_type = cell_type
        self._translate = translate
        self._setup = setup
        self._lead = lead
        self._latency = latency
        self._is_set_up = False
        self._built: _Experiment | None = None
        self._key: tuple[Any, ...] = ()
        atexit.register(self._end)

    def run(
        self,
        network: Network,
        spikes: np.ndarray,
        duration: float,
        *,
        voltage_times: np.ndarray | None = None,
    ) -> Observation:
        """See ``evtorch.jax_core.hardware.Backend``."""
        if voltage_times is not None:
            raise HardwareLimitError("this backend records spikes only: do not ask for voltages")
        check_input(network, spikes, duration)
        check_weights(network, WEIGHT_LIMIT)
        check_fits(network)
        timeline = plan(network, len(spikes), duration, self._lead)
        sources, lost = [], 0
        for times in timeline.join(spikes):
            cycles, dropped = on_clock(times, _CLOCK)
            # The interface rounds down: half a cycle more makes that safe.
            sources.append((cycles + 0.5) * _CLOCK * _MILLISECONDS)
            lost += dropped
        try:
            experiment = self._experiment(network, duration)
            recordings = experiment.run(network, sources, timeline.length * _MILLISECONDS)
        except BaseException:
            self._end()
            raise
        return self._observe(network, timeline, recordings, lost)

    def _experiment(self, network: Network, duration: float) -> _Experiment:
        key = (
            duration,
            *(layer.weight.shape for layer in network.layers),
            *(getattr(layer, name).tobytes() for layer in network.layers for name in _CONSTANTS),
        )
        if self._built is None or key != self._key:
            parameters = [self._translate(k, x, duration) for k, x in enumerate(network.layers)]
            self._end()
            settings = self._setup(self._pynn)
            self._is_set_up = True
            self._pynn.setup(**settings)
            cell = getattr(self._pynn.cells, self._cell_type)
            cells = [cell(**given) for given in parameters]
            self._built, self._key = _Experiment(self._pynn, network, cells), key
        return self._built

    def _end(self) -> None:
        self._built = None
        if self._is_set_up:
            self._is_set_up = False
            self._pynn.end()

    def _observe(
        self, network: Network, timeline: Timeline, recordings: list[Any], lost: int
    ) -> Observation:
        spikes, overflow = [], []
        for layer, recording in zip(network.layers, recordings, strict=True):
            times = recorded_times(recording.spiketrains, layer.neurons, _MILLISECONDS)
            cut, over = timeline.cut(times, layer.max_spikes, self._latency)
            spikes.append(cut)
            overflow.append(over)
        return Observation(
            spikes=tuple(spikes),
            lost={"input clock": lost},
            overflow=tuple(overflow) if any(over.any() for over in overflow) else None,
        )


class _Experiment:
    """A network's populations and projections in ``pynn_brainscales``."""

    def __init__(self, pynn: Any, network: Network, cells: list[Any]):
        self._pynn = pynn
        sources = pynn.cells.SpikeSourceArray(spike_times=[])
        before = self._sources = pynn.Population(network.layers[0].inputs, sources)
        self._populations, self._projections = [], []
        for layer, cell in zip(network.layers, cells, strict=True):
            population = pynn.Population(layer.neurons, cell)
            population.record(["spikes"])
            # A synapse has one sign, so a signed weight takes two.
            projections = {
                receptor: pynn.Projection(
                    before,
                    population,
                    pynn.AllToAllConnector(),
                    synapse_type=pynn.standardmodels.synapses.StaticSynapse(weight=0),
                    receptor_type=receptor,
                )
                for receptor in ("excitatory", "inhibitory")
            }
            self._populations.append(population)
            self._projections.append(projections)
            before = population

    def run(self, network: Network, sources: list[np.ndarray], runtime: float) -> list[Any]:
        """Exchange weights and spikes, run, and **return** what each layer recorded."""
        for layer, projections in zip(network.layers, self._projections, strict=True):
            for receptor, weight in signed_weights(layer).items():
                projections[receptor].set(weight=weight)
        # A list of one would be taken for a single value.
        self._sources.set(spike_times=sources if len(sources) > 1 else sources[0])
        self._pynn.run(runtime)
        self._pynn.reset()
        return [population.get_data(clear=True).segments[-1] for population in self._populations]


def signed_weights(layer: Layer) -> dict[str, np.ndarray]:
    """Whole-numbered weights ``(in, out)`` by receptor; inhibitory ones are negative or 0."""
    weight = layer.weight.T.astype(int)
    return {"excitatory": np.maximum(weight, 0), "inhibitory": np.minimum(weight, 0)}


def calibrated(
    voltage_zero: float = 80.0,
    voltage_unit: float = 45.0,
    synapses: Mapping[str, float] | None = None,
    lead: float = 1e-5,
    latency: float = 0.0,
) -> BrainScaleS2:
    """A chip whose neurons (``CalibHXNeuronCuba``) are calibrated to the layers' constants.

    The calibration takes place in the first run and lasts minutes: the client needs a ``timeout``
    to match.

    **Arguments:**

    - ``voltage_zero``, ``voltage_unit``: the model's 0, and its unit, in units of the calibration,
      in which leak and reset lie in [50, 160] and thresholds in [50, 220].
    - ``synapses``: ``i_synin_gm_E``, ``i_synin_gm_I``, ``synapse_dac_bias`` and ``cm``, on which
      depends how strong a weight of 1 is; those of the cell type by default.
    - ``lead``: time before the first sample, hardware seconds.
    - ``latency``: how late recorded spikes are, hardware seconds; has to be measured.
    """
    shared = dict(synapses or {})
    check_synapses(shared)

    def translate(k: int, layer: Layer, duration: float) -> Mapping[str, Any]:
        return {**calibration_targets(k, layer, duration, voltage_zero, voltage_unit), **shared}

    return BrainScaleS2("CalibHXNeuronCuba", translate, lambda _: {}, lead, latency)


def precalibrated(
    constants: Mapping[str, float],
    calibration: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    lead: float = 1e-5,
    latency: float = 0.0,
) -> BrainScaleS2:
    """A chip whose neurons (``HXNeuron``) have a calibration from before.

    **Arguments:**

    - ``constants``: what it was calibrated for, ``tau_mem``, ``tau_syn``, ``v_threshold``,
      ``v_leak``, ``v_reset`` and ``refractory`` as in `Layer`, hardware seconds; layers with others
      are refused.
    - ``calibration``: file with a portable binary, as calix writes it; the chip's nightly one by
      default.
    - ``parameters``: of ``HXNeuron``, in place of the calibration's.
    - ``lead``, ``latency``: as for `calibrated`.
    """
    if set(constants) != set(_CONSTANTS):
        raise ValueError(f"constants must be {', '.join(_CONSTANTS)}, got {sorted(constants)}")

    def translate(k: int, layer: Layer, duration: float) -> Mapping[str, Any]:
        check_constants(k, layer, duration, constants)
        return parameters or {}

    def setup(pynn: Any) -> Mapping[str, Any]:
        if calibration is None:
            return {"initial_config": pynn.helper.chip_from_nightly()}
        return {"initial_config": pynn.helper.chip_from_file(calibration)}

    return BrainScaleS2("HXNeuron", translate, setup, lead, latency)
