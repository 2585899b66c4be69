"""What layers have in common whose neurons hear their input only."""

from typing import Any

import torch
from torch import Tensor

from ...jax_core import Connections, Events
from .. import functional
from .._validate import check_dtype
from ..functional._lif import Gradient, Quantity, Solver, check_settings, spikes_once
from ..functional._lif_state import LIFState
from ._constants import register_constants
from ._health import Health
from ._neuron_layer import CONSTANTS, NeuronLayer
from ._overflow import OnOverflow, report_overflow
from ._room import set_room, with_room


class FeedForwardLIF(NeuronLayer[LIFState]):
    """Base of `LIF` and of layers with other connections: the forward, and the voltage."""

    max_spikes: int
    grows: bool = False
    gradient: Gradient
    min_slope: float
    # Modules saved as a whole before there was a choice have none of their own.
    solver: Solver = "auto"

    def set_options(self, options: dict[str, Any], neurons: int) -> tuple[Any, torch.dtype]:
        """Check and take the options of `Options`; **returns** device and dtype."""
        dtype = check_dtype(options["dtype"])
        self.sparse = None
        set_room(self, options["max_spikes"], options["refractory"])
        settings = "t_max", "gradient", "min_slope", "on_overflow", "refractory", "solver"
        check_settings(self.max_spikes, *(options[name] for name in settings))
        self.t_max = float(options["t_max"])
        self.gradient = options["gradient"]
        self.on_overflow: OnOverflow = options["on_overflow"]
        self.min_slope = float(options["min_slope"])
        self.solver = options["solver"]
        constants = {name: options[name] for name in CONSTANTS}
        device = options["device"]
        register_constants(self, constants, options["learn"], neurons, device=device, dtype=dtype)
        return device, dtype

    def connections(self) -> Connections | None:
        """What the neurons are connected by; ``None`` for all-to-all."""
        return None

    def delay_input(self, spikes: Tensor | Events) -> Tensor | Events:
        """Input spikes as they arrive, in the form that the connections take."""
        return spikes

    def simulated(self, arriving: Tensor | Events, **options: Any) -> tuple[Any, ...]:
        """Spikes, health, and the state if asked for, with room that grows if it may."""

        def run() -> tuple[Any, ...]:
            return functional.lif(arriving, **{**self.arguments(), **options}, return_health=True)

        return with_room(self, run)

    def arguments(self) -> dict[str, Any]:
        return {
            "weight": self.weight,
            **self.constants(),
            "max_spikes": self.max_spikes,
            "t_max": self.t_max,
            "gradient": self.gradient,
            "min_slope": self.min_slope,
            "solver": self.solver,
            "connections": self.connections(),
        }

    def note(self, arriving: Tensor | Events, out: Tensor, health: Health) -> None:
        self.remember(out.shape[:-1].numel() // max(self.out_features, 1), health)
        self.remember_late(arriving)

    def report_lost(self, health: Health) -> None:
        if not spikes_once(self.refractory):
            self.report(health.overflow)

    def report(self, overflow: Tensor) -> None:
        """Do what is to be done about neurons with more spikes than there is room for."""
        report_overflow(overflow, self.on_overflow, self.max_spikes)

    def trace(
        self,
        spikes: Tensor | Events,
        times: Tensor,
        *,
        output: Tensor | None = None,
        quantity: Quantity = "voltage",
    ) -> Tensor:
        """Membrane voltage, or current, for plots and for losses; differentiable.

        **Arguments:**

        - ``spikes``: as in the forward.
        - ``times``: when to look, seconds, shape ``(T,)`` or ``(..., T)``. After ``t_max`` the
          voltage goes on without spikes.
        - ``output``: what the forward returned for these spikes, so that nothing is simulated
          again; gradients go on through it. On a `backend`, pass what it returned to see the
          voltage of the model at the spikes of the hardware.
        - ``quantity``: ``"voltage"``, or ``"current"``: the synaptic current, in units of the
          weights.

        **Returns:** voltages or currents, with the axes of the output's neurons, ``(..., T)``.
        """
        arriving = self.delay_input(spikes)
        if self.grows and output is None:
            with torch.no_grad():
                self.simulated(arriving)
        return functional.lif_trace(
            arriving,
            self.weight,
            times,
            output=output,
            quantity=quantity,
            **self.constants(),
            **self.limits(),
            connections=self.connections(),
        )

    def limits(self) -> dict[str, Any]:
        """How far a simulation goes, as `functional.lif_trace` takes it."""
        return {
            "max_spikes": self.max_spikes,
            "t_max": self.t_max,
            "min_slope": self.min_slope,
            "on_overflow": self.on_overflow,
        }
