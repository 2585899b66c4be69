"""Static values as parts of a cache's key, and caches that keep the most recent entries."""

from __future__ import annotations

from typing import Any

MAX_ENTRIES = 256


class Static:
    """A value that compares equal only to the same value of the same type: 1, 1.0 and True, or
    0.0 and -0.0, must not share a compiled function, and NaN must find its own again."""

    __slots__ = ("key", "value")

    def __init__(self, value: Any, key: Any) -> None:
        self.value = value
        self.key = (type(value), key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Static) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def remember(cache: dict[Any, Any], key: Any, value: Any) -> None:
    """Make this the most recent of the at most `MAX_ENTRIES` entries of ``cache``."""
    cache.pop(key, None)
    while len(cache) >= MAX_ENTRIES:
        cache.pop(next(iter(cache)), None)
    cache[key] = value
