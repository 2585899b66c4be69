"""The recurrent LIF layer as a module."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ...jax_core import Connections, Events, SynapticDelays
from ...jax_core.layer._recurrent_lists import found_lists
from .. import functional
from .._validate import check_dtype, check_size, values_are_checked
from ..functional._lif import Quantity, RecurrentSolver, check_settings, spikes_once
from ..functional._recurrent_lif_state import RecurrentLIFState
from ..spikes._events import events_from_spike_times
from ._connection_list import Connected, connection_list, times_of_events
from ._constants import Constant, constants_repr, register_constants
from ._delay_parameter import delay_repr, nonnegative, register_delay
from ._health import Health
from ._initialisation import recurrent_weights_, spiking_weights_
from ._neuron_layer import CONSTANTS, DensePart, NeuronLayer, check_stateful
from ._overflow import OnOverflow, report_overflow
from ._pseudo_spikes import Silent, check_silent, silent_repr, with_pseudo_spikes
from ._room import Room, room_repr, set_room, with_room


class RecurrentLIF(NeuronLayer[RecurrentLIFState]):
    """A layer of leaky integrate-and-fire neurons, connected to its input and to each other.

    Neurons are those of `LIF`. A spike of neuron ``i`` adds ``recurrent_weight[j, i]`` to the
    current of every neuron ``j``, itself included, at the time of the spike, or later by a delay of
    neuron ``i``. Neurons that reach their thresholds at the same time all spike before any of these
    spikes arrives. Everything happens in continuous time; the gradients are exact, by EventProp.

    The simulation of a sample ends where a neuron has more than ``max_spikes`` spikes, since all
    that follows depends on the one that has no room: no neuron spikes later. Leave room for all
    spikes up to ``t_max``, or accept that end with ``on_overflow="truncate"``.

    **Arguments:**

    - ``in_features``, ``out_features``: numbers of input neurons and of neurons in the layer.
    - ``delay``: ``None``; ``"axonal"``: each input has its learnable delay; ``"synaptic"``: each
      connection has; or a fixed delay, seconds, >= 0, a number or a tensor ``(in_features,)``, or
      ``(out_features, in_features)``, which becomes a buffer.
    - ``recurrent_delay``: ``None``; ``"axonal"``: each neuron has a learnable delay, for its
      spikes on their way to the neurons of the layer (not to the next layer); ``"synaptic"``: each
      recurrent connection has; or a fixed one, a number or a tensor ``(out_features,)``, or
      ``(out_features, out_features)``. Learnable delays start at 0 and stay >= 0 as those of
      `Delay`. With delays of connections, what arrives at neurons at different times is as many
      events, where it is one otherwise, and each of them costs a pass over all neurons.
    - ``recurrent_mask``, ``recurrent_connections``: as ``mask`` and ``connections``, of shape
      ``(out_features, out_features)`` and from neuron to neuron of the layer, of which some may
      hear none. There are weights, and synaptic delays, of these connections only. The cost is that
      of all, unless the input has a list too, and lists are short in a layer of hundreds of
      neurons; or with ``solver="lists"``: then only the neurons that hear something move.
    - All others as in `LIF`, which also has those that are not available here: ``gradient``,
      ``backend`` and dendritic delays.

    **Parameters:** ``weight``, shape ``(out_features, in_features)``, or ``(connections,)``;
    ``recurrent_weight``, shape ``(out_features, out_features)``, or ``(connections,)``; learnable
    ``delay`` and ``recurrent_delay``, seconds, shapes ``(in_features,)`` and ``(out_features,)`` if
    axonal, those of ``weight`` and ``recurrent_weight`` if synaptic; those named in ``learn``.

    **Shapes:** spike times ``(..., in_features, k)`` or ``Events`` ``(..., M)`` give spike times
    ``(..., out_features, max_spikes)``, ascending, ``inf`` where there is no spike.

    **References:** Wunderlich & Pehle 2021, doi:10.1038/s41598-021-91786-z (EventProp).
    """

    max_spikes: int
    grows: bool = False
    recurrent_weight: nn.Parameter
    delay: Tensor | None
    recurrent_delay: Tensor | None
    # Modules saved as a whole before there was a choice have none of their own.
    solver: RecurrentSolver = "auto"

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        tau_mem: Constant = 2e-2,
        tau_syn: Constant = 1e-2,
        v_threshold: Constant = 1.0,
        v_leak: Constant = 0.0,
        v_reset: Constant = 0.0,
        refractory: Constant = 0.0,
        max_spikes: Room = 1,
        t_max: float = math.inf,
        delay: Literal["axonal", "synaptic"] | float | Tensor | None = None,
        recurrent_delay: Literal["axonal", "synaptic"] | float | Tensor | None = None,
        mask: Tensor | None = None,
        connections: Tensor | Sequence[Sequence[int]] | None = None,
        recurrent_mask: Tensor | None = None,
        recurrent_connections: Tensor | Sequence[Sequence[int]] | None = None,
        learn: Iterable[str] = (),
        on_overflow: OnOverflow = "error",
        min_slope: float = 1e-3,
        solver: RecurrentSolver = "auto",
        silent: Silent = "inf",
        silent_time: float | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        dtype = check_dtype(dtype)
        set_room(self, max_spikes, refractory)
        settings = t_max, "eventprop", min_slope, on_overflow, refractory, solver
        check_settings(self.max_spikes, *settings, RecurrentSolver)
        self.in_features = check_size(in_features, "in_features")
        self.out_features = check_size(out_features, "out_features")
        self.t_max = float(t_max)
        self.on_overflow: OnOverflow = on_overflow
        self.min_slope = float(min_slope)
        self.solver = solver
        self.silent: Silent = silent
        self.silent_time = check_silent(silent, silent_time, self.t_max)
        constants = {
            "tau_mem": tau_mem,
            "tau_syn": tau_syn,
            "v_threshold": v_threshold,
            "v_leak": v_leak,
            "v_reset": v_reset,
            "refractory": refractory,
        }
        register_constants(self, constants, learn, out_features, device=device, dtype=dtype)
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        of_layer = recurrent_mask, recurrent_connections, out_features
        self.sparse, pairs = self._connect("", mask, connections, in_features, **place)
        self.recurrent_sparse, own_pairs = self._connect("recurrent_", *of_layer, **place)
        kinds = self._kinds(in_features), self._kinds(out_features)
        # Behind the weights, in an order that optimisers' checkpoints rely on.
        self.delay_type = register_delay(self, "delay", delay, kinds[0], pairs=pairs, **place)
        self.recurrent_delay_type = register_delay(
            self, "recurrent_delay", recurrent_delay, kinds[1], pairs=own_pairs, **place
        )
        self._check_combinations()
        self.reset_parameters()

    def _kinds(self, senders: int) -> dict[str, int | tuple[int, int]]:
        return {"axonal": senders, "synaptic": (self.out_features, senders)}

    def _check_combinations(self) -> None:
        self.lists()
        kinds = {"delay": self.delay_type, "recurrent_delay": self.recurrent_delay_type}
        for name, kind in kinds.items():
            if self.silent == "peak" and kind == "synaptic":
                raise ValueError(
                    f"silent=\"peak\" does not go with {name}='synaptic'; choose {name}='axonal'"
                )

    def _connect(
        self,
        of: str,
        mask: Any,
        connections: Any,
        inputs: int,
        *,
        device: torch.device | str | None,
        dtype: torch.dtype,
    ) -> tuple[Connected | None, np.ndarray | None]:
        """Register weights, whose name begins with ``of``, from so many inputs.

        **Returns:** the connections that they are of, and their ends; ``None`` for all.
        """
        shape = self.out_features, inputs
        pairs = connection_list(mask, connections, shape, of)
        full = shape if pairs is None else (len(pairs),)
        weight = nn.Parameter(torch.empty(full, device=device, dtype=dtype))
        self.register_parameter(f"{of}weight", weight)
        sparse = None if pairs is None else Connected(pairs, shape, device, all_hear=not of)
        return sparse, pairs

    def reset_parameters(self) -> None:
        """Draw new weights from torch's global random generator.

        ``weight`` as in `LIF.reset_parameters`. ``recurrent_weight`` is normal with mean 0 and
        standard deviation ``0.2 sqrt(out_features) c``, where ``c`` is the weight with which
        coincident spikes of all neurons of the layer just reach the threshold: their
        postsynaptic potentials then add up to about 0.2 of it, in either direction. Delays and
        constants stay as they are.
        """
        spiking_weights_(self.weight, self.per_weight(self.critical_weight()), self.fan_in)
        self.reset_recurrent_weight()

    @torch.no_grad()
    def reset_recurrent_weight(self, generator: torch.Generator | None = None) -> None:
        """Draw ``recurrent_weight`` as `reset_parameters` does, from a random generator."""
        inputs = self.recurrent_fan_in
        unit = self.per_recurrent_weight(self.weight_scale(inputs))
        recurrent_weights_(self.recurrent_weight, unit, inputs, generator)

    @property
    def recurrent_fan_in(self) -> float:
        """How many neurons of the layer a neuron hears, on average."""
        sparse = self.recurrent_sparse
        return self.out_features if sparse is None else sparse.fan_in

    def per_recurrent_weight(self, x: Tensor) -> Tensor:
        """Values of neurons, such that they go with ``recurrent_weight``."""
        sparse = self.recurrent_sparse
        return x.reshape(-1, 1) if sparse is None else sparse.per_weight(x)

    def dense_recurrent_weight(self) -> Tensor:
        """The recurrent weights as a matrix ``(out_features, out_features)``."""
        sparse = self.recurrent_sparse
        return self.recurrent_weight if sparse is None else sparse.dense(self.recurrent_weight)

    def check_stateful(self) -> None:
        check_stateful(
            {
                "delay='synaptic'": self.delay_type == "synaptic",
                "recurrent_delay='synaptic'": self.recurrent_delay_type == "synaptic",
                "silent='peak'": self.silent == "peak",
            }
        )

    def simulated(self, arriving: Tensor | Events, **options: Any) -> tuple[Any, ...]:
        """Spikes, health, and the state if asked for, with room that grows if it may."""

        def run() -> tuple[Any, ...]:
            given = self.arguments() if options else self.arguments_for(arriving)
            return functional.recurrent_lif(arriving, **{**given, **options}, return_health=True)

        return with_room(self, run)

    def arguments_for(self, arriving: Tensor | Events) -> dict[str, Any]:
        """`arguments` for one forward, with lists where they are to be simulated."""
        lists = {} if isinstance(arriving, Events) else self.lists()
        return {**(lists or self._matrices()), **self._options()}

    def lists(self) -> dict[str, Any]:
        """Weights and connections by name, if the layer is to be simulated by lists of them."""
        both = self.sparse, self.recurrent_sparse
        of_input, own = (None if each is None else each.both_ways() for each in both)
        is_each_delayed = "synaptic" in (self.delay_type, self.recurrent_delay_type)
        if found_lists(self.solver, of_input, own, is_each_delayed) is None:
            return {}
        weights = {"weight": self.weight, "recurrent_weight": self.recurrent_weight}
        return {**weights, "connections": of_input, "recurrent_connections": own}

    def note(self, arriving: Tensor | Events, out: Tensor, health: Health) -> None:
        self.remember(out.shape[:-2].numel(), health)
        self.remember_late(arriving)

    def report_lost(self, health: Health) -> None:
        if not spikes_once(self.refractory):
            report_overflow(health.overflow, self.on_overflow, self.max_spikes, ends_sample=True)

    def finish(
        self, arriving: Tensor | Events, out: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        if self.silent == "inf":
            return out
        weight = self.all_weights() if weight is None else weight
        return with_pseudo_spikes(self, self.heard(arriving, out), weight, out, self.silent_time)

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
          again; gradients go on through it.
        - ``quantity``: ``"voltage"``, or ``"current"``: the synaptic current, in units of the
          weights.

        **Returns:** voltages or currents, shape ``(..., out_features, T)``.
        """
        arriving = self.delay_input(spikes)
        if self.grows and output is None:
            with torch.no_grad():
                self.simulated(arriving)
        named = self.arguments()
        del named["solver"]
        return functional.recurrent_lif_trace(
            arriving,
            times=times,
            output=output,
            quantity=quantity,
            **named,
            on_overflow=self.on_overflow,
        )

    def connections(self) -> Connections | None:
        """What the input is connected by, where that takes times of its own; ``None`` else."""
        if self.delay is None or self.delay_type != "synaptic":
            return None
        delay: Any = nonnegative(self.delay)
        return SynapticDelays(delay) if self.sparse is None else self.sparse.with_delay(delay)

    def delay_input(self, spikes: Tensor | Events) -> Tensor | Events:
        """Input spikes as they arrive, later by axonal delays, in the form for connections."""
        if self.delay is not None and self.delay_type == "axonal":
            spikes = functional.delay(spikes, nonnegative(self.delay))
        if isinstance(spikes, Events):
            by_lists = bool(self.lists()) and values_are_checked()
            if by_lists or self.delay_type == "synaptic":
                return times_of_events(spikes, self.in_features, self.t_max)
        return spikes

    def dense_recurrent_delay(self) -> Tensor | None:
        """Delays within the layer, ``(out_features,)`` or a matrix; ``None`` for none."""
        if self.recurrent_delay is None:
            return None
        later = nonnegative(self.recurrent_delay)
        if self.recurrent_sparse is None or self.recurrent_delay_type != "synaptic":
            return later
        return self.recurrent_sparse.dense(later)

    def delay_recurrent(self, out: Tensor, neuron: int = 0) -> Tensor:
        """The layer's own spikes as they arrive at its neurons, at one where that differs."""
        later = self.dense_recurrent_delay()
        if later is None:
            return out
        return functional.delay(out, later if later.ndim == 1 else later[neuron])

    def heard(self, arriving: Tensor | Events, out: Tensor, neuron: int = 0) -> Events:
        """All that arrives at the neurons, in order: input, and as further inputs their spikes.

        ``neuron``: at which, where each hears spikes at times of its own.
        """
        if self.delay is not None and self.delay_type == "synaptic":
            later = nonnegative(self.delay)
            later = later if self.sparse is None else self.sparse.dense(later)
            arriving = functional.delay(arriving, later[neuron])
        own = events_from_spike_times(self.delay_recurrent(out, neuron))
        given = arriving if isinstance(arriving, Events) else events_from_spike_times(arriving)
        time = torch.cat([given.time, own.time], dim=-1)
        behind = torch.where(own.index < 0, own.index, own.index + self.in_features)
        index = torch.cat([given.index, behind], dim=-1)
        time, order = time.sort(dim=-1, stable=True)
        return Events(time, index.gather(-1, order))

    def all_weights(self) -> Tensor:
        """Weights of input and layer, ``(out_features, in_features + out_features)``."""
        return torch.cat([self.dense_weight(), self.dense_recurrent_weight()], dim=1)

    def dense_parts(self, arriving: Tensor | Events, output: Tensor) -> list[DensePart]:
        weight = self.all_weights()
        if "synaptic" not in (self.delay_type, self.recurrent_delay_type):
            return [DensePart(self.heard(arriving, output), weight, output)]
        return [
            DensePart(self.heard(arriving, output, n), row[None], output[..., n : n + 1, :], n)
            for n, row in enumerate(weight)
        ]

    def arguments(self) -> dict[str, Any]:
        return {**self._matrices(), **self._options()}

    def _matrices(self) -> dict[str, Any]:
        connections = self.connections()
        return {
            "weight": self.dense_weight() if connections is None else self.weight,
            "recurrent_weight": self.dense_recurrent_weight(),
            "connections": connections,
        }

    def _options(self) -> dict[str, Any]:
        return {
            "recurrent_delay": self.dense_recurrent_delay(),
            **self.constants(),
            "max_spikes": self.max_spikes,
            "t_max": self.t_max,
            "min_slope": self.min_slope,
            "solver": self.solver,
        }

    def extra_repr(self) -> str:
        parts = [
            f"{self.in_features}, {self.out_features}",
            constants_repr(self, CONSTANTS),
            f"{room_repr(self)}, t_max={self.t_max:g}",
        ]
        for name in ("delay", "recurrent_delay"):
            delay, kind = getattr(self, name), getattr(self, f"{name}_type")
            if delay is not None:
                parts.append(delay_repr(name, delay, kind))
        parts += silent_repr(self.silent, self.silent_time)
        return ", ".join(parts)
