"""``max_spikes="auto"`` of the functions of layers."""

import functools
import math
from collections.abc import Callable
from typing import Any, ParamSpec

from ...bridge._torch_internals import values_are_unknown
from ..layers._room import set_room, with_room

P = ParamSpec("P")


class _Room:
    """The room of one call, as `with_room` takes it."""

    max_spikes: int
    grows: bool


def growing(function: Callable[P, Any]) -> Callable[P, Any]:
    """A layer's function that also takes ``max_spikes="auto"``: twice the room until spikes fit.

    Where torch traces, so that counts have no values, the room is the first one, and
    ``on_overflow`` says what is to be done.
    """

    @functools.wraps(function)
    def grown(*arguments: Any, **options: Any) -> Any:
        if not isinstance(options.get("max_spikes"), str):
            return function(*arguments, **options)
        # A neuron that is given as an object knows whether it spikes once.
        once = any(getattr(x, "once", False) for x in (*arguments, *options.values()))
        room = _Room()
        refractory = math.inf if once else options.get("refractory", 0.0)
        set_room(room, options["max_spikes"], refractory)
        if values_are_unknown():
            return function(*arguments, **{**options, "max_spikes": room.max_spikes})

        def run() -> Any:
            named = {**options, "max_spikes": room.max_spikes, "return_health": True}
            return function(*arguments, **named)

        out, health, *state = with_room(room, run)
        found = (out, *([health] if options.get("return_health") else []), *state)
        return found if len(found) > 1 else out

    return grown
