"""Room for spikes whose number is random or depends on values."""

import math

from torch import Tensor

from ...jax_core._validate import check_integer
from ..layers._overflow import OnOverflow, check_policy, report_lost
from ..spikes._room import poisson_room


def check_room(room: int | None, name: str, on_overflow: OnOverflow) -> None:
    """Check the room that was asked for, and what happens beyond it."""
    if room is not None:
        check_integer(room, name, 1)
    check_policy(on_overflow)


def slots(mean: float, room: int | None, on_overflow: OnOverflow) -> tuple[int, int]:
    """Room for Poisson numbers of at most this mean, and how many times to draw.

    One more than there is room for shows whether spikes get lost. ``room``: what was asked for.
    """
    if room is None:
        room = poisson_room(mean)
        return room, room
    return room, room if on_overflow == "truncate" else room + 1


def with_room(times: Tensor, room: int, name: str, on_overflow: OnOverflow) -> Tensor:
    """The first ``room`` times of the last axis; further ones, but ``inf``, are an overflow."""
    kept = times[..., :room]
    if times.shape[-1] > room:
        remedy = f"there are more of them than {name} = {room}; raise {name}"
        report_lost(times < math.inf, kept < math.inf, on_overflow, remedy)
    return kept
