"""Room for spikes, as much as they need."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from torch import Tensor

from ...layers._health import Health
from ...layers._overflow import SpikeOverflowError

_FIRST = 4
_MOST = 1 << 14
Found = TypeVar("Found")


def spikes_with_room(simulate: Callable[..., Any], room: int) -> tuple[Tensor, Health, int]:
    """``simulate(max_spikes=...)`` with the room that spikes need, at least ``room``."""

    def attempt(rooms: Sequence[int]) -> tuple[tuple[Tensor, Health], list[bool]]:
        out, health = simulate(max_spikes=rooms[0])
        return (out, health), [bool(health.overflow.any())]

    (out, health), (room,) = until_spikes_fit(attempt, [max(room, _FIRST)])
    return out, health, room


def until_spikes_fit(
    attempt: Callable[[Sequence[int]], tuple[Found, Sequence[bool]]], rooms: Sequence[int]
) -> tuple[Found, Sequence[int]]:
    """Repeat ``attempt(rooms)``, with twice the room for each population whose spikes did not fit.

    The room grows by factors of two, as each size is compiled.

    **Arguments:** ``attempt``: gives what it found, and for each population whether it was full;
    ``rooms``: numbers of spikes per neuron, one per population.

    **Returns:** what it found, and the rooms with which everything fits.

    **Raises:** `SpikeOverflowError` for a number of spikes per neuron that no sensible run has.
    """
    while True:
        if max(rooms) > _MOST:
            raise SpikeOverflowError(
                f"a neuron has more than {max(rooms) // 2} spikes in one run; give it a "
                f"refractory_time or smaller weights"
            )
        found, full = attempt(rooms)
        if not any(full):
            return found, rooms
        rooms = [room * (2 if is_full else 1) for room, is_full in zip(rooms, full, strict=True)]
