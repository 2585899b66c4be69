"""Layers made of a neuron model of ``jax_core``."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal, TypedDict, overload

import torch
from torch import Tensor, nn

from ...jax_core import Events, Neuron
from ...jax_core.layer._spiking_peak import has_peaks
from .. import functional
from .._validate import check_dtype, check_size
from ..functional._lif import check_settings, spikes_once
from ..functional._spiking import check_neuron
from ..functional._spiking_peak import Peak
from ._connection_list import Connected, connection_list
from ._constants import Constant, constant_numbers, constants_repr, register_constants
from ._delay_parameter import delay_repr, register_delay
from ._delayed_input import DelayedInput
from ._health import Health
from ._initialisation import spiking_weights_
from ._neuron_layer import check_stateful
from ._overflow import OnOverflow, report_overflow
from ._pieces import run_piece
from ._pseudo_spikes import Silent, check_silent, filled, silent_repr
from ._room import Room, room_repr, set_room, with_room


class ModelOptions(TypedDict, total=False):
    """Options of all layers of neuron models; they mean what they mean to `LIF`."""

    max_spikes: Room
    t_max: float
    delay: Literal["axonal", "synaptic"] | float | Tensor | None
    mask: Tensor | None
    connections: Tensor | Sequence[Sequence[int]] | None
    learn: Iterable[str]
    on_overflow: OnOverflow
    min_slope: float
    silent: Silent
    silent_time: float | None
    device: torch.device | str | None
    dtype: torch.dtype | None


DEFAULTS: dict[str, Any] = {
    "max_spikes": 1,
    "t_max": math.inf,
    "delay": None,
    "mask": None,
    "connections": None,
    "learn": (),
    "on_overflow": "error",
    "min_slope": 1e-3,
    "silent": "inf",
    "silent_time": None,
    "device": None,
    "dtype": None,
}


class ModelLayer(DelayedInput):
    """Base of the layers whose neurons are a model of ``jax_core``, fully connected to their input
    or by a list.

    A derived class names its ``model`` and the largest potential after an input; the model's
    constants are attributes of the layer, as those of `LIF`.

    **Arguments:** ``constants``: by name, each a number or a tensor ``(out_features,)``;
    ``options``: those of `ModelOptions`, all optional.
    """

    model: ClassVar[type[Neuron[Any]]]
    infinite: ClassVar[tuple[str, ...]] = Neuron.infinite
    """Names of the constants that may be infinite."""
    v_threshold: Constant
    refractory: Constant
    max_spikes: int
    grows: bool
    # Modules saved as a whole before there was a choice have none of their own.
    silent: Silent = "inf"
    silent_time: float = math.inf

    def __init__(
        self,
        in_features: int,
        out_features: int,
        constants: dict[str, Any],
        options: ModelOptions,
    ) -> None:
        super().__init__()
        unknown = sorted(set(options) - set(DEFAULTS))
        if unknown:
            raise TypeError(
                f"{type(self).__name__} has no option {', '.join(unknown)}; its options are "
                f"{', '.join([*constants, *DEFAULTS])}"
            )
        given = {**DEFAULTS, **options}
        self.constant_names = tuple(constants)
        self.in_features = check_size(in_features, "in_features")
        self.out_features = check_size(out_features, "out_features")
        refractory = constants.get("refractory", 0.0)
        set_room(self, given["max_spikes"], refractory)
        limits = given["t_max"], "eventprop", given["min_slope"], given["on_overflow"]
        check_settings(self.max_spikes, *limits, refractory)
        self.t_max, self.min_slope = float(given["t_max"]), float(given["min_slope"])
        self.on_overflow: OnOverflow = given["on_overflow"]
        place = {"device": given["device"], "dtype": check_dtype(given["dtype"])}
        learn, infinite = given["learn"], self.infinite
        register_constants(self, constants, learn, self.out_features, **place, infinite=infinite)
        check_neuron(self.neuron())
        self._set_silent(given["silent"], given["silent_time"])
        self._connect(given["delay"], given["mask"], given["connections"], place)
        self.reset_parameters()

    def _set_silent(self, silent: Silent, silent_time: float | None) -> None:
        self.silent_time = check_silent(silent, silent_time, self.t_max)
        self.silent = silent
        if silent == "peak":
            self.check_peaks('silent="peak"')

    def _connect(self, delay: Any, mask: Any, connections: Any, place: dict[str, Any]) -> None:
        shape = self.out_features, self.in_features
        pairs = connection_list(mask, connections, shape)
        self.sparse = None if pairs is None else Connected(pairs, shape, place["device"])
        full = shape if pairs is None else (len(pairs),)
        self.weight = nn.Parameter(torch.empty(full, **place))
        kinds: dict[str, Any] = {"axonal": self.in_features, "synaptic": shape}
        self.delay_type = register_delay(self, "delay", delay, kinds, pairs=pairs, **place)

    def constants(self) -> dict[str, Any]:
        """The neuron constants by name."""
        return {name: getattr(self, name) for name in self.constant_names}

    def neuron(self) -> Neuron:
        """The model with the layer's constants, as `functional.spiking` takes it."""
        return self.model(**self.constants())

    def height(self) -> Tensor:
        """From which voltage to the threshold a neuron at rest must be lifted, float64."""
        raise NotImplementedError

    def peak(self) -> Tensor:
        """The largest voltage after one input of weight 1, float64."""
        raise NotImplementedError

    def critical_weight(self) -> Tensor:
        """The weight with which coincident spikes of all inputs just reach the threshold.

        **Returns:** float64, shape ``()`` or ``(out_features,)``.
        """
        return self.weight_scale(self.fan_in)

    def weight_scale(self, spikes: float) -> Tensor:
        """The weight with which that many coincident spikes just reach the threshold."""
        return self.height() / (max(spikes, 1) * self.peak())

    def reset_parameters(self) -> None:
        """Draw new weights, such that most neurons spike, as `LIF.reset_parameters` does."""
        spiking_weights_(self.weight, self.per_weight(self.critical_weight()), self.fan_in)

    def arguments(self) -> dict[str, Any]:
        return {
            "weight": self.weight,
            "neuron": self.neuron(),
            "connections": self.connections(),
            "max_spikes": self.max_spikes,
            "t_max": self.t_max,
            "min_slope": self.min_slope,
        }

    @overload
    def forward(
        self, spikes: Tensor | Events, state: Any = ..., *, return_state: Literal[False] = ...
    ) -> Tensor: ...
    @overload
    def forward(
        self, spikes: Tensor | Events, state: Any = ..., *, return_state: Literal[True]
    ) -> tuple[Tensor, Any]: ...
    def forward(
        self, spikes: Tensor | Events, state: Any = None, return_state: bool = False
    ) -> Tensor | tuple[Tensor, Any]:
        """Spikes of the layer, ``(..., out_features, max_spikes)``; with ``return_state`` a tuple
        of them and the state at ``t_max``.

        **Arguments:** ``spikes``: the input; ``state``: what an earlier call returned, whose end is
        this one's time 0, a `LayerState`, of recurrent layers a `RecurrentLayerState`, or with
        delays of the input a `DelayedState` with that in it. Not with ``silent="peak"``.
        """
        if return_state or state is not None:
            check_stateful(self.cannot_stop(), "state and return_state")
            return run_piece(self, spikes, state, return_state)
        arriving = self.delay_input(spikes)
        out, health = self.simulated(arriving)
        self.note(arriving, out, health)
        self.report_lost(health)
        self.remember_call(arriving, out)
        return self.finish(arriving, out)

    def finish(
        self, arriving: Tensor | Events, out: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        assert weight is None, "for layers that are run in another way"
        if self.silent == "inf":
            return out
        peak = self.peaks(arriving, out)
        return filled(out, peak.height, peak.time, self.silent_time)

    def cannot_stop(self) -> dict[str, bool]:
        """Whether the layer has what it cannot stop with in the middle, for `check_stateful`."""
        return {"silent='peak'": self.silent == "peak"}

    @property
    def neuron_axis(self) -> int:
        """Which axis of what there is of each neuron is that of neurons, or of channels."""
        return -1

    def check_peaks(self, purpose: str) -> None:
        """Raise where there is no telling how high voltages of silent neurons get."""
        neuron = self.neuron()
        if not has_peaks(neuron):
            raise ValueError(f"{purpose} is not for {type(self).__name__}: {neuron.without_peaks}")
        if math.isinf(self.t_max):
            raise ValueError(
                f"t_max of {type(self).__name__} must be finite for {purpose}: it is the end of "
                f"the time in which voltages have their peaks"
            )

    def peaks(self, arriving: Tensor | Events, out: Tensor) -> Peak:
        """The highest voltages, as far as neurons are silent, each ``(..., out_features)``."""
        named = {"neuron": self.neuron(), "connections": self.connections(), "t_max": self.t_max}
        return functional.spiking_peak(arriving, self.weight, **named)

    def simulated(self, arriving: Tensor | Events, **options: Any) -> tuple[Any, ...]:
        """Spikes, health, and the state if asked for, with room that grows if it may."""

        def run() -> Any:
            named = {**self.arguments(), **options}
            return functional.spiking(arriving, **named, return_health=True)

        return with_room(self, run)

    def note(self, arriving: Tensor | Events, out: Tensor, health: Health) -> None:
        self.remember(out.shape[:-1].numel() // max(self.out_features, 1), health)
        self.remember_late(arriving)

    def report_lost(self, health: Health) -> None:
        if not spikes_once(self.refractory):
            can_rest = "refractory" in self.constant_names
            report_overflow(health.overflow, self.on_overflow, self.max_spikes, can_rest=can_rest)

    def trace(
        self,
        spikes: Tensor | Events,
        times: Tensor,
        *,
        output: Tensor | None = None,
        quantity: str = "voltage",
    ) -> Tensor:
        """Membrane voltage, for plots and for losses; exact at every time, and differentiable.

        **Arguments:**

        - ``spikes``: as in the forward.
        - ``times``: when to look, seconds, shape ``(T,)`` or ``(..., T)``. Input at such a time has
          arrived, a spike at it has reset the neuron. After ``t_max`` there are no spikes.
        - ``output``: what the forward returned for these spikes, so that nothing is simulated
          again; gradients go on through it.
        - ``quantity``: ``"voltage"``, or a variable of the neurons' state by its name, such as
          ``"w"``, the adaptation of `AdaptiveLIF`.

        **Returns:** voltages, or that, shape ``(..., out_features, T)``.
        """
        self.check_trace()
        arriving = self.delay_input(spikes)
        if output is None:
            output, health = self.simulated(arriving)
            self.report_lost(health)
        return self.look(arriving, output=output, times=times, quantity=quantity)

    def check_trace(self) -> None:
        """Raise if spike times do not tell voltages."""

    def look(self, arriving: Tensor | Events, **named: Any) -> Tensor:
        """Voltages, given what arrives at the neurons and what they do."""
        return functional.spiking_trace(arriving, **self.arguments(), **named)

    def numbers(self) -> dict[str, Any]:
        kind = {} if self.delay_type is None else {"delay": self.delay_type}
        late = {"silent_time": self.silent_time} if self.silent == "peak" else {}
        numbers = constant_numbers(self, self.constant_names)
        return {**numbers, "t_max": self.t_max, **kind, **late}

    def structure_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}"

    def extra_repr(self) -> str:
        parts = [
            self.structure_repr(),
            constants_repr(self, self.constant_names),
            f"{room_repr(self)}, t_max={self.t_max:g}",
        ]
        if self.delay is not None and self.delay_type is not None:
            parts.append(delay_repr("delay", self.delay, self.delay_type))
        if self.sparse is not None:
            parts.append(f"connections={len(self.weight)}")
        parts += silent_repr(self.silent, self.silent_time)
        return ", ".join(parts)


class LeakyModelLayer(ModelLayer):
    """One whose neurons have a leak."""

    tau_mem: Constant
    v_leak: Constant
    v_reset: Constant

    def height(self) -> Tensor:
        threshold, leak, reset = map(double, (self.v_threshold, self.v_leak, self.v_reset))
        return torch.where(leak < threshold, threshold - leak, threshold - reset)


def double(constant: Constant) -> Tensor:
    """A constant as a float64 tensor without gradient."""
    return torch.as_tensor(constant, dtype=torch.float64).detach()
