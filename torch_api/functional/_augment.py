"""Noise on spikes, for training: drop them, move them, add further ones."""

import math
import numbers
from typing import Literal, overload

import torch
from torch import Tensor

from ...jax_core import Events
from ...jax_core._validate import check_duration, check_integer
from .._validate import check_spikes
from ..layers._overflow import OnOverflow
from ._random import arrivals, normal, uniform
from ._room import check_room, slots, with_room
from ._sorting import sorted_spikes, without

BelowZero = Literal["clamp", "reflect"]


@overload
def spike_dropout(
    spikes: Tensor, p: float, *, generator: torch.Generator | None = ...
) -> Tensor: ...
@overload
def spike_dropout(
    spikes: Events, p: float, *, generator: torch.Generator | None = ...
) -> Events: ...
def spike_dropout(
    spikes: Tensor | Events, p: float, *, generator: torch.Generator | None = None
) -> Tensor | Events:
    """Let each spike vanish with probability ``p``, independently of the others.

    **Arguments:** ``spikes``: spike times ``(..., neurons, k)`` or ``Events``, seconds; ``p``: in
    [0, 1]; ``generator``: of the random numbers, ``None`` for torch's own.

    **Returns:** the spikes left, in the form and shape they came in. Differentiable in the times.
    """
    check_probability(p)
    times, index = _parts(spikes)
    return without(uniform(times.shape, times, generator) < p, times, index)


@overload
def spike_jitter(
    spikes: Tensor,
    std: float,
    *,
    below_zero: BelowZero = ...,
    generator: torch.Generator | None = ...,
) -> Tensor: ...
@overload
def spike_jitter(
    spikes: Events,
    std: float,
    *,
    below_zero: BelowZero = ...,
    generator: torch.Generator | None = ...,
) -> Events: ...
def spike_jitter(
    spikes: Tensor | Events,
    std: float,
    *,
    below_zero: BelowZero = "clamp",
    generator: torch.Generator | None = None,
) -> Tensor | Events:
    """Move each spike by a normal random time of its own.

    **Arguments:**

    - ``spikes``: spike times ``(..., neurons, k)`` or ``Events``, seconds.
    - ``std``: standard deviation, seconds, >= 0.
    - ``below_zero``: what becomes of a spike that would come before 0: ``"clamp"`` puts it at 0,
      where it has gradient 0; ``"reflect"`` at the time's absolute value, with gradient -1.
    - ``generator``: of the random numbers, ``None`` for torch's own.

    **Returns:** spikes in the form and shape they came in, sorted anew; a missing one stays
    missing. Differentiable in the times.
    """
    check_jitter(std, below_zero)
    times, index = _parts(spikes)
    moved = times + std * normal(times.shape, times, generator)
    # Not `abs`, which has no gradient at 0.
    early = moved.clamp(min=0) if below_zero == "clamp" else -moved
    moved = torch.where(moved < 0, early, moved)
    return sorted_spikes(torch.where(times == math.inf, math.inf, moved), index)


@overload
def spike_shift(
    spikes: Tensor, max_shift: float, *, generator: torch.Generator | None = ...
) -> Tensor: ...
@overload
def spike_shift(
    spikes: Events, max_shift: float, *, generator: torch.Generator | None = ...
) -> Events: ...
def spike_shift(
    spikes: Tensor | Events, max_shift: float, *, generator: torch.Generator | None = None
) -> Tensor | Events:
    """Move all spikes of a sample by one random time, uniform in ``[-max_shift, max_shift]``.

    Distances between spikes stay: a shift that would bring the first spike of a sample before 0
    brings it to 0 instead.

    **Arguments:** ``spikes``: spike times ``(..., neurons, k)`` or ``Events``, seconds;
    ``max_shift``: seconds, >= 0; ``generator``: of the random numbers, ``None`` for torch's own.

    **Returns:** spikes in the form and shape they came in. Differentiable in the times; in a sample
    whose shift is limited, times are those since its first spike.
    """
    check_duration(max_shift, "max_shift", infinite=False)
    times, index = _parts(spikes)
    if 0 in times.shape[-2 if index is None else -1 :]:
        return spikes
    first = times[..., :1] if index is not None else times[..., :1].amin(dim=-2, keepdim=True)
    shift = max_shift * (2 * uniform(first.shape, times, generator) - 1)
    # Not `maximum`, which shares its gradient among equals.
    shift = torch.where(shift < -first, -first, shift)
    shifted = torch.where(times == math.inf, math.inf, times + shift)
    return shifted if index is None else Events(shifted, index)


