"""Populations that do not spike."""

from typing import Any

from torch import Tensor

from ..._experiment import Experiment
from ..._handle import LIObservables, SynapseHandle
from ..._parameter import ModuleParameterType, capacitance
from ...engines._call import Call
from ...engines._constants import constant
from ...engines._engine import Engine
from ...engines._grid_form import grid_form
from ..types._population import Population

_OF_SPIKES = {"reset": 80, "threshold": 125, "refractory_time": 0.0, "holdoff_time": 0.0}
"""Parameters of spiking neurons, with their defaults."""


class LI(Population):
    """Leaky integrators, for reading out; arguments as in `LIF`.

    Those that only concern spikes (``alpha``, ``method``, and the parameters ``reset``,
    ``threshold``, ``refractory_time``, ``holdoff_time``) are taken by name, so that both can be
    made from the same settings, and have no effect.
    """

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
        alpha, method = extra_params.pop("alpha", 50.0), extra_params.pop("method", "superspike")
        parameters = {
            "leak": leak,
            "tau_mem": tau_mem,
            "tau_syn": tau_syn,
            "i_synin_gm": i_synin_gm,
            "membrane_capacitance": capacitance(membrane_capacitance),
            "synapse_dac_bias": synapse_dac_bias,
            **{name: extra_params.pop(name, value) for name, value in _OF_SPIKES.items()},
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
        self.alpha, self.method = alpha, method

    @grid_form
    def forward_func(self, *input: SynapseHandle, hw_data: Any = None) -> LIObservables:
        found = self.grid(
            input, hw_data=hw_data, reset=self.model("leak"), threshold=float("inf"), fire=False
        )
        madc = None if hw_data is None else hw_data.voltage.madc
        return LIObservables(
            current=found.current, membrane_cadc=found.membrane, membrane_madc=madc
        )

    def execute(self, call: Call, engine: Engine) -> None:
        engine.integrate(call)

    def event_constants(self, like: Tensor) -> dict[str, Any]:
        """The constants of `evtorch.torch_api.functional.li`."""
        return {
            "tau_mem": constant(self.seconds("tau_mem"), like),
            "tau_syn": constant(self.seconds("tau_syn"), like),
            "v_leak": constant(self.model("leak"), like),
        }

    def numbers(self) -> dict[str, Any]:
        return {name: x for name, x in super().numbers().items() if name not in _OF_SPIKES}


ReadoutNeuron = LI
