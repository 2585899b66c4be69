"""Everything the bridge uses of JAX that is not public, each with what happens without it."""

from __future__ import annotations

import os
import sys
from typing import Any

import jax

try:
    from jax._src import lib as _lib
except ImportError:
    _lib = None

try:
    from jax._src.core import trace_state_clean as _not_tracing
except ImportError:

    def _not_tracing() -> bool:
        return True


_extension = getattr(_lib, "_jax", None)
_export: Any = getattr(_extension, "buffer_to_dlpack_managed_tensor", None)

# JAX on CPU computes in another thread. To sleep until that is done and be woken takes longer than
# most small computations, so the bridge looks this often first: for some 40 us, in which it keeps
# the GIL. With one core that would only keep the other thread from computing.
_LOOKS = 300 if (os.cpu_count() or 1) > 1 else 0


def wait(array: jax.Array) -> None:
    """Wait until the executable of which ``array`` is an output is done, and raise if it failed."""
    is_ready = getattr(array, "is_ready", None)
    if is_ready is not None:
        for _ in range(_LOOKS):
            if is_ready():
                break
    array.block_until_ready()


def capsule_of(array: jax.Array) -> Any:
    """The DLPack capsule of an array on one CPU device, for which ``__dlpack__`` runs ten times as
    long in Python. It holds the first shard only of an array on several devices."""
    try:
        return _export(array, stream=None)
    except TypeError:
        return array.__dlpack__()


def jax_is_running() -> bool:
    """Whether JAX has started its threads. Without it only JAX work that went through the bridge
    counts."""
    try:
        from jax._src import xla_bridge

        return xla_bridge.backends_are_initialized()
    except (ImportError, AttributeError):
        return False


def jax_is_tracing() -> bool:
    """Whether this is called inside a JAX transformation. Without it the errors of a bridged
    function that is called there are unreadable."""
    return not _not_tracing()


def inside_checkpoint() -> bool:
    """Whether `jax.checkpoint` is tracing the calling code. Without it random numbers there end in
    JAX's own error about effects."""
    frame: Any = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == "jax._src.ad_checkpoint":
            return True
        frame = frame.f_back
    return False
