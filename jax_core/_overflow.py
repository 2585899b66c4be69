"""What happens when an output has no room for a spike: never a silent loss."""

import warnings
from typing import Literal

import jax
import numpy as np
from jax import Array
from jax.core import Tracer

OnOverflow = Literal["error", "warn", "truncate"]


def check_policy(on_overflow: str) -> None:
    """Check the name of a policy."""
    if on_overflow not in ("error", "warn", "truncate"):
        raise ValueError(f'on_overflow must be "error", "warn" or "truncate", got {on_overflow!r}')


def handle_overflow(lost: Array, on_overflow: OnOverflow, reason: str) -> None:
    """Raise, warn, or accept that spikes were lost.

    Outside of ``jit`` the error is a ``ValueError``, right here. While JAX traces, the check runs
    with the computation, and a loss makes that fail with a ``jax.errors.JaxRuntimeError``.

    **Arguments:**

    - ``lost``: number of lost spikes, an integer array of any shape.
    - ``on_overflow``: ``"error"``, ``"warn"`` or ``"truncate"`` (accept it).
    - ``reason``: what lost them and what to do about it, for the message.
    """
    check_policy(on_overflow)
    if on_overflow == "truncate":
        return

    def check(lost: np.ndarray) -> None:
        if not np.any(lost):
            return
        message = f"{np.sum(lost)} spike(s) lost: {reason}"
        if on_overflow == "error":
            raise ValueError(f'{message}, or accept the loss with on_overflow="truncate"')
        warnings.warn(message, RuntimeWarning, stacklevel=2)

    if isinstance(lost, Tracer):
        jax.debug.callback(check, lost)
    else:
        check(np.asarray(lost))
