"""Room for numbers of spikes that vary: few sizes, as each one that a layer sees is compiled."""

import math

_TAIL = 1e-9
"""How often a Poisson number may exceed its room."""


def bucket(count: int, bits: int = 3) -> int:
    """``count`` rounded up to so many significant bits: with three, at most a quarter more."""
    step = 1 << max(count.bit_length() - bits, 0)
    return -(-count // step) * step


def poisson_room(mean: float) -> int:
    """Room for a Poisson number of this mean, exceeded at most once in 1e9 draws.

    By Chernoff's bound ``P(N >= n) <= exp(n - mean - n log(n / mean))`` for ``n > mean``.
    """

    def is_enough(room: int) -> bool:
        n = room + 1
        return n > mean and n - mean - n * math.log(n / mean) <= math.log(_TAIL)

    if mean == 0:
        return 1
    low, high = 0, 1
    while not is_enough(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return bucket(high)
