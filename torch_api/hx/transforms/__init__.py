"""Encoders, decoders and weight transforms."""

from . import decode as decode
from . import encode as encode
from . import weight_transforms as weight_transforms