@overload
def spike_insertion(
    spikes: Tensor,
    rate: float,
    t_max: float,
    neurons: int | None = ...,
    *,
    max_inserted: int | None = ...,
    on_overflow: OnOverflow = ...,
    generator: torch.Generator | None = ...,
) -> Tensor: ...
@overload
def spike_insertion(
    spikes: Events,
    rate: float,
    t_max: float,
    neurons: int | None = ...,
    *,
    max_inserted: int | None = ...,
    on_overflow: OnOverflow = ...,
    generator: torch.Generator | None = ...,
) -> Events: ...
def spike_insertion(
    spikes: Tensor | Events,
    rate: float,
    t_max: float,
    neurons: int | None = None,
    *,
    max_inserted: int | None = None,
    on_overflow: OnOverflow = "error",
    generator: torch.Generator | None = None,
) -> Tensor | Events:
    """Add spikes at random times, Poisson of ``rate`` in each neuron, within ``[0, t_max]``.

    **Arguments:**

    - ``spikes``: spike times ``(..., neurons, k)`` or ``Events`` ``(..., M)``, seconds.
    - ``rate``: Hz, >= 0; 0 leaves the spikes as they are.
    - ``t_max``: seconds, > 0.
    - ``neurons``: number of neurons; needed for ``Events``, which do not say.
    - ``max_inserted``: room for this many further spikes, of each neuron in a tensor, of each
      sample in ``Events``. ``None`` takes enough for all but one in 1e9 draws, rounded up to one of
      few sizes, as each size that a layer sees is compiled anew.
    - ``on_overflow``: what to do about spikes beyond a ``max_inserted`` that is given: ``"error"``,
      ``"warn"``, or ``"truncate"``, which keeps the first ones.
    - ``generator``: of the random numbers, ``None`` for torch's own.

    **Returns:** spike times ``(..., neurons, k + room)`` or ``Events`` ``(..., M + room)``.
    Differentiable in the times given.
    """
    check_insertion(rate, t_max, neurons, max_inserted, on_overflow)
    times, index = _parts(spikes, neurons)
    if index is not None:
        if neurons is None:
            raise ValueError("neurons must say how many neurons there are, as Events do not")
        rate = rate * neurons
    if rate == 0:
        return spikes
    room, drawn = slots(rate * t_max, max_inserted, on_overflow)
    added = arrivals((*times.shape[:-1], drawn), times, generator) / rate
    added = torch.where(added <= t_max, added, math.inf)
    added = with_room(added, room, "max_inserted", on_overflow)
    if index is not None:
        address = torch.randint(
            neurons or 0, added.shape, dtype=torch.int32, device=added.device, generator=generator
        )
        index = torch.cat([index, torch.where(added == math.inf, -1, address)], dim=-1)
    return sorted_spikes(torch.cat([times, added], dim=-1), index)


def check_probability(p: float) -> None:
    """Check the probability of `spike_dropout`."""
    if isinstance(p, bool) or not isinstance(p, numbers.Real):
        raise TypeError(f"p must be a number, got {type(p).__name__}")
    if not 0 <= p <= 1:
        raise ValueError(f"p must lie in [0, 1], a probability, got {p}")


def check_jitter(std: float, below_zero: BelowZero) -> None:
    """Check the settings of `spike_jitter`."""
    check_duration(std, "std", infinite=False)
    if below_zero not in ("clamp", "reflect"):
        raise ValueError(f"below_zero must be 'clamp' or 'reflect', got {below_zero!r}")


def check_insertion(
    rate: float,
    t_max: float,
    neurons: int | None,
    max_inserted: int | None,
    on_overflow: OnOverflow,
) -> None:
    """Check the settings of `spike_insertion`."""
    check_duration(rate, "rate", infinite=False)
    check_duration(t_max, "t_max", infinite=False, positive=True)
    if neurons is not None:
        check_integer(neurons, "neurons", 0)
    check_room(max_inserted, "max_inserted", on_overflow)


def _parts(spikes: Tensor | Events, neurons: int | None = None) -> tuple[Tensor, Tensor | None]:
    """Times, and of events the neurons that they come from."""
    times = check_spikes(spikes, neurons)
    return times, spikes.index if isinstance(spikes, Events) else None
