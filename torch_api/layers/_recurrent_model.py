"""Recurrent layers made of a neuron model of ``jax_core``."""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ...jax_core import Events
from ...jax_core.layer._recurrent_spiking import check_ends_in_time
from .. import functional
from ..functional._lif import spikes_once
from ..functional._spiking_peak import Peak
from ..spikes._events import events_from_spike_times
from ._adaptive_lif import AdaptiveLIF
from ._alpha_lif import AlphaLIF
from ._connection_list import numbered, one_each, times_of_events
from ._delay_parameter import delay_repr, nonnegative, register_delay
from ._delta_lif import DeltaLIF
from ._health import Health
from ._if import IF
from ._initialisation import recurrent_weights_
from ._model_layer import ModelLayer
from ._overflow import report_overflow
from ._qif import QIF
from ._room import with_room


class RecurrentModelLayer(ModelLayer):
    """Base of the layers whose neurons are a model, and connected to each other.

    A spike of neuron ``i`` arrives at every neuron ``j``, itself included, as an input of weight
    ``recurrent_weight[j, i]``, at the time of the spike or later by a delay of neuron ``i``, or of
    the connection.
    Neurons that reach their thresholds at the same time all spike before any of these spikes
    arrives. A sample ends where a neuron has more than ``max_spikes`` spikes, as in `RecurrentLIF`.

    **Arguments:**

    - ``in_features``, ``out_features``: numbers of input neurons and of neurons in the layer.
    - ``recurrent_delay``: ``None``; ``"axonal"``: each neuron has a learnable delay;
      ``"synaptic"``: each connection within the layer has; or a fixed one, seconds, >= 0, a number
      or a tensor ``(out_features,)`` or ``(out_features, out_features)``. With delays of
      connections a spike arrives up to ``out_features`` times, each of which costs a pass over all
      neurons, and gradients go through empty slots for all of these, too.
    - ``options``: constants and options of the layer of the same name without ``Recurrent``;
      ``delay`` of the input is ``"axonal"`` or fixed.

    **Parameters:** those of that layer; ``recurrent_weight``, ``(out_features, out_features)``; a
    learnable ``recurrent_delay``.

    **Shapes:** as of `LIF`.
    """

    recurrent_weight: nn.Parameter
    recurrent_delay: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        recurrent_delay: Literal["axonal", "synaptic"] | float | Tensor | None = None,
        **options: Any,
    ) -> None:
        super().__init__(in_features, out_features, **options)
        if self.delay_type == "synaptic":
            raise ValueError(
                "delay must be 'axonal' or one per input in a recurrent layer of this model, not "
                "'synaptic'; RecurrentLIF has synaptic delays of its input"
            )
        place: dict[str, Any] = {"device": self.weight.device, "dtype": self.weight.dtype}
        shape = self.out_features, self.out_features
        self.recurrent_weight = nn.Parameter(torch.empty(shape, **place))
        kinds: dict[str, Any] = {"axonal": self.out_features, "synaptic": shape}
        self.recurrent_delay_type = register_delay(
            self, "recurrent_delay", recurrent_delay, kinds, **place
        )
        check_ends_in_time(self.neuron())
        if self.silent == "peak":
            self.check_order('silent="peak"')
        self.reset_recurrent_weight()

    def reset_parameters(self) -> None:
        """Draw new weights: as of the layer of the same name without ``Recurrent``, and
        ``recurrent_weight`` as `RecurrentLIF.reset_parameters` does."""
        super().reset_parameters()
        if "recurrent_weight" in self._parameters:
            self.reset_recurrent_weight()

    def reset_recurrent_weight(self, generator: torch.Generator | None = None) -> None:
        """Draw ``recurrent_weight`` as `reset_parameters` does."""
        unit, count = self.recurrent_scale(), self.out_features
        recurrent_weights_(self.recurrent_weight, unit, count, generator)

    def recurrent_scale(self) -> Tensor:
        """The weight with which coincident spikes of the whole layer just reach the threshold."""
        return self.weight_scale(self.out_features).reshape(-1, 1)

    def later(self) -> Tensor | None:
        """The delays within the layer, ``None`` for none."""
        return None if self.recurrent_delay is None else nonnegative(self.recurrent_delay)

    def arguments(self) -> dict[str, Any]:
        given = super().arguments()
        del given["connections"]
        return {
            **given,
            "weight": self.dense_weight(),
            "recurrent_weight": self.recurrent_weight,
            "recurrent_delay": self.later(),
        }

    def delay_input(self, spikes: Tensor | Events) -> Tensor | Events:
        if self.delay is None:
            return spikes
        return functional.delay(spikes, nonnegative(self.delay))

    def simulated(self, arriving: Tensor | Events, **options: Any) -> tuple[Any, ...]:
        def run() -> Any:
            named = {**self.arguments(), **options}
            return functional.recurrent_spiking(arriving, **named, return_health=True)

        return with_room(self, run)

    def report_lost(self, health: Health) -> None:
        if not spikes_once(self.refractory):
            report_overflow(health.overflow, self.on_overflow, self.max_spikes, ends_sample=True)

    def check_order(self, purpose: str) -> None:
        """Raise where spike times do not tell what neurons heard before they spiked."""
        if self.neuron().spikes_at_arrival and self.recurrent_delay is None:
            raise ValueError(
                f"{purpose} needs a recurrent_delay where spikes lift voltages at once: spike "
                f"times do not say whether a neuron spiked before or after it heard one of the "
                f"same time"
            )

    def cannot_stop(self) -> dict[str, bool]:
        synaptic = self.recurrent_delay_type == "synaptic"
        return {**super().cannot_stop(), "recurrent_delay='synaptic'": synaptic}

    def peaks(self, arriving: Tensor | Events, out: Tensor) -> Peak:
        self.check_order("the peak of a voltage")
        heard = self._heard(arriving, out)
        return functional.spiking_peak(**heard, neuron=self.neuron(), t_max=self.t_max)

    def check_trace(self) -> None:
        self.check_order("trace")

    def look(self, arriving: Tensor | Events, **named: Any) -> Tensor:
        heard = self._heard(arriving, named["output"])
        return functional.spiking_trace(**heard, neuron=self.neuron(), **named)

    def _heard(self, arriving: Tensor | Events, out: Tensor) -> dict[str, Any]:
        """All that arrives at the neurons: input, and as further inputs their spikes; with the
        weights of both, and connections, as `functional.spiking` takes them."""
        weight = torch.cat([self.dense_weight(), self.recurrent_weight], dim=1)
        later = self.later()
        if later is None or later.ndim == 1:
            return {"spikes": self._in_order(arriving, out, later), "weight": weight}
        if isinstance(arriving, Events):
            arriving = times_of_events(arriving, self.in_features, self.t_max)
        shape = *arriving.shape[:-2], self.out_features, *arriving.shape[-2:]
        of_input = arriving.unsqueeze(-3).expand(shape)
        of_layer = out.unsqueeze(-3) + later[..., None]
        room = max(arriving.shape[-1], out.shape[-1])
        each = [
            nn.functional.pad(x, (0, room - x.shape[-1]), value=math.inf)
            for x in (of_input, of_layer)
        ]
        return {
            "spikes": torch.cat(each, dim=-2).flatten(-3, -2),
            "weight": weight.flatten(),
            "connections": one_each(numbered(weight), weight.numel()),
        }

    def _in_order(self, arriving: Tensor | Events, out: Tensor, later: Tensor | None) -> Events:
        """The same where each neuron hears a spike at one time."""
        own = events_from_spike_times(out if later is None else functional.delay(out, later))
        given = arriving if isinstance(arriving, Events) else events_from_spike_times(arriving)
        behind = torch.where(own.index < 0, own.index, own.index + self.in_features)
        time, order = torch.cat([given.time, own.time], dim=-1).sort(dim=-1, stable=True)
        return Events(time, torch.cat([given.index, behind], dim=-1).gather(-1, order))

    def numbers(self) -> dict[str, Any]:
        kind = self.recurrent_delay_type
        return {**super().numbers(), **({} if kind is None else {"recurrent_delay": kind})}

    def extra_repr(self) -> str:
        parts = [super().extra_repr()]
        if self.recurrent_delay is not None and self.recurrent_delay_type is not None:
            kind = self.recurrent_delay_type
            parts.append(delay_repr("recurrent_delay", self.recurrent_delay, kind))
        return ", ".join(parts)


class RecurrentQIF(RecurrentModelLayer, QIF):
    """`QIF`, with neurons that are connected to each other: see `RecurrentModelLayer`.

    Without ``pseudospikes``: a fast neuron would need room for ever more of them, on which those of
    slow ones depend, until these have theirs.
    """


class RecurrentIF(RecurrentModelLayer, IF):
    """`IF`, with neurons that are connected to each other: see `RecurrentModelLayer`."""


class RecurrentAdaptiveLIF(RecurrentModelLayer, AdaptiveLIF):
    """`AdaptiveLIF`, with neurons that are connected to each other: see `RecurrentModelLayer`."""


class RecurrentAlphaLIF(RecurrentModelLayer, AlphaLIF):
    """`AlphaLIF`, with neurons that are connected to each other: see `RecurrentModelLayer`."""


class RecurrentDeltaLIF(RecurrentModelLayer, DeltaLIF):
    """`DeltaLIF`, with neurons that are connected to each other: see `RecurrentModelLayer`."""
