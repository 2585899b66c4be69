"""What all populations of neurons have in common."""

import numbers
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...._validate import values_are_checked
from ....layers._checkpoint import RecordsNumbers
from ....layers._health import SpikingLayer
from ... import functional as F
from ..._experiment import Experiment
from ..._handle import Handle, SynapseHandle
from ..._parameter import HXBaseParameter, HXParameter
from .._hx_module import HXModule

_OPTIONS = (
    "execution_instance",
    "chip_coordinate",
    "enable_spike_recording",
    "enable_cadc_recording",
    "enable_cadc_recording_placement_in_dram",
    "enable_madc_recording",
    "cadc_readout_source",
    "madc_readout_source",
    "record_neuron_id",
    "placement_constraint",
    "trace_offset",
    "trace_scale",
    "cadc_time_shift",
    "shift_cadc_to_first",
    "interpolation_mode",
    "neuron_structure",
    "clock_scale_adaptation_pulse",
)

_INERT = ("i_synin_gm", "synapse_dac_bias", "holdoff_time", "leak_adaptation")
"""Parameters on which nothing here depends."""


class Population(HXModule, SpikingLayer, RecordsNumbers):
    """Base of populations: parameters, recorded options, and the model on a time grid.

    Checkpoints know the model values of parameters that are not learned.
    """

    input_type: ClassVar[type[Handle]] = SynapseHandle
    has_neurons = True
    leak: HXBaseParameter
    tau_mem: HXBaseParameter
    tau_syn: HXBaseParameter
    membrane_capacitance: HXBaseParameter

    def __init__(
        self,
        size: int,
        experiment: Experiment,
        parameters: dict[str, Any],
        options: dict[str, Any],
    ) -> None:
        if isinstance(size, bool) or not isinstance(size, numbers.Integral) or size < 1:
            raise ValueError(f"{type(self).__name__}: size must be an integer >= 1, got {size!r}")
        self.size = int(size)
        super().__init__(
            experiment, options.pop("execution_instance"), options.pop("chip_coordinate", None)
        )
        extra = {name: value for name, value in options.items() if name not in _OPTIONS}
        for name, value in extra.items():
            if not isinstance(value, HXBaseParameter):
                raise TypeError(
                    f"{self.title} has no argument {name!r}; parameters of your own are parameter "
                    f"objects, such as HXParameter({value!r})"
                )
        self._parameter_names = (*parameters, *extra)
        for name, value in {**parameters, **extra}.items():
            setattr(self, name, value if isinstance(value, HXBaseParameter) else HXParameter(value))
        self.options: dict[str, Any] = {"enable_madc_recording": False, "record_neuron_id": None}
        self.options |= {name: value for name, value in options.items() if name in _OPTIONS}
        """Options of recording and placement, as given; they have no effect in simulation."""
        self.mask: Tensor | None = None
        """Which neurons send spikes, bool ``(size,)``; ``None``: all."""
        self.spike_room = 0
        """Room for spikes per neuron that the last run needed."""

    @property
    def title(self) -> str:
        return f"{type(self).__name__}({self.size})"

    def extra_repr(self) -> str:
        return f"{self.size}"

    def params_dict(self) -> dict[str, HXBaseParameter]:
        """All parameters by name, also those that act on hardware only."""
        return {name: getattr(self, name) for name in self._parameter_names}

    def numbers(self) -> dict[str, Any]:
        return {
            name: parameter.model_value
            for name, parameter in self.params_dict().items()
            if name not in _INERT and not parameter.is_trainable()
        }

    def has_trainable_params(self) -> bool:
        """Whether any parameter is learned."""
        parameters = (m for m in self.children() if isinstance(m, HXBaseParameter))
        return any(parameter.is_trainable() for parameter in parameters)

    def model(self, name: str) -> Any:
        """The model value of a parameter."""
        return getattr(self, name).model_value

    def is_recorded(self) -> bool:
        """Whether the chip's fast converter records a neuron of it; in simulation, none is."""
        return not self.experiment.mock and bool(self.options["enable_madc_recording"])

    def seconds(self, name: str) -> Any:
        """A time constant."""
        return self.model(name)

    def check_parameters(self) -> None:
        """Check the shapes and values of parameters, by name."""
        for name in ("tau_mem", "tau_syn", "membrane_capacitance"):
            self.check_parameter(name, "> 0", lambda value: value > 0)
        self.check_parameter("leak", "finite", torch.isfinite)

    def check_parameter(self, name: str, rule: str, good: Callable[[Tensor], Tensor]) -> None:
        """Check one parameter: a number or one per neuron, each of them ``good``."""
        value = torch.as_tensor(self.model(name)).detach()
        if value.numel() != 1 and value.shape != (self.size,):
            raise ValueError(
                f"{self.title}: {name} must be a number or have shape ({self.size},), got shape "
                f"{tuple(value.shape)}"
            )
        if values_are_checked() and not bool(good(value).all()):
            raise ValueError(f"{self.title}: {name} must be {rule}, got {self.model(name)}")

    def conductance(self) -> Tensor:
        """The leak conductance ``c / tau_mem``, a number or one per neuron."""
        # Numbers in double precision, whatever torch's default is.
        capacitance, tau_mem = (
            value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
            for value in (self.model("membrane_capacitance"), self.model("tau_mem"))
        )
        return capacitance / tau_mem

    def in_voltage(self, weight: Tensor) -> Tensor:
        """Weights ``(size, in)`` of synapses, divided by the leak conductance through which their
        current drives the membrane."""
        conductance = self.conductance()
        if conductance.ndim:
            conductance = conductance[:, None]
        elif not conductance.requires_grad and abs(float(conductance) - 1) < 1e-6:
            return weight
        return weight / conductance.to(weight)

    def grid(self, inputs: tuple[SynapseHandle, ...], **terms: Any) -> F.Integrated:
        """The neurons by explicit Euler, as `functional.cuba_aelif_integration`."""
        self.check_parameters()
        graded = [handle.graded_spikes for handle in inputs]
        for each in graded:
            if each is None:
                raise ValueError(f"{self.title}: its input handle has no graded_spikes")
            if each.ndim == 4:
                raise ValueError(
                    f"{self.title}: its input comes from an EventPropSynapse, whose grid EventProp "
                    f"only EventPropLIF has; use a Synapse, or EventPropLIF"
                )
            if each.shape[-1] != self.size:
                raise ValueError(
                    f"{self.title}: its synapse ends on {each.shape[-1]} neurons, not {self.size}"
                )
        capacitance = self.model("membrane_capacitance")
        return F.cuba_aelif_integration(
            graded,
            leak=self.model("leak"),
            tau_syn=self.model("tau_syn"),
            c_mem=capacitance,
            g_l=capacitance / self.model("tau_mem"),
            dt=self.experiment.dt,
            **terms,
        )
