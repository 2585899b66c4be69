"""Which dtypes cross the bridge, and how wide JAX must compute for them."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import torch

# Bits that `width` of several tensors are or-ed into.
WIDE_INTEGER = 1
NARROW_FLOAT = 2
WIDE_FLOAT = 4

WIDTH: dict[torch.dtype, int] = {
    torch.bool: 0,
    torch.uint8: 0,
    torch.int8: 0,
    torch.int16: 0,
    torch.uint16: 0,
    torch.int32: 0,
    torch.uint32: 0,
    torch.int64: WIDE_INTEGER,
    torch.uint64: WIDE_INTEGER,
    torch.float8_e4m3fn: NARROW_FLOAT,
    torch.float8_e5m2: NARROW_FLOAT,
    torch.float16: NARROW_FLOAT,
    torch.bfloat16: NARROW_FLOAT,
    torch.float32: NARROW_FLOAT,
    torch.complex64: NARROW_FLOAT,
    torch.float64: WIDE_FLOAT,
    torch.complex128: WIDE_FLOAT,
}
"""Every supported torch dtype and the bit it contributes to `needs_x64`."""

# NumPy knows these only through ml_dtypes, and torch does not hand them to NumPy: they travel
# under an integer dtype of the same size.
NUMPY_ALIASES: dict[torch.dtype, tuple[torch.dtype, np.dtype]] = {
    torch.bfloat16: (torch.int16, np.dtype(ml_dtypes.bfloat16)),
    torch.float8_e4m3fn: (torch.uint8, np.dtype(ml_dtypes.float8_e4m3fn)),
    torch.float8_e5m2: (torch.uint8, np.dtype(ml_dtypes.float8_e5m2)),
}

NUMPY_DTYPE: dict[torch.dtype, np.dtype] = {
    dtype: NUMPY_ALIASES[dtype][1]
    if dtype in NUMPY_ALIASES
    else np.dtype(str(dtype).removeprefix("torch."))
    for dtype in WIDTH
}
"""The NumPy (and JAX) dtype of the same values, for every supported torch dtype."""

TORCH_DTYPE: dict[np.dtype, torch.dtype] = {jax: torch for torch, jax in NUMPY_DTYPE.items()}
"""The inverse of `NUMPY_DTYPE`."""

WIDE_INTEGERS = (torch.int64, torch.uint64)


def needs_x64(width: int) -> bool:
    """Whether JAX's 64-bit mode is needed for inputs whose `WIDTH` bits or to ``width``.

    A 64-bit float or complex input always asks for it. A 64-bit integer does so only where no
    narrower float is present: labels or indices beside a float32 tensor must not turn JAX's
    default float into float64. They are passed as 32-bit integers then, after a range check.
    """
    return bool(width & WIDE_FLOAT) or (width & (WIDE_INTEGER | NARROW_FLOAT)) == WIDE_INTEGER
