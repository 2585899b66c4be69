"""What a neuron is to the simulations: its motion between events, and what happens at a spike."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

State = TypeVar("State")
"""What changes in time, such as voltage and current: a pytree of arrays ``(batch, out)``."""
Flow = Any
"""What is needed to move a state on by some time, such as decay factors: a pytree."""
TRIAL_END = -1
"""The port of what models with `Neuron.goes_on` receive at ``t_max``, with a drive of 0."""


class Found(Protocol):
    """A crossing; whatever `Neuron.solve` needs may be with it. A NamedTuple."""

    @property
    def exists(self) -> Array:
        """Whether there is one."""
        ...

    def _replace(self, *, exists: Array) -> Any: ...


def can_rest(neuron: Any) -> bool:
    """Whether a refractory period is among a model's constants."""
    return "refractory" in getattr(neuron, "__dataclass_fields__", {})


def variables(state: Any) -> dict[str, Any]:
    """The variables of a state by name, if they have names."""
    return state if isinstance(state, dict) else getattr(state, "_asdict", dict)()


class Neuron(ABC, Generic[State]):
    """A neuron model, and a pytree: its constants are leaves, each a scalar or ``(out,)``.

    Times are in seconds and counted from the state's time. What is not abstract has a default,
    which a model overrides where it knows better. Attributes that are no leaves are fixed when a
    layer is compiled.
    """

    infinite: ClassVar[tuple[str, ...]] = ("refractory",)
    """Names of the constants that may be infinite."""
    without_peaks: ClassVar[str] = (
        "give the model a method `highest`, or raise the voltages of its trace"
    )
    """What to do where the highest voltage is wanted of a model without `highest`."""

    @property
    def once(self) -> bool:
        """Whether each neuron spikes once at most."""
        return False

    @property
    def pauses(self) -> bool:
        """Whether any has a refractory period and may spike again."""
        return False

    @property
    def spikes_at_arrival(self) -> bool:
        """Whether an input may itself lift the voltage over the threshold. A spike at the time of
        an event then moves with it."""
        return False

    @property
    def refractory(self) -> Array | float:
        """The refractory period."""
        return 0.0

    @property
    def goes_on(self) -> bool:
        """Whether it goes on after ``t_max`` until each neuron has ``max_spikes`` spikes."""
        return False

    @property
    def needs_end(self) -> bool:
        """Whether it can only be simulated for a finite time."""
        return False

    @abstractmethod
    def start(self) -> State:
        """The state at the beginning, each leaf a scalar or ``(out,)``."""

    @abstractmethod
    def flow(self, u: Array) -> Flow:
        """What happens in a time ``u``, finite and >= 0."""

    @abstractmethod
    def go(self, state: State, flow: Flow) -> State:
        """The state after the time that ``flow`` was made for, if nothing happens meanwhile."""

    @abstractmethod
    def receive(self, state: State, drive: Array, port: Array) -> State:
        """The state after an input event of weight ``drive``, through synapses of kind ``port``.

        **Arguments:** ``port``: int32, a scalar, ``(batch, 1)`` or ``(batch, out)``; 0 unless the
        layer has inputs of several kinds.
        """

    @abstractmethod
    def excess(self, state: State) -> Array:
        """By how much the voltage exceeds the threshold."""

    @abstractmethod
    def find(self, state: State, u_end: Array, flow: Flow) -> Found:
        """Whether and where the excess first rises through 0 within ``[0, u_end)``.

        ``flow`` is that over ``u_end``, or over 0 where ``u_end`` is ``inf``.
        """

    @abstractmethod
    def solve(self, state: State, found: Any) -> Array:
        """The time of a crossing that was found; 0 where none exists."""

    @abstractmethod
    def jump(self, state: State) -> State:
        """The state just after a spike."""

    def check(self) -> None:
        """Raise a ``ValueError`` where a constant whose value is known is out of its range."""

    def voltage(self, state: State) -> Array:
        """The membrane voltage; here as far as all models have one, measured from the threshold."""
        return self.excess(state)

    def quantity(self, state: State, name: str) -> Array:
        """The ``"voltage"``, or the variable of the state with this name, as it is there."""
        return self.voltage(state) if name == "voltage" else variables(state)[name]

    @property
    def is_shared(self) -> bool:
        """Whether the flow over some time is the same for all neurons."""
        return all(jnp.ndim(leaf) == 0 for leaf in jax.tree.leaves(self))

    @property
    def scale(self) -> Array | float:
        """An ordinary slope of the excess, per second, of which ``min_slope`` is a fraction."""
        return 0.0

    def slope(self, state: State) -> Array:
        """How fast the excess rises, per second."""

        def later(u: Array) -> Array:
            return self.excess(self.go(state, self.flow(u)))

        now = jnp.zeros_like(self.excess(state))
        return jax.jvp(later, (now,), (jnp.ones_like(now),))[1]

    def highest(self, state: State, u_end: Array) -> Array:
        """When within ``[0, u_end]`` the excess is highest, of equal times the first.

        ``u_end`` is finite. Nothing differentiates it. `spiking_peak` needs it, spikes do not.
        """
        raise NotImplementedError(self.without_peaks)

    def crosses(self, state: State, u_end: Array, flow: Flow) -> Array:
        """What `find` says of existence, where that is all one wants to know."""
        return self.find(state, u_end, flow).exists

    def after(self, state: State, flow: Flow, found: Any) -> State:
        """What `go` gives, after a search in which nothing was found."""
        return self.go(state, flow)

    def at(self, state: State, u: Array) -> State:
        """The state at a crossing, or at the end of a refractory period, a time ``u`` later."""
        return self.go(state, self.flow(u))

    def hold(self, state: State) -> State:
        """The state with the voltage that it has while refractory."""
        return self.jump(state)

    def held(self, before: State, moved: State, u: Array) -> State:
        """The state after a time ``u`` in the refractory period.

        ``moved``: what it would be, had the neuron not been held since ``before``.
        """
        return self.hold(moved)
