"""Leaky integrate-and-fire neurons."""

from typing import Any

from ... import functional as F
from ..._experiment import Experiment
from ..._handle import LIFObservables, SynapseHandle
from ..._parameter import ModuleParameterType
from ...engines._grid_form import grid_form
from ._aelif import AELIF


class LIF(AELIF):
    """Leaky integrate-and-fire neurons.

    **Arguments:** parameters are numbers, tensors ``(size,)``, or parameter objects with separate
    values for model and hardware. ``method``, ``alpha``: the surrogate derivative of the Euler
    engine. Recording options, placement and what only concerns the chip are kept in ``options``.
    """

    def __init__(
        self,
        size: int,
        experiment: Experiment,
        leak: ModuleParameterType = 80,
        reset: ModuleParameterType = 80,
        threshold: ModuleParameterType = 125,
        tau_mem: ModuleParameterType = 10e-6,
        tau_syn: ModuleParameterType = 10e-6,
        i_synin_gm: ModuleParameterType = 500,
        membrane_capacitance: ModuleParameterType | None = None,
        refractory_time: ModuleParameterType = 1e-6,
        synapse_dac_bias: ModuleParameterType = 600,
        holdoff_time: ModuleParameterType = 0e-6,
        method: str = "superspike",
        alpha: float = 50.0,
        execution_instance: Any = None,
        enable_spike_recording: bool = True,
        enable_cadc_recording: bool = True,
        enable_cadc_recording_placement_in_dram: bool = False,
        enable_madc_recording: bool = False,
        record_neuron_id: int | None = None,
        placement_constraint: Any = None,
        trace_offset: Any = 0.0,
        trace_scale: Any = 1.0,
        cadc_time_shift: int = 0,
        shift_cadc_to_first: bool = False,
        interpolation_mode: str = "linear",
        neuron_structure: Any = None,
        **extra_params: Any,
    ) -> None:
        super().__init__(
            size,
            experiment,
            leak,
            reset,
            threshold,
            tau_mem,
            tau_syn,
            i_synin_gm,
            membrane_capacitance,
            refractory_time,
            synapse_dac_bias,
            holdoff_time,
            method,
            alpha,
            execution_instance=execution_instance,
            exponential=False,
            subthreshold_adaptation=False,
            spike_triggered_adaptation=False,
            enable_spike_recording=enable_spike_recording,
            enable_cadc_recording=enable_cadc_recording,
            enable_cadc_recording_placement_in_dram=enable_cadc_recording_placement_in_dram,
            enable_madc_recording=enable_madc_recording,
            record_neuron_id=record_neuron_id,
            placement_constraint=placement_constraint,
            trace_offset=trace_offset,
            trace_scale=trace_scale,
            cadc_time_shift=cadc_time_shift,
            shift_cadc_to_first=shift_cadc_to_first,
            interpolation_mode=interpolation_mode,
            neuron_structure=neuron_structure,
            **extra_params,
        )


class EventPropLIF(LIF):
    """`LIF` whose Euler engine has EventProp on the time grid for its gradient.

    As there, that engine then knows no refractory period, and only one synapse. The event engine
    is that of `LIF`, which is exact.
    """

    @grid_form
    def forward_func(self, *input: SynapseHandle, hw_data: Any = None) -> LIFObservables:
        self.check_parameters()
        if len(input) != 1 or input[0].graded_spikes.ndim != 4:
            raise ValueError(f"{self.title} needs one input, from an EventPropSynapse")
        spikes, membrane, current = F.EventPropLIFFunction.apply(  # pyright: ignore[reportGeneralTypeIssues]
            input[0].graded_spikes,
            *(self.model(name) for name in ("leak", "reset", "threshold", "tau_syn", "tau_mem")),
            hw_data,
            self.experiment.dt,
        )
        return LIFObservables(spikes=spikes, membrane_cadc=membrane, current=current)


Neuron = LIF
