"""Data sets under their names there."""

from .yinyang import YinYangDataset as YinYangDataset

__all__ = [
    "YinYangDataset",
]


def __dir__() -> list[str]:
    return __all__
