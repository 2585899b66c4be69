"""``max_spikes="auto"`` of the functions of layers."""

import math
from collections.abc import Callable
from typing import Any

from ...bridge._torch_internals import values_are_unknown
from ..layers._room import set_room, with_room


class _Room:
    """The room of one call, as `with_room` takes it."""

    max_spikes: int
    grows: bool


def grown(function: Callable[..., Any], given: dict[str, Any], *, once: bool = False) -> Any:
    """What a layer's function gives with twice the room until all spikes fit.

    Where torch traces, so that counts have no values, the room is the first one, and
    ``on_overflow`` says what is to be done.

    **Arguments:** ``given``: all of the function's arguments by name, ``max_spikes`` a string;
    ``once``: whether neurons spike once, if that is not what ``refractory`` says.
    """
    room = _Room()
    set_room(room, given["max_spikes"], math.inf if once else given.get("refractory", 0.0))
    if values_are_unknown():
        return function(**{**given, "max_spikes": room.max_spikes})

    def run() -> Any:
        return function(**{**given, "max_spikes": room.max_spikes, "return_health": True})

    out, health, *state = with_room(room, run)
    found = (out, *([health] if given["return_health"] else []), *state)
    return found if len(found) > 1 else out
