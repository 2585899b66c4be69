"""The LIF layer as a module."""

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ...jax_core import Events
from ...jax_core.hardware import Backend, Scaling
from .. import functional
from .._validate import check_dtype, check_size, values_are_checked
from ..backend._scaling import check_backend
from ..backend._stack import Stack, run_stack
from ..functional._lif import Gradient, Quantity, check_settings, spikes_once
from ..functional._observed import delayed_trace
from ._constants import Constant, constants_repr, register_constants
from ._delay_parameter import delay_repr, nonnegative, register_delay
from ._initialisation import spiking_weights_
from ._neuron_layer import CONSTANTS, NeuronLayer
from ._overflow import OnOverflow, report_overflow
from ._pseudo_spikes import Silent, check_silent, silent_repr, with_pseudo_spikes


class LIF(NeuronLayer):
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
    - ``max_spikes``: room for this many output spikes per neuron.
    - ``t_max``: end of the simulation, seconds; later spikes are not emitted.
    - ``delay``: ``None``; a fixed delay of all inputs, seconds, >= 0, a number or a tensor
      ``(in_features,)``, which becomes a buffer; ``"axonal"``: each input has its learnable delay;
      or ``"dendritic"``: each neuron delays all of its inputs, for neurons that have a rest
      (``v_leak < v_threshold``). Learnable delays start at 0 and stay >= 0 as those of `Delay`.
      ``max_spikes`` and `health_report` count without regard to dendritic delays: spikes before
      ``t_max`` need room, also those that their delay moves beyond it.
    - ``learn``: names of constants that become parameters ``(out_features,)``. ``inf`` cannot be
      learned. A step that takes one out of its range makes the next call raise.
    - ``gradient``: ``"eventprop"`` or ``"fast_and_deep"`` (first spikes only).
    - ``on_overflow``: for a neuron with more than ``max_spikes`` spikes, ``"error"`` raises
      `SpikeOverflowError`, ``"warn"`` warns and ``"truncate"`` keeps the first ones; the first two
      wait for the device.
    - ``min_slope``: lower bound that gradients put on ``tau_mem dV/dt`` at a spike, as a fraction
      of ``|v_threshold - v_leak|``.
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

    **Parameters:** ``weight``, shape ``(out_features, in_features)``; a learnable ``delay``,
    seconds, shape ``(in_features,)`` if axonal, ``(out_features,)`` if dendritic; those named in
    ``learn``.

    **Shapes:** spike times ``(..., in_features, k)`` or ``Events`` ``(..., M)`` give spike times
    ``(..., out_features, max_spikes)``, ascending, ``inf`` where there is no spike.

    **References:** Wunderlich & Pehle 2021, doi:10.1038/s41598-021-91786-z (EventProp);
    Göltz et al. 2021, doi:10.1038/s42256-021-00388-x (Fast & Deep).
    """

    delay: Tensor | None

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
        max_spikes: int = 1,
        t_max: float = math.inf,
        delay: Literal["axonal", "dendritic"] | float | Tensor | None = None,
        learn: Iterable[str] = (),
        gradient: Gradient = "eventprop",
        on_overflow: OnOverflow = "error",
        min_slope: float = 1e-3,
        silent: Silent = "inf",
        silent_time: float | None = None,
        backend: Backend | None = None,
        scaling: Scaling | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        dtype = check_dtype(dtype)
        if backend is None and scaling is not None:
            raise ValueError("scaling is for a backend; pass backend too, or leave scaling out")
        self.backend = backend
        self.scaling = None if backend is None else check_backend(backend, scaling)
        check_settings(max_spikes, t_max, gradient, min_slope, on_overflow, refractory)
        self.in_features = check_size(in_features, "in_features")
        self.out_features = check_size(out_features, "out_features")
        self.max_spikes, self.t_max = max_spikes, float(t_max)
        self.gradient: Gradient = gradient
        self.on_overflow: OnOverflow = on_overflow
        self.min_slope = float(min_slope)
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
        self.weight = nn.Parameter(
            torch.empty(out_features, in_features, device=device, dtype=dtype)
        )
        kinds = {"axonal": self.in_features, "dendritic": self.out_features}
        self.delay_type = register_delay(self, "delay", delay, kinds, device=device, dtype=dtype)
        if silent == "peak" and self.delay_type == "dendritic":
            raise ValueError(
                "silent=\"peak\" does not go with delay='dendritic'; choose delay='axonal'"
            )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights, such that most neurons spike, from torch's global random generator.

        They are normal with mean ``2 c`` and standard deviation ``sqrt(in_features) c``, where
        ``c`` is the weight with which coincident spikes of all inputs just reach the threshold:
        ``c = (v_threshold - v_leak) / (in_features max kappa)``, with the postsynaptic potential
        ``kappa``. So they fit one spike per input within about ``tau_syn``; for sparser or more
        frequent input, scale ``weight``. Delays and constants stay as they are.
        """
        spiking_weights_(self.weight, self.critical_weight())

    def forward(self, spikes: Tensor | Events) -> Tensor:
        if self.backend is not None:
            scaling = check_backend(self.backend, self.scaling)
            return run_stack(Stack([self]), spikes, self.backend, scaling)
        arriving = self.delay_input(spikes)
        out, health = functional.lif(
            arriving,
            self.weight,
            **self.constants(),
            max_spikes=self.max_spikes,
            t_max=self.t_max,
            gradient=self.gradient,
            min_slope=self.min_slope,
            return_health=True,
        )
        self.remember(out.shape[:-2].numel(), health)
        self.remember_late(arriving)
        if not spikes_once(self.refractory):
            delayed = self.delay_type == "dendritic"
            report_overflow(health.overflow, self.on_overflow, self.max_spikes, delayed=delayed)
        self.remember_call(arriving, out)
        return self.finish(arriving, self.weight, out)

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

        **Returns:** voltages or currents, shape ``(..., out_features, T)``.
        """
        settings = {
            "max_spikes": self.max_spikes,
            "t_max": self.t_max,
            "min_slope": self.min_slope,
            "on_overflow": self.on_overflow,
        }
        constants = self.constants()
        if self.delay is None or self.delay_type != "dendritic":
            arguments = self.delay_input(spikes), self.weight, times
            options = {"output": output, "quantity": quantity}
            return functional.lif_trace(*arguments, **options, **constants, **settings)
        if output is None:
            output = self.delay_output(functional.lif(spikes, self.weight, **constants, **settings))
        self._check_rest()
        arguments = spikes, self.weight, output, times, nonnegative(self.delay)
        return delayed_trace(*arguments, **constants, quantity=quantity)

    def numbers(self) -> dict[str, Any]:
        kind = {} if self.delay_type is None else {"delay": self.delay_type}
        return {**super().numbers(), **kind}

    def extra_repr(self) -> str:
        parts = [
            f"{self.in_features}, {self.out_features}",
            constants_repr(self, CONSTANTS),
            f"max_spikes={self.max_spikes}, t_max={self.t_max:g}, gradient={self.gradient!r}",
        ]
        if self.delay is not None and self.delay_type is not None:
            parts.append(delay_repr("delay", self.delay, self.delay_type))
        parts += silent_repr(self.silent, self.silent_time)
        if self.backend is not None:
            parts.append(f"backend={self.backend.name!r}")
        return ", ".join(parts)

    def delay_input(self, spikes: Tensor | Events) -> Tensor | Events:
        """Input spikes as they arrive, later by axonal delays."""
        if self.delay is None or self.delay_type != "axonal":
            return spikes
        return functional.delay(spikes, nonnegative(self.delay))

    def finish(self, arriving: Tensor | Events, weight: Tensor, out: Tensor) -> Tensor:
        """What the layer gives, of its neurons' spikes: with dendritic delays or pseudo spikes."""
        if self.silent == "inf":
            return self.delay_output(out)
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
