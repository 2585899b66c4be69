"""What all plasticity rules have in common: their call, batches, and pieces of streams."""

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._compiled import compiled
from .._events import Events
from .._validate import known
from ..spikes._convert import spike_times_from_events
from ._check import Call, check_call, state_shapes
from ._state import PlasticityState

Reduction = Literal["none", "mean", "sum"]

_AT_ONCE = 1 << 22
"""So many pairs of a spike and a connection are held in memory together."""


class Sample(NamedTuple):
    """One sample as a rule sees it. Spikes after ``t_max`` are gone."""

    weight: Array
    """``(out, in)``."""
    pre: Array
    """``(in, k)``."""
    post: Array
    """``(out, m)``."""
    state: PlasticityState
    t_max: Array | float
    signal: Array | None
    """Rewards ``(R,)``, or learning signals ``(out, R)``."""
    signal_times: Array | None
    """When they come, ``(R,)``."""


class Rule:
    """Base of the plasticity rules: frozen dataclasses, and pytrees of their numbers.

    A rule changes weights ``(out, in)`` by the spikes of the neurons at both ends of the
    connections. Where a presynaptic and a postsynaptic spike come at the same time, the
    presynaptic one comes first, as input does in the simulation.
    """

    w_min: float
    w_max: float
    signal: ClassVar[str | None] = None
    """Name of the argument with rewards or learning signals, if it takes such."""
    traces: ClassVar[tuple[int, int]] = 0, 0
    """How many there are of a presynaptic and a postsynaptic neuron."""
    has_eligibility: ClassVar[bool] = False

    def __call__(
        self,
        weight: Any,
        pre: Any,
        post: Any,
        *,
        reduction: Reduction = "mean",
        t_max: float = math.inf,
        state: Any = None,
        return_state: bool = False,
        validate: bool = True,
        **signals: Any,
    ) -> Any:
        """The change of the weights by the spikes of a batch.

        **Arguments:**

        - ``weight``: ``(out, in)``; or of each sample, ``(..., out, in)``, which matters to rules
          whose change depends on it.
        - ``pre``: spikes of the inputs, as they arrive, seconds, ``(..., in, k)``, ascending,
          ``inf`` where there is no spike; or `Events` ``(..., M)``.
        - ``post``: spikes of the neurons, likewise: ``(..., out, m)`` or `Events`.
        - ``reduction``: of the samples' changes, each from the same weights: ``"mean"``, ``"sum"``,
          or ``"none"``, which keeps the batch.
        - ``t_max``: where the piece ends, seconds; later spikes and rewards do not count.
        - ``state``: the `PlasticityState` to begin with, an earlier call's, whose end is this one's
          time 0, so that pieces give what one run gives. ``None``: nothing happened before.
        - ``return_state``: also return the state at ``t_max``, which must be finite then.
        - ``validate``: whether to check values (shapes and dtypes are always checked).
        - ``signals``: rewards or learning signals, of rules that take such.

        **Returns:** the change ``(out, in)``, or ``(..., out, in)`` unreduced; with
        ``return_state`` a tuple of it and the state.

        **Raises:** ``TypeError`` or ``ValueError`` naming the argument.
        """
        signal, times = named_signal(self, signals)
        call = Call(weight, pre, post, signal, times, state)
        check_call(self, call, reduction, t_max, return_state, values=validate)
        weight = jnp.asarray(weight)
        pre = _spike_times(pre, weight.shape[-1])
        post = _spike_times(post, weight.shape[-2])
        signal, times = (x if x is None else jnp.asarray(x, weight.dtype) for x in (signal, times))
        if state is not None:
            state = jax.tree.map(jnp.asarray, state)
        change, end = change_of(
            self, weight, pre, post, (signal, times), state, t_max, reduction, return_state
        )
        return (change, end) if return_state else change

    def learn(self, sample: Sample) -> tuple[Array, PlasticityState]:
        """The change by one sample, ``(out, in)``, and the state at its end."""
        raise NotImplementedError

    @property
    def is_sequential(self) -> bool:
        """Whether it goes from spike to spike, so that samples are taken one by one."""
        return False

    @property
    def has_reward_trace(self) -> bool:
        """Whether rewards go on to act for some time."""
        return False

    def needs_end(self, has_times: bool) -> bool:
        """Whether ``t_max`` must be finite; ``has_times``: whether it is said when signals come."""
        return False

    def start(self, batch: tuple[int, ...], weight: Any) -> PlasticityState:
        """The state in which nothing has happened."""
        shapes = state_shapes(self, batch, *weight.shape[-2:])
        return PlasticityState(
            *(None if shape is None else jnp.zeros(shape, weight.dtype) for shape in shapes)
        )


