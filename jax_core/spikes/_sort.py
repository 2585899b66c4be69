"""Stable sorting of event times together with their places."""

import jax
import jax.numpy as jnp
from jax import Array, lax


def sort_times(time: Array) -> tuple[Array, Array]:
    """Sort times along the last axis; equal times keep their order.

    **Returns:** the sorted times and, int32, the place each had before.
    """
    if time.dtype == jnp.float32:
        return _sort_packed(time)
    place = lax.broadcasted_iota(jnp.int32, time.shape, time.ndim - 1)
    time, place = lax.sort((time, place), num_keys=1, is_stable=True)
    return time, place


def _sort_packed(time: Array) -> tuple[Array, Array]:
    """Sort 64-bit integers made of a time's bits and its place.

    XLA sorts one integer operand about five times faster on CPUs than a float key with a payload.
    """
    # -0.0 has other bits than the 0.0 it is equal to.
    bits = lax.bitcast_convert_type(jnp.where(time == 0, 0, time), jnp.uint32)
    sign = jnp.uint32(1 << 31)
    ordered = jnp.where(bits < sign, bits | sign, ~bits)
    with jax.enable_x64(True):
        place = lax.broadcasted_iota(jnp.uint64, time.shape, time.ndim - 1)
        key = lax.sort((ordered.astype(jnp.uint64) << jnp.uint64(32)) | place)
        place = (key & jnp.uint64(0xFFFFFFFF)).astype(jnp.int32)
        ordered = (key >> jnp.uint64(32)).astype(jnp.uint32)
    bits = jnp.where(ordered >= sign, ordered ^ sign, ~ordered)
    return lax.bitcast_convert_type(bits, jnp.float32), place
