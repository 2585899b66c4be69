"""Populations that spike."""

from typing import Any

import torch
from torch import Tensor

from ..._experiment import Experiment
from ..._handle import AELIFObservables, LIFObservables, SynapseHandle
from ..._parameter import HXBaseParameter, ModuleParameterType, capacitance
from ...engines._call import Call
from ...engines._constants import constant
from ...engines._engine import Engine
from ...engines._grid_form import grid_form
from ..types._population import Population

_TERMS = (
    *("leaky", "fire", "exponential", "subthreshold_adaptation", "spike_triggered_adaptation"),
    "refractory",
)


class AELIF(Population):
    """Neurons up to adaptive exponential integrate-and-fire, each term switched by a flag.

    The event engine covers ``exponential=False`` with leak, adapting or not; the others need
    ``Experiment(engine="euler")``: with the exponential term the membrane has no closed form.
    Hardware has neurons without adaptation. ``refractory=False``: no refractory time, whatever
    ``refractory_time`` is.
    """

    output_type = LIFObservables
    reset: HXBaseParameter
    threshold: HXBaseParameter
    refractory_time: HXBaseParameter

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
        holdoff_time: ModuleParameterType = 0.0,
        method: str = "superspike",
        alpha: float = 50.0,
        exponential_slope: ModuleParameterType = 50e-3,
        exponential_threshold: ModuleParameterType = 110,
        subthreshold_adaptation_strength: ModuleParameterType = 1,
        spike_triggered_adaptation_increment: ModuleParameterType = 1,
        clock_scale_adaptation_pulse: Any = (5, 5),
        tau_adap: ModuleParameterType = 100e-6,
        leak_adaptation: ModuleParameterType | None = None,
        execution_instance: Any = None,
        chip_coordinate: Any = None,
        *,
        leaky: bool = True,
        fire: bool = True,
        exponential: bool = True,
        subthreshold_adaptation: bool = True,
        spike_triggered_adaptation: bool = True,
        refractory: bool = True,
        **options: Any,
    ) -> None:
        parameters = {
            "leak": leak,
            "reset": reset,
            "threshold": threshold,
            "tau_mem": tau_mem,
            "tau_syn": tau_syn,
            "i_synin_gm": i_synin_gm,
            "membrane_capacitance": capacitance(membrane_capacitance),
            "refractory_time": refractory_time,
            "synapse_dac_bias": synapse_dac_bias,
            "holdoff_time": holdoff_time,
            "exponential_slope": exponential_slope,
            "exponential_threshold": exponential_threshold,
            "subthreshold_adaptation_strength": subthreshold_adaptation_strength,
            "spike_triggered_adaptation_increment": spike_triggered_adaptation_increment,
            "tau_adap": tau_adap,
            "leak_adaptation": leak if leak_adaptation is None else leak_adaptation,
        }
        placement = {
            "execution_instance": execution_instance,
            "chip_coordinate": chip_coordinate,
            "clock_scale_adaptation_pulse": clock_scale_adaptation_pulse,
        }
        super().__init__(size, experiment, parameters, {**options, **placement})
        if method != "superspike":
            raise ValueError(f"{self.title}: method must be 'superspike', got {method!r}")
        self.method, self.alpha = method, alpha
        self.leaky, self.fire, self.exponential = leaky, fire, exponential
        self.subthreshold_adaptation = subthreshold_adaptation
        self.spike_triggered_adaptation = spike_triggered_adaptation
        self.refractory = refractory
        if self.adapts:
            self.output_type = AELIFObservables
            self.renew_output()

    def check_parameters(self) -> None:
        super().check_parameters()
        if not self.fire:
            return
        self.check_parameter("refractory_time", ">= 0", lambda value: value >= 0)
        self.check_parameter("threshold", "finite", torch.isfinite)
        threshold = torch.as_tensor(self.model("threshold")).detach()
        if self.experiment.mock:
            rule, room = "finite and below threshold", torch.lt
        else:
            # A chip can be set so; it spikes again as soon as it may.
            rule, room = "finite and not above threshold", torch.le
        self.check_parameter("reset", rule, lambda value: value.isfinite() & room(value, threshold))

    @grid_form
    def forward_func(self, *input: SynapseHandle, hw_data: Any = None) -> LIFObservables:
        found = self.grid(
            input,
            hw_data=hw_data,
            reset=self.model("reset"),
            threshold=self.model("threshold"),
            refractory_time=self.pause(),
            method=self.method,
            alpha=self.alpha,
            exp_slope=self.model("exponential_slope"),
            exp_threshold=self.model("exponential_threshold"),
            subthreshold_adaptation_strength=self.model("subthreshold_adaptation_strength"),
            spike_triggered_adaptation_increment=self.model("spike_triggered_adaptation_increment"),
            tau_adap=self.model("tau_adap"),
            leaky=self.leaky,
            fire=self.fire,
            exponential=self.exponential,
            subthreshold_adaptation=self.subthreshold_adaptation,
            spike_triggered_adaptation=self.spike_triggered_adaptation,
        )
        madc = None if hw_data is None else hw_data.voltage.madc
        spikes = found.spikes if self.mask is None else found.spikes * self.mask
        filled: dict[str, Any] = {
            "current": found.current,
            "membrane_cadc": found.membrane,
            "spikes": spikes,
        }
        filled["membrane_madc"] = madc
        if self.output_type is AELIFObservables:
            return AELIFObservables(adaptation_cadc=found.adaptation, **filled)
        return LIFObservables(**filled)

    def execute(self, call: Call, engine: Engine) -> None:
        engine.spike(call)

    @property
    def adapts(self) -> bool:
        """Whether there is an adaptation current."""
        return self.subthreshold_adaptation or self.spike_triggered_adaptation

    def check_terms(self, *, may_adapt: bool = True) -> None:
        """Refuse terms that continuous time, or hardware here, does not have."""
        terms = ("subthreshold_adaptation", "spike_triggered_adaptation")
        extra = [name for name in terms if getattr(self, name) and not may_adapt]
        extra = [*(["exponential"] if self.exponential else []), *extra]
        if extra or not (self.leaky and self.fire):
            where = "event engine" if may_adapt else "event engine, on hardware without adaptation,"
            raise ValueError(
                f"{self.title}: the {where} has leaky integrate-and-fire neurons; for "
                f"{', '.join(extra) or 'leaky=False or fire=False'} use Experiment(engine='euler')"
            )
        if self.adapts:
            self.check_parameter("tau_adap", "> 0", lambda value: value > 0)
        if self.subthreshold_adaptation:
            least = -self.conductance().detach()
            self.check_parameter(
                "subthreshold_adaptation_strength",
                "> -membrane_capacitance / tau_mem in the event engine, as otherwise there is no "
                "stable rest",
                lambda value: value > least,
            )

    def event_constants(self, like: Tensor) -> dict[str, Any]:
        """The constants of `evtorch.torch_api.functional.lif`."""
        values = {
            "tau_mem": self.seconds("tau_mem"),
            "tau_syn": self.seconds("tau_syn"),
            "v_threshold": self.model("threshold"),
            "v_leak": self.model("leak"),
            "v_reset": self.model("reset"),
            "refractory": self.pause(),
        }
        constants = {name: constant(value, like) for name, value in values.items()}
        if not self.experiment.mock:
            constants["v_reset"] = _below(constants["v_reset"], constants["v_threshold"])
        return constants

    def adaptation(self, like: Tensor) -> dict[str, Any]:
        """The further constants of `jax_core.AdaptiveLIF`, whose ``w`` is this current divided by
        the leak conductance."""
        strength = self.model("subthreshold_adaptation_strength")
        increment = self.model("spike_triggered_adaptation_increment")
        conductance = self.conductance()
        values = {
            "tau_w": self.model("tau_adap"),
            "a": strength / conductance if self.subthreshold_adaptation else 0.0,
            "b": increment / conductance if self.spike_triggered_adaptation else 0.0,
        }
        return {name: constant(value, like) for name, value in values.items()}

    def numbers(self) -> dict[str, Any]:
        return super().numbers() | {name: getattr(self, name) for name in _TERMS}

    def pause(self) -> Any:
        """The refractory time, seconds."""
        return self.model("refractory_time") if self.refractory else 0.0


def _below(reset: Any, threshold: Any) -> Any:
    """A reset just below the threshold where it is equal, as only from below there are spikes."""
    both = torch.as_tensor(reset), torch.as_tensor(threshold)
    below = torch.where(both[1] == 0, -1e-6, both[1] - 1e-6 * both[1].abs())
    found = torch.where(both[0] == both[1], below, both[0])
    return found if isinstance(reset, Tensor) or isinstance(threshold, Tensor) else float(found)
