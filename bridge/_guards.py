"""Situations in which JAX would hang: refuse them with an error instead."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ._jax_internals import jax_is_running


class BridgeError(RuntimeError):
    """The bridge was used where it cannot work; the message says what to do instead."""


NOT_EXPORTED = (
    "runs JAX, which programs of torch.export and ONNX cannot hold: they would name a function of "
    "this process only. Save the state_dict (or evtorch.bridge.export_parameters) and build the "
    "module anew where it is loaded; or export the parts of the model without JAX"
)


class _InCallback(threading.local):
    active = False


_callback = _InCallback()
_used = False
_forked_too_late = False


def _note_fork() -> None:
    global _forked_too_late
    _forked_too_late = _forked_too_late or _used or jax_is_running()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_note_fork)


@contextmanager
def inside_callback() -> Iterator[None]:
    """Marks the thread as running torch code on behalf of a JAX computation."""
    previous, _callback.active = _callback.active, True
    try:
        yield
    finally:
        _callback.active = previous


def check_call(name: str) -> None:
    """Raise `BridgeError` if running JAX from here would deadlock."""
    global _used
    if _callback.active:
        raise BridgeError(
            f"{name} runs JAX and was called by torch code that a JAX computation is waiting for "
            "(as_jax_function); JAX's threads can deadlock on that. Call the JAX function directly "
            "from JAX, outside the torch module"
        )
    if _forked_too_late:
        raise BridgeError(
            f"{name} was called in a forked process, but JAX was already running in its parent, "
            "and JAX does not survive a fork (it would hang). Start workers with 'spawn': "
            "DataLoader(..., multiprocessing_context='spawn') or "
            "torch.multiprocessing.get_context('spawn')"
        )
    _used = True
