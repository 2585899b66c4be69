"""The backend of experiments that were not given their own."""

from ....jax_core.hardware import Backend
from ...backend._scaling import check_backend

_default: Backend | None = None
_last: Backend | None = None
"""What was chosen last, which stays after a release."""


def init_hardware(backend: Backend | None = None) -> None:
    """Choose the backend of all experiments with ``mock=False`` that were not given their own.

    Without an argument, what was chosen last, also after `release_hardware`.
    """
    global _default, _last
    if backend is not None:
        check_backend(backend, None)
        _last = backend
    if _last is None:
        raise ValueError(
            "there is no hardware yet: init_hardware(backend), for example with "
            "snn.hardware.MockBSS2(), or Experiment(mock=True) to simulate"
        )
    _default = _last


def release_hardware() -> None:
    """Have no backend until `init_hardware` is called again."""
    global _default
    _default = None


def chosen(own: Backend | None) -> Backend:
    """The backend of an experiment: its own, or else that of `init_hardware`."""
    backend = _default if own is None else own
    if backend is None:
        raise ValueError(
            "Experiment(mock=False) needs a backend: Experiment(backend=...) or "
            "init_hardware(backend)"
        )
    check_backend(backend, None)
    return backend