def named_signal(rule: Rule, signals: dict[str, Any]) -> tuple[Any, Any]:
    """The values and times among further arguments, ``None`` where not given."""
    name = rule.signal
    wrong = sorted(set(signals) - {name, f"{name}_times"})
    if wrong:
        takes = f"{name} and {name}_times" if name else "neither rewards nor learning signals"
        raise TypeError(f"{wrong[0]} is no argument of {type(rule).__name__}, which takes {takes}")
    return signals.get(f"{name}"), signals.get(f"{name}_times")


def _spike_times(spikes: Any, neurons: int) -> Array:
    """Spike times as they are, or of events with room for the most that a neuron has."""
    if not isinstance(spikes, Events):
        return jnp.asarray(spikes)
    most = spikes.time.shape[-1]
    if known(spikes.index) and spikes.index.size and neurons:
        alone = jnp.asarray(spikes.index).reshape(-1, most)
        counts = jax.vmap(lambda one: jnp.bincount(one + 1, length=neurons + 1))(alone)
        most = int(counts[:, 1:].max())
    return spike_times_from_events(spikes, neurons, max(most, 1), validate=False)


@compiled("plasticity", static_argnums=(7, 8))
def change_of(
    rule: Rule,
    weight: Array,
    pre: Array,
    post: Array,
    signals: tuple[Array | None, Array | None],
    state: PlasticityState | None,
    t_max: Array | float,
    reduction: Reduction,
    return_state: bool,
) -> tuple[Array, PlasticityState | None]:
    batch = pre.shape[:-2]
    pre, post = (jnp.where(spikes <= t_max, spikes, jnp.inf) for spikes in (pre, post))
    state = rule.start(batch, weight) if state is None else state
    signal, times = _at_times(rule, *signals, batch, t_max)
    own = None if weight.ndim == 2 else weight
    samples = jax.tree.map(
        lambda x: x.reshape(math.prod(batch), *x.shape[len(batch) :]),
        (own, pre, post, state, signal, times),
    )

    def learn(one: Any) -> tuple[Array, PlasticityState | None]:
        own, pre, post, state, signal, times = one
        of_sample = weight if own is None else own
        change, end = rule.learn(Sample(of_sample, pre, post, state, t_max, signal, times))
        return change, end if return_state else None

    found = jax.tree.map(
        lambda x: x.reshape(*batch, *x.shape[1:]), _for_each(rule, weight, learn, samples)
    )
    return _reduced(found[0], reduction), found[1]


def _for_each(rule: Rule, weight: Array, learn: Callable[[Any], Any], samples: Any) -> Any:
    """``learn`` of each of ``samples``, together as far as there is memory."""
    _, pre, post, *_ = samples
    pairs = weight.shape[-1] * weight.shape[-2] * (pre.shape[-1] + post.shape[-1])
    if rule.is_sequential and len(pre):
        return lax.map(learn, samples)
    if 0 in (*pre.shape, *post.shape) or len(pre) * pairs <= _AT_ONCE:
        return jax.vmap(learn)(samples)
    return lax.map(learn, samples, batch_size=max(_AT_ONCE // pairs, 1))


def _at_times(
    rule: Rule,
    signal: Array | None,
    times: Array | None,
    batch: tuple[int, ...],
    t_max: Array | float,
) -> tuple[Array | None, Array | None]:
    """Signals with an axis of times, the end of the sample if none are given."""
    if signal is None or times is not None:
        return signal, times
    # A number is the same for all samples.
    signal = jnp.broadcast_to(signal, batch) if signal.ndim < len(batch) else signal
    # Without an end, after all spikes, of which then only the order matters.
    end = jnp.minimum(jnp.asarray(t_max, signal.dtype), jnp.finfo(signal.dtype).max)
    return signal[..., None], jnp.broadcast_to(end, (*batch, 1))


def _reduced(change: Array, reduction: Reduction) -> Array:
    if reduction == "none":
        return change
    axes = tuple(range(change.ndim - 2))
    samples = max(math.prod(change.shape[:-2]), 1)
    return change.sum(axes) / (samples if reduction == "mean" else 1)
