"""The address-event form of spikes."""

from typing import Any, NamedTuple


class Events(NamedTuple):
    """Spikes as a stream of address events, ordered in time.

    The last axis runs over the events of one sample, ``M`` of them at most; samples with fewer
    events are padded at the end with ``time = inf`` and ``index = -1``. The fields may be arrays of
    any library (JAX, NumPy, torch). Events at equal times keep their order.
    """

    time: Any
    """Times of the events, seconds, float, shape ``(..., M)``, ascending."""
    index: Any
    """Neurons (addresses) the events come from, int32, same shape, ``0 <= index < neurons``."""
