"""Encoders, decoders and weight transforms."""

from . import decode as decode
from . import encode as encode
from . import weight_transforms as weight_transforms

__all__ = [
    "decode",
    "encode",
    "weight_transforms",
]


def __dir__() -> list[str]:
    return __all__
