"""Datasets for event-based networks."""

from ._yinyang import YinYang as YinYang

__all__ = [
    "YinYang",
]


def __dir__() -> list[str]:
    return __all__
