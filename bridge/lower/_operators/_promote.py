"""torch's type promotion, on JAX arrays."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_BOOL, _INTEGER, _FLOAT, _COMPLEX = range(4)


def _category(dtype: Any) -> int:
    if dtype == jnp.bool_:
        return _BOOL
    if jnp.issubdtype(dtype, jnp.integer):
        return _INTEGER
    return _COMPLEX if jnp.issubdtype(dtype, jnp.complexfloating) else _FLOAT


def _joined(one: Any, other: Any) -> Any:
    """The dtype that holds both, of which torch and JAX only differ in uint8 beside int8 and
    the wide unsigned ones."""
    return jnp.promote_types(one, other)


def default_float() -> Any:
    """What integers become in torch's float operators."""
    return np.dtype(np.float32)


def _of_number(value: Any, found: Any) -> Any:
    """The dtype of a Python number beside tensors of the dtype ``found``."""
    if isinstance(value, bool):
        own: Any = np.dtype(np.bool_)
    elif isinstance(value, int):
        own = jax.dtypes.canonicalize_dtype(np.int64)
    elif isinstance(value, float):
        own = default_float()
    else:
        own = np.dtype(np.complex64)
    if found is None or _category(own) > _category(found):
        if _category(own) == _COMPLEX and found is not None and found == np.float64:
            return np.dtype(np.complex128)
        return own if found is None or _category(own) != _COMPLEX else _joined(own, found)
    return found


def common_dtype(*values: Any) -> Any:
    """The dtype in which torch combines these arrays and numbers.

    Tensors with axes rank before those without, and these before numbers: a lower rank counts only
    if its category (bool, integer, float, complex) is higher.
    """
    shaped = single = None
    for value in values:
        if isinstance(value, (bool, int, float, complex)) or value is None:
            continue
        if value.ndim:
            shaped = value.dtype if shaped is None else _joined(shaped, value.dtype)
        else:
            single = value.dtype if single is None else _joined(single, value.dtype)
    if shaped is None or (single is not None and _category(single) > _category(shaped)):
        found = single
        if shaped is not None and single is not None and _category(single) == _COMPLEX:
            wide = shaped == np.float64
            found = np.dtype(np.complex128) if wide else single
    else:
        found = shaped
    for value in values:
        if isinstance(value, (bool, int, float, complex)):
            found = _of_number(value, found)
    return found


def as_array(value: Any, dtype: Any) -> Any:
    """A number or an array, in this dtype."""
    if isinstance(value, (bool, int, float, complex)):
        return jnp.asarray(value, dtype)
    return value.astype(dtype)


def promoted(*values: Any, floating: bool = False) -> list[Any]:
    """Arrays and numbers in their common dtype, or the float that torch makes of an integer one."""
    dtype = common_dtype(*values)
    if floating and _category(dtype) < _FLOAT:
        dtype = default_float()
    return [as_array(value, dtype) for value in values]


def as_float(x: Any) -> Any:
    """An array, as float if it is integer."""
    return x if _category(x.dtype) >= _FLOAT else x.astype(default_float())


def is_float(x: Any) -> bool:
    """Whether an array is float or complex."""
    return _category(x.dtype) >= _FLOAT


def is_complex(x: Any) -> bool:
    """Whether an array is complex."""
    return _category(x.dtype) == _COMPLEX
