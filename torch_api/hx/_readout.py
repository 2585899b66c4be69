"""Populations that do not spike."""

from typing import Any

from ._call import Clock
from ._events import constant, current_trace, integrator_trace
from ._experiment import Experiment
from ._handles import Handle, LIObservables, SynapseHandle
from ._parameters import ModuleParameterType, capacitance
from ._population import Population


class LI(Population):
    """Leaky integrators, for reading out; arguments as in `LIF`."""

    output_type = LIObservables

    def __init__(
        self,
        size: int,
        experiment: Experiment,
        leak: ModuleParameterType = 80,
        tau_mem: ModuleParameterType = 10e-6,
        tau_syn: ModuleParameterType = 10e-6,
        i_synin_gm: ModuleParameterType = 500,
        membrane_capacitance: ModuleParameterType | None = None,
        synapse_dac_bias: ModuleParameterType = 600,
        execution_instance: Any = None,
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
        parameters = {
            "leak": leak,
            "tau_mem": tau_mem,
            "tau_syn": tau_syn,
            "i_synin_gm": i_synin_gm,
            "membrane_capacitance": capacitance(membrane_capacitance),
            "synapse_dac_bias": synapse_dac_bias,
        }
        options = {
            "execution_instance": execution_instance,
            "enable_cadc_recording": enable_cadc_recording,
            "enable_cadc_recording_placement_in_dram": enable_cadc_recording_placement_in_dram,
            "enable_madc_recording": enable_madc_recording,
            "record_neuron_id": record_neuron_id,
            "placement_constraint": placement_constraint,
            "trace_offset": trace_offset,
            "trace_scale": trace_scale,
            "cadc_time_shift": cadc_time_shift,
            "shift_cadc_to_first": shift_cadc_to_first,
            "interpolation_mode": interpolation_mode,
            "neuron_structure": neuron_structure,
            **extra_params,
        }
        super().__init__(size, experiment, parameters, options)

    def forward_func(self, *input: SynapseHandle, hw_data: Any = None) -> LIObservables:
        found = self.grid(input, reset=self.model("leak"), threshold=float("inf"), fire=False)
        return LIObservables(current=found.current, membrane_cadc=found.membrane)

    def fill_events(self, inputs: tuple, output: Handle, clock: Clock) -> None:
        """Voltages and currents at the time steps, exact and differentiable, when they are read."""
        times, weight = self.joined_events(inputs)
        constants = {
            "tau_mem": constant(self.model("tau_mem"), times),
            "tau_syn": constant(self.model("tau_syn"), times),
            "v_leak": constant(self.model("leak"), times),
        }
        output.fill(
            membrane_cadc=lambda: integrator_trace(times, weight, constants, clock),
            current=lambda: current_trace(times, weight, constants["tau_syn"], clock),
        )


ReadoutNeuron = LI
