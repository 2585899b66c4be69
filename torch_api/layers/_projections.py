"""LIF layers with several projections, each with weights, delays and synapses of its own."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from ...jax_core import Projection as Input
from ...jax_core import SynapticDelays
from .. import functional
from .._validate import check_dtype, check_size
from ..functional._lif import check_settings, spikes_once
from ..functional._lif_state import LIFState
from ._checkpoint import RecordsNumbers
from ._constants import Constant, constant_numbers, constants_repr, register_constants
from ._delay_parameter import delay_repr, nonnegative, register_delay
from ._health import SpikingLayer
from ._initialisation import critical_weight, spiking_weights_
from ._neuron_layer import CONSTANTS
from ._overflow import OnOverflow, report_overflow
from ._room import Room, room_repr, set_room, with_room

_SHARED = tuple(name for name in CONSTANTS if name != "tau_syn")


@dataclass(frozen=True)
class Projection:
    """What `Projections` are told of one kind of input.

    **Arguments:** ``in_features``: how many inputs; ``tau_syn``: synaptic time constant, seconds,
    > 0, a number or a tensor ``(out_features,)``; ``learn``: whether it is a parameter;
    ``delay``: as of `LIF`: ``None``, ``"axonal"``, ``"synaptic"``, a number, or a tensor
    ``(in_features,)`` or ``(out_features, in_features)``.
    """

    in_features: int
    tau_syn: Constant = 1e-2
    delay: Literal["axonal", "synaptic"] | float | Tensor | None = None
    learn: bool = False


class Synapses(RecordsNumbers):
    """Weights, delays and time constant of one projection."""

    tau_syn: Constant
    delay: Tensor | None

    def __init__(
        self, name: str, given: Projection, neurons: int, device: Any, dtype: torch.dtype
    ) -> None:
        super().__init__()
        if not isinstance(given, Projection):
            raise TypeError(
                f"projections[{name!r}] must be a snn.Projection, got {type(given).__name__}"
            )
        self.in_features = check_size(given.in_features, f"projections[{name!r}].in_features")
        shape = neurons, self.in_features
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        learn = ("tau_syn",) if given.learn else ()
        constants = {"tau_syn": given.tau_syn}
        register_constants(self, constants, learn, neurons, device=device, dtype=dtype)
        kinds: dict[str, Any] = {"axonal": self.in_features, "synaptic": shape}
        self.delay_type = register_delay(
            self, "delay", given.delay, kinds, device=device, dtype=dtype
        )

    def numbers(self) -> dict[str, Any]:
        kind = {} if self.delay_type is None else {"delay": self.delay_type}
        return {**constant_numbers(self, ("tau_syn",)), **kind}

    def arriving(self, spikes: Tensor) -> Tensor:
        """Spikes later by axonal delays."""
        if self.delay is None or self.delay_type != "axonal":
            return spikes
        return functional.delay(spikes, nonnegative(self.delay))

    def of_connections(self) -> Tensor:
        """Delays of all connections, ``(out, in)``, without axonal ones."""
        if self.delay is None or self.delay_type != "synaptic":
            return torch.zeros_like(self.weight)
        return nonnegative(self.delay)

    def extra_repr(self) -> str:
        parts = [str(self.in_features), constants_repr(self, ("tau_syn",))]
        if self.delay is not None and self.delay_type is not None:
            parts.append(delay_repr("delay", self.delay, self.delay_type))
        return ", ".join(parts)


class Projections(SpikingLayer, RecordsNumbers):
    """A layer of LIF neurons with input of several kinds, such as excitatory and inhibitory.

        tau_mem dV/dt = v_leak - V + sum_p I_p        tau_p dI_p/dt = -I_p

    Each projection has weights, delays and a synaptic time constant of its own; all else is as in
    `LIF`. If the time constants are one number, it costs what a `LIF` costs with all inputs;
    otherwise gradients take time and memory for all (neuron, event) pairs. `initialise_`,
    `rescue_silent_` and `silent_loss` do not know this layer.

    **Arguments:**

    - ``projections``: a `Projection` by name.
    - ``out_features``: number of neurons.
    - All others as in `LIF`.

    **Parameters:** by name of a projection, ``weight``, ``(out_features, in_features)``, and
    learnable ``delay`` and ``tau_syn``; those named in ``learn``.

    **Shapes:** a dict of spike times ``(..., in_features, k)`` by name gives spike times ``(...,
    out_features, max_spikes)``, ascending, ``inf`` where there is no spike.
    """

    tau_mem: Constant
    v_threshold: Constant
    v_leak: Constant
    v_reset: Constant
    refractory: Constant
    max_spikes: int
    grows: bool = False

    def __init__(
        self,
        projections: Mapping[str, Projection],
        out_features: int,
        *,
        tau_mem: Constant = 2e-2,
        v_threshold: Constant = 1.0,
        v_leak: Constant = 0.0,
        v_reset: Constant = 0.0,
        refractory: Constant = 0.0,
        max_spikes: Room = 1,
        t_max: float = math.inf,
        learn: Iterable[str] = (),
        on_overflow: OnOverflow = "error",
        min_slope: float = 1e-3,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        dtype = check_dtype(dtype)
        set_room(self, max_spikes, refractory)
        check_settings(self.max_spikes, t_max, "eventprop", min_slope, on_overflow, refractory)
        if not isinstance(projections, Mapping) or not projections:
            raise TypeError(
                f"projections must be a dict of snn.Projection by name, such as {{'exc': "
                f"snn.Projection(80)}}, got {projections!r}"
            )
        self.out_features = check_size(out_features, "out_features")
        self.t_max = float(t_max)
        self.on_overflow: OnOverflow = on_overflow
        self.min_slope = float(min_slope)
        given = locals()
        constants = {name: given[name] for name in _SHARED}
        register_constants(self, constants, learn, out_features, device=device, dtype=dtype)
        self.of = nn.ModuleDict(
            {
                name: Synapses(name, each, self.out_features, device, dtype)
                for name, each in projections.items()
            }
        )
        self.reset_parameters()

    @property
    def synapses(self) -> dict[str, Any]:
        """The projections' parameters, by name."""
        return dict(self.of.items())

    def reset_parameters(self) -> None:
        """Draw new weights: as in `LIF.reset_parameters`, as if all inputs were of one kind."""
        inputs = sum(each.in_features for each in self.synapses.values())
        threshold, leak, reset = (
            torch.as_tensor(value, dtype=torch.float64).detach()
            for value in (self.v_threshold, self.v_leak, self.v_reset)
        )
        height = torch.where(leak < threshold, threshold - leak, threshold - reset)
        for each in self.synapses.values():
            unit = critical_weight(inputs, self.tau_mem, each.tau_syn, height).reshape(-1, 1)
            spiking_weights_(each.weight, unit, inputs)

    @overload
    def forward(
        self,
        spikes: Mapping[str, Tensor],
        *,
        current: Constant | None = ...,
        state: LIFState | None = ...,
        return_state: Literal[False] = ...,
    ) -> Tensor: ...
    @overload
    def forward(
        self,
        spikes: Mapping[str, Tensor],
        *,
        current: Constant | None = ...,
        state: LIFState | None = ...,
        return_state: Literal[True],
    ) -> tuple[Tensor, LIFState]: ...
    def forward(
        self,
        spikes: Mapping[str, Tensor],
        *,
        current: Constant | None = None,
        state: LIFState | None = None,
        return_state: bool = False,
    ) -> Tensor | tuple[Tensor, LIFState]:
        """Spikes of the layer; with ``return_state`` a tuple of them and the state at ``t_max``.

        **Arguments:** ``spikes``: a tensor for each projection, by name; the others as in
        `functional.lif`.
        """
        synapses = self.synapses
        if not isinstance(spikes, Mapping) or set(spikes) != set(synapses):
            given = sorted(spikes) if isinstance(spikes, Mapping) else type(spikes).__name__
            raise TypeError(
                f"spikes must be a dict with a tensor for each projection ({', '.join(synapses)}), "
                f"got {given}"
            )
        kinds = {each.delay_type for each in synapses.values()}
        if (return_state or state is not None) and kinds != {None}:
            raise ValueError(
                "state and return_state are for layers without delay: spikes on their way would be "
                "lost at the end of a piece; leave the delays out, or run the stream in one piece"
            )
        inputs = {
            name: Input(each.arriving(spikes[name]), each.weight, each.tau_syn)
            for name, each in synapses.items()
        }
        connections: Any = None
        if "synaptic" in kinds:
            delays = [each.of_connections() for each in synapses.values()]
            connections = SynapticDelays(torch.cat(delays, dim=1))  # pyright: ignore[reportArgumentType]

        def run() -> Any:
            return functional.lif_projections(
                inputs,
                **{name: getattr(self, name) for name in _SHARED},
                max_spikes=self.max_spikes,
                t_max=self.t_max,
                min_slope=self.min_slope,
                connections=connections,
                current=current,
                state=state,
                return_state=return_state,
                return_health=True,
            )

        out, health, *end = with_room(self, run)
        self.remember(out.shape[:-2].numel(), health)
        if not spikes_once(self.refractory):
            report_overflow(health.overflow, self.on_overflow, self.max_spikes)
        return (out, *end) if return_state else out

    def numbers(self) -> dict[str, Any]:
        return {**constant_numbers(self, _SHARED), "t_max": self.t_max}

    def extra_repr(self) -> str:
        limits = f"{room_repr(self)}, t_max={self.t_max:g}"
        return ", ".join([str(self.out_features), constants_repr(self, _SHARED), limits])
