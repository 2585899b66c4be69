"""The LIF layer as a module."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ...jax_core import Events
from ...jax_core.hardware import Backend, Scaling
from .. import functional
from .._validate import check_size, values_are_checked
from ..backend._scaling import check_backend
from ..backend._stack import Stack, run_stack
from ..functional._lif import Gradient, Quantity, Solver
from ..functional._lists import lists_of
from ..functional._observed import delayed_trace
from ._connection_list import Connected, connection_list
from ._constants import Constant, constants_repr
from ._delay_parameter import delay_repr, nonnegative, register_delay
from ._delayed_input import DelayedInput
from ._feed_forward import FeedForwardLIF
from ._initialisation import spiking_weights_
from ._neuron_layer import CONSTANTS, DensePart, check_stateful
from ._options import DEFAULTS
from ._overflow import OnOverflow, report_overflow
from ._pseudo_spikes import Silent, check_silent, silent_repr, with_pseudo_spikes
from ._room import Room, room_repr


class LIF(DelayedInput, FeedForwardLIF):
    """A layer of current-based leaky integrate-and-fire neurons, fully connected to its input.

    Each neuron obeys

        tau_mem dV/dt = v_leak - V + I        tau_syn dI/dt = -I

    An input spike adds its weight to ``I``. When ``V`` reaches ``v_threshold`` from below, the
    neuron spikes and ``V`` is held at ``v_reset`` for ``refractory`` seconds. It starts at rest,
    ``V = v_leak``, or at ``v_reset`` if ``v_leak >= v_threshold``. Spikes are found in continuous
    time, none is missed, and the gradients are exact; without a spike there is no gradient (see
    `health_report` and `rescue_silent_`).

    **Arguments:**

    - ``in_features``, ``out_features``: numbers of input and output neurons.
    - ``tau_mem``, ``tau_syn``: membrane and synaptic time constants, seconds, > 0.
    - ``v_threshold``, ``v_leak``, ``v_reset``: voltages, in the unit of the weights;
      ``v_reset < v_threshold``.
    - ``refractory``: seconds, >= 0; ``inf`` for at most one spike per neuron. All of these are
      numbers or tensors ``(out_features,)``. Numbers of which ``tau_mem`` is equal to ``tau_syn``
      or twice that select a closed form; tensors become buffers.
    - ``max_spikes``: room for this many output spikes per neuron; with ``"auto"`` it grows by
      factors of two to what the data need, which costs a run and a compilation each time.
    - ``t_max``: end of the simulation, seconds; later spikes are not emitted.
    - ``delay``: ``None``; a fixed delay of all inputs, seconds, >= 0, a number or a tensor
      ``(in_features,)``, which becomes a buffer; ``"axonal"``: each input has its learnable delay;
      ``"dendritic"``: each neuron delays all of its inputs, for neurons that have a rest
      (``v_leak < v_threshold``). Learnable delays start at 0 and stay >= 0 as those of `Delay`.
      ``max_spikes`` and `health_report` count without regard to dendritic delays: spikes before
      ``t_max`` need room, also those that their delay moves beyond it.
      ``"synaptic"``: each connection has its learnable delay; a tensor ``(out_features,
      in_features)`` fixes them.
    - ``mask``: ``None``, fully connected; or which connections there are, bool ``(out_features,
      in_features)``, at least one for each neuron. There are weights, and synaptic delays, of
      these only; cost and memory grow with ``out_features`` times the most inputs of a neuron.
    - ``connections``: the same as a list of neuron and input of each connection, whole numbers
      ``(connections, 2)``, none twice, at least one for each neuron. The mask's come in the order
      of ``mask.nonzero()``.
    - ``learn``: names of constants that become parameters ``(out_features,)``. ``inf`` cannot be
      learned. A step that takes one out of its range makes the next call raise.
    - ``gradient``: ``"eventprop"`` or ``"fast_and_deep"`` (first spikes only).
    - ``on_overflow``: for a neuron with more than ``max_spikes`` spikes, ``"error"`` raises
      `SpikeOverflowError`, ``"warn"`` warns and ``"truncate"`` keeps the first ones; the first two
      wait for the device.
    - ``min_slope``: lower bound that gradients put on ``tau_mem dV/dt`` at a spike, as a fraction
      of ``|v_threshold - v_leak|``.
    - ``solver``: ``"lockstep"`` takes all neurons from event to event together, ``"chunked"`` only
      those that may spike, which is faster for many neurons and events; both find the same, to
      rounding. ``"auto"`` chooses by their numbers.
    - ``silent``: what a neuron without a spike gives in its first slot, in training and evaluation:
      ``"inf"``, or with ``"peak"``, for layers whose output goes to a loss and not to another
      layer, the time ``h t_peak + (1 - h) silent_time``, where ``h`` from 0 to 1 is the height of
      its highest voltage, from ``v_leak`` to ``v_threshold``, and ``t_peak`` the time of that. It
      goes on from the time of a spike that grazes the threshold, has an exact gradient while the
      voltage rises at all, and costs an `LI` read-out. `health_report` counts it as silent.
    - ``silent_time``: that of a neuron whose voltage never rises, seconds, at least
      ``t_max`` if that is finite; ``None`` for ``t_max``.
    - ``backend``: ``None``, the simulation; or hardware that runs the forward, in which gradients
      are those of the model at the observed spikes; see ``docs/hardware.md``, and
      `hardware.on_backend` for several layers in one run.
    - ``scaling``: factors between model and hardware, a `hardware.Scaling`; 1 by default.
    - ``device``, ``dtype``: of parameters and buffers; float32 or float64.

    **Parameters:** ``weight``, shape ``(out_features, in_features)``, or ``(connections,)``; a
    learnable ``delay``, seconds, shape ``(in_features,)`` if axonal, ``(out_features,)`` if
    dendritic, that of ``weight`` if synaptic; those named in ``learn``.

    **Shapes:** spike times ``(..., in_features, k)`` or ``Events`` ``(..., M)`` give spike times
    ``(..., out_features, max_spikes)``, ascending, ``inf`` where there is no spike.

    **References:** Wunderlich & Pehle 2021, doi:10.1038/s41598-021-91786-z (EventProp);
    Göltz et al. 2021, doi:10.1038/s42256-021-00388-x (Fast & Deep).
    """

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
        delay: Literal["axonal", "dendritic", "synaptic"] | float | Tensor | None = None,
        mask: Tensor | None = None,
        connections: Tensor | Sequence[Sequence[int]] | None = None,
        learn: Iterable[str] = (),
        gradient: Gradient = "eventprop",
        on_overflow: OnOverflow = "error",
        min_slope: float = 1e-3,
        solver: Solver = "auto",
        silent: Silent = "inf",
        silent_time: float | None = None,
        backend: Backend | None = None,
        scaling: Scaling | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        options = {name: value for name, value in locals().items() if name in DEFAULTS}
        if backend is None and scaling is not None:
            raise ValueError("scaling is for a backend; pass backend too, or leave scaling out")
        self.backend = backend
        self.scaling = None if backend is None else check_backend(backend, scaling)
        self.in_features = check_size(in_features, "in_features")
        self.out_features = check_size(out_features, "out_features")
        device, dtype = self.set_options(options, self.out_features)
        self.silent: Silent = silent
        self.silent_time = check_silent(silent, silent_time, self.t_max)
        shape = self.out_features, self.in_features
        pairs = connection_list(mask, connections, shape)
        if pairs is not None:
            self.sparse = Connected(pairs, shape, device)
        full = shape if pairs is None else (len(pairs),)
        self.weight = nn.Parameter(torch.empty(full, device=device, dtype=dtype))
        self._register_delay(delay, pairs, device, dtype)
        self._check_combinations()
        self.reset_parameters()

    def _register_delay(
        self,
        delay: Any,
        pairs: np.ndarray | None,
        device: torch.device | str | None,
        dtype: torch.dtype,
    ) -> None:
        shape = self.out_features, self.in_features
        kinds = {"axonal": self.in_features, "dendritic": self.out_features, "synaptic": shape}
        self.delay_type = register_delay(
            self, "delay", delay, kinds, pairs=pairs, device=device, dtype=dtype
        )

    def _check_combinations(self) -> None:
        if self.silent == "peak" and self.delay_type in ("dendritic", "synaptic"):
            raise ValueError(
                f"silent=\"peak\" does not go with delay={self.delay_type!r}; choose delay='axonal'"
            )
        if self.backend is not None and self.grows:
            raise ValueError("max_spikes='auto' is for simulations; choose a number with a backend")
        if self.backend is not None and self.delay_type == "synaptic":
            raise ValueError(
                "backend does not go with delay='synaptic': hardware has no delays of single "
                "connections; choose delay='axonal'"
            )

    def reset_parameters(self) -> None:
        """Draw new weights, such that most neurons spike, from torch's global random generator.

        They are normal with mean ``2 c`` and standard deviation ``sqrt(in_features) c``, where
        ``c`` is the weight with which coincident spikes of all inputs just reach the threshold:
        ``c = (v_threshold - v_leak) / (in_features max kappa)``, with the postsynaptic potential
        ``kappa``. So they fit one spike per input within about ``tau_syn``; for sparser or more
        frequent input, scale ``weight``. Delays and constants stay as they are.
        """
        spiking_weights_(self.weight, self.per_weight(self.critical_weight()), self.fan_in)

    def dense_parts(self, arriving: Tensor | Events, output: Tensor) -> list[DensePart]:
        connections = self.connections()
        if self.delay_type != "synaptic" or connections is None:
            return [DensePart(arriving, self.dense_weight(), output)]
        assert isinstance(arriving, Tensor)
        lists = lists_of(arriving, connections)
        rows = self.weight if self.sparse is None else self.sparse.rows(self.weight)
        outputs = output.reshape(-1, *output.shape[-2:])
        return [
            DensePart(one, row[None], outputs[:, n : n + 1], n)
            for n, (one, row) in enumerate(zip(lists, rows, strict=True))
        ]

    def from_backend(self, spikes: Tensor | Events) -> Tensor | None:
        if self.backend is None:
            return None
        scaling = check_backend(self.backend, self.scaling)
        return run_stack(Stack([self]), spikes, self.backend, scaling)

    def check_stateful(self) -> None:
        check_stateful(
            {
                "delay='dendritic'": self.delay_type == "dendritic",
                "backend": self.backend is not None,
                "silent='peak'": self.silent == "peak",
            }
        )

    def report(self, overflow: Tensor) -> None:
        delayed = self.delay_type == "dendritic"
        report_overflow(overflow, self.on_overflow, self.max_spikes, delayed=delayed)

    def trace(
        self,
        spikes: Tensor | Events,
        times: Tensor,
        *,
        output: Tensor | None = None,
        quantity: Quantity = "voltage",
    ) -> Tensor:
        if self.delay is None or self.delay_type != "dendritic":
            return super().trace(spikes, times, output=output, quantity=quantity)
        constants, weight = self.constants(), self.dense_weight()
        if output is None:
            out, _ = self.simulated(spikes)
            output = self.delay_output(out)
        self._check_rest()
        arguments = spikes, weight, output, times, nonnegative(self.delay)
        return delayed_trace(*arguments, **constants, quantity=quantity)

    trace.__doc__ = FeedForwardLIF.trace.__doc__

    def numbers(self) -> dict[str, Any]:
        kind = {} if self.delay_type is None else {"delay": self.delay_type}
        return {**super().numbers(), **kind}

    def extra_repr(self) -> str:
        parts = [
            f"{self.in_features}, {self.out_features}",
            constants_repr(self, CONSTANTS),
            f"{room_repr(self)}, t_max={self.t_max:g}, gradient={self.gradient!r}",
        ]
        if self.delay is not None and self.delay_type is not None:
            parts.append(delay_repr("delay", self.delay, self.delay_type))
        if self.sparse is not None:
            parts.append(f"connections={len(self.weight)}")
        parts += silent_repr(self.silent, self.silent_time)
        if self.backend is not None:
            parts.append(f"backend={self.backend.name!r}")
        return ", ".join(parts)

    def finish(
        self, arriving: Tensor | Events, out: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """What the layer gives, of its neurons' spikes: with dendritic delays or pseudo spikes."""
        if self.silent == "inf":
            return self.delay_output(out)
        weight = self.dense_weight() if weight is None else weight
        return with_pseudo_spikes(self, arriving, weight, out, self.silent_time)

    def delay_output(self, out: Tensor) -> Tensor:
        """Dendritic delays: later input shifts the spikes of a neuron that starts at rest.

        Spikes that come to lie after ``t_max`` are dropped.
        """
        if self.delay is None or self.delay_type != "dendritic":
            return out
        self._check_rest()
        delayed = functional.delay(out, nonnegative(self.delay))
        return torch.where(delayed > self.t_max, math.inf, delayed)

    def _check_rest(self) -> None:
        if values_are_checked() and bool(
            (torch.as_tensor(self.v_leak) >= torch.as_tensor(self.v_threshold)).any()
        ):
            raise ValueError(
                "v_leak must be below v_threshold with delay='dendritic': a neuron that spikes "
                "without input has no rest from which a delay could shift it; use delay='axonal'"
            )
