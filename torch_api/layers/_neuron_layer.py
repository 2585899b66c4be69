"""What all layers of leaky integrate-and-fire neurons have in common."""

from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar, overload

import torch
from torch import Tensor, nn

from ...jax_core import Events
from ._checkpoint import RecordsNumbers
from ._constants import Constant, constant_numbers
from ._health import SpikingLayer
from ._initialisation import critical_weight
from ._input_counts import input_counts
from ._overflow import OnOverflow
from ._pieces import run_piece

if TYPE_CHECKING:
    from ._connection_list import Connected

State = TypeVar("State")

CONSTANTS = ("tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset", "refractory")

LI_CONSTANTS = ("tau_mem", "tau_syn", "v_leak")
"""Those that a neuron without a threshold has."""


class WeightedLayer(SpikingLayer, RecordsNumbers):
    """Base of the layers whose neurons have weighted input."""

    in_features: int
    out_features: int
    t_max: float
    weight: nn.Parameter
    rescues: Tensor | None = None
    """How many times in a row `rescue_silent_` raised each neuron's weights, ``(out,)``."""

    def per_weight(self, x: Tensor) -> Tensor:
        """Values of neurons, ``(out_features,)`` or ``()``, such that they go with ``weight``."""
        return x.reshape(-1, *[1] * (self.weight.ndim - 1))

    def dense_weight(self) -> Tensor:
        """The weights as a matrix ``(out_features, in_features)``."""
        return self.weight

    def delay_input(self, spikes: Tensor | Events) -> Tensor | Events:
        """Input spikes as they arrive."""
        return spikes

    def arguments(self) -> dict[str, Any]:
        """What the layer's function takes beside the spikes that arrive, by name."""
        raise NotImplementedError

    def note(self, arriving: Tensor | Events, out: Tensor, health: Any) -> None:
        """Keep the counts of a forward; ``health``: `Health` of layers that spike."""
        raise NotImplementedError

    def report_lost(self, health: Any) -> None:
        """Raise or warn of neurons with more spikes than room, as the layer was told to.

        By itself, as torch's compiler cannot go on in what called this with spikes at hand.
        """

    def finish(
        self, arriving: Tensor | Events, out: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """What the layer gives, of what its neurons do.

        ``weight``: the matrix ``(out, in)`` that they do it with, if not the layer's own.
        """
        return out

    def counts_of_inputs(self, spikes: Tensor | Events) -> Tensor:
        """How many spikes arrive from each input of a neuron, float64 ``(samples, inputs)``."""
        arriving = self.delay_input(spikes)
        counts = input_counts(arriving, self.in_features, self.t_max, torch.float64)
        return counts.reshape(-1, self.in_features)

    def by_neuron(self, out: Tensor) -> Tensor:
        """Output spikes ``(samples, out_features, max_spikes)``."""
        return out.reshape(-1, *out.shape[-2:])


class ConnectedLayer(WeightedLayer):
    """Base of the layers whose connections to the input may be a fixed list."""

    sparse: "Connected | None"
    """Fixed connections to the input, with one weight each; ``None`` for all-to-all."""

    @property
    def fan_in(self) -> float:
        """How many inputs a neuron has, on average."""
        return self.in_features if self.sparse is None else self.sparse.fan_in

    def per_weight(self, x: Tensor) -> Tensor:
        return super().per_weight(x) if self.sparse is None else self.sparse.per_weight(x)

    def dense_weight(self) -> Tensor:
        """The weights as a matrix ``(out_features, in_features)``, 0 without a connection."""
        return self.weight if self.sparse is None else self.sparse.dense(self.weight)

    def counts_of_inputs(self, spikes: Tensor | Events) -> Tensor:
        counts = super().counts_of_inputs(spikes)
        return counts if self.sparse is None else self.sparse.by_list(counts)

    def by_neuron(self, out: Tensor) -> Tensor:
        out = super().by_neuron(out)
        return out if self.sparse is None else out.flatten(0, 1).unsqueeze(1)


class DensePart(NamedTuple):
    """Some neurons of a layer as one that is fully connected to its input."""

    arriving: Tensor | Events
    weight: Tensor
    """``(neurons, inputs)``."""
    output: Tensor
    """What the layer gave for them, ``(..., neurons, max_spikes)``."""
    first: int = 0
    """Index of the first of them in the layer's constants."""


class NeuronLayer(ConnectedLayer, Generic[State]):
    """Base of the layers of spiking neurons: constants, and the scale of weights."""

    tau_mem: Constant
    tau_syn: Constant
    v_threshold: Constant
    v_leak: Constant
    v_reset: Constant
    refractory: Constant
    on_overflow: OnOverflow
    silent: Literal["inf", "peak"]
    silent_time: float

    @overload
    def forward(
        self,
        spikes: Tensor | Events,
        state: State | None = ...,
        current: Constant | None = ...,
        *,
        return_state: Literal[False] = ...,
    ) -> Tensor: ...
    @overload
    def forward(
        self,
        spikes: Tensor | Events,
        state: State | None = ...,
        current: Constant | None = ...,
        *,
        return_state: Literal[True],
    ) -> tuple[Tensor, State]: ...
    def forward(
        self,
        spikes: Tensor | Events,
        state: State | None = None,
        current: Constant | None = None,
        return_state: bool = False,
    ) -> Tensor | tuple[Tensor, State]:
        """Spikes of the layer; with ``return_state`` a tuple of them and the state at ``t_max``.

        **Arguments:** ``spikes``: the input; ``state``, ``current``, ``return_state``: see
        `functional.lif`; with delays of the input a `DelayedState`. Not with dendritic delays, a
        backend, or ``silent="peak"``.
        """
        if return_state or state is not None or current is not None:
            self.check_stateful()
            return run_piece(self, spikes, state, return_state, current=current)
        observed = self.from_backend(spikes)
        if observed is not None:
            return observed
        arriving = self.delay_input(spikes)
        out, health = self.simulated(arriving)
        self.note(arriving, out, health)
        self.report_lost(health)
        self.remember_call(arriving, out)
        return self.finish(arriving, out)

    def simulated(self, arriving: Tensor | Events, **options: Any) -> tuple[Any, ...]:
        """Spikes, health, and the state if asked for, with room that grows if it may."""
        raise NotImplementedError

    def from_backend(self, spikes: Tensor | Events) -> Tensor | None:
        """Spikes of the hardware that runs the layer; ``None`` without such."""
        return None

    def check_stateful(self) -> None:
        """Raise where the layer cannot start in the middle of something, or under a current."""

    def constants(self) -> dict[str, Any]:
        """The neuron constants by name, as `functional.lif` takes them."""
        return {name: getattr(self, name) for name in CONSTANTS}

    def numbers(self) -> dict[str, Any]:
        late = {"silent_time": self.silent_time} if self.silent == "peak" else {}
        return {**constant_numbers(self, CONSTANTS), "t_max": self.t_max, **late}

    def critical_weight(self) -> Tensor:
        """The weight with which coincident spikes of all inputs just reach the threshold.

        **Returns:** float64, shape ``()`` or ``(out_features,)``. A neuron with its leak over the
        threshold has none: the distance from reset to threshold is taken for the height.
        """
        return self.weight_scale(self.fan_in)

    def weight_scale(self, spikes: float) -> Tensor:
        """The weight with which that many coincident spikes just reach the threshold."""
        threshold, leak, reset = (
            torch.as_tensor(value, dtype=torch.float64).detach()
            for value in (self.v_threshold, self.v_leak, self.v_reset)
        )
        height = torch.where(leak < threshold, threshold - leak, threshold - reset)
        return critical_weight(spikes, self.tau_mem, self.tau_syn, height)

    def dense_parts(self, arriving: Tensor | Events, output: Tensor) -> list[DensePart]:
        """The layer as parts that are fully connected, with what arrived and what it gave."""
        return [DensePart(arriving, self.dense_weight(), output)]


_WHY = {
    "delay='dendritic'": "spikes that such a delay moves beyond t_max are dropped",
    "delay='synaptic'": "where neurons are connected to each other, spikes on their way to some of "
    "them cannot be kept; delay='axonal' can be",
    "recurrent_delay='synaptic'": "spikes on their way to some neurons cannot be kept; "
    "recurrent_delay='axonal' can be",
    "backend": "hardware begins each run at rest, and does not say in which state it ends",
    "silent='peak'": "what a neuron gives for its highest voltage is that of a whole trial, and in "
    "a piece it may be silent though it spikes in others",
}
"""Why layers with something cannot stop and start in the middle."""


def check_stateful(
    present: dict[str, bool], options: str = "state, return_state and current"
) -> None:
    """Raise if a layer has something with which it cannot stop and start in the middle.

    **Arguments:** ``present``: whether each of the keys of `_WHY` is there.
    """
    for name, is_there in present.items():
        if is_there:
            raise ValueError(
                f"{options} are for layers without {name}: {_WHY[name]}; leave that out, or run "
                f"the stream in one piece"
            )
