"""Hardware behind spiking layers: backends, and models that run on them."""

from ...jax_core.hardware import Backend as Backend
from ...jax_core.hardware import BackendError as BackendError
from ...jax_core.hardware import Calibrated as Calibrated
from ...jax_core.hardware import Calibration as Calibration
from ...jax_core.hardware import Effects as Effects
from ...jax_core.hardware import HardwareLimitError as HardwareLimitError
from ...jax_core.hardware import Layer as Layer
from ...jax_core.hardware import MockBSS2 as MockBSS2
from ...jax_core.hardware import Network as Network
from ...jax_core.hardware import Observation as Observation
from ...jax_core.hardware import Replay as Replay
from ...jax_core.hardware import Split as Split
from ...jax_core.hardware import WorkerBackend as WorkerBackend
from ...jax_core.hardware import WorkerError as WorkerError
from ...jax_core.hardware import WorkerTimeout as WorkerTimeout
from ...jax_core.hardware import check_input as check_input
from ...jax_core.hardware import check_observation as check_observation
from ...jax_core.hardware import check_weights as check_weights
from ..backend._scaling import Scaling as Scaling
from ..backend._weights import WeightClippingWarning as WeightClippingWarning
from ..backend._weights import WeightFit as WeightFit
from ._on_backend import OnBackend as OnBackend
from ._on_backend import on_backend as on_backend

__all__ = [
    "Backend",
    "BackendError",
    "Calibrated",
    "Calibration",
    "Effects",
    "HardwareLimitError",
    "Layer",
    "MockBSS2",
    "Network",
    "Observation",
    "OnBackend",
    "Replay",
    "Scaling",
    "Split",
    "WeightClippingWarning",
    "WeightFit",
    "WorkerBackend",
    "WorkerError",
    "WorkerTimeout",
    "check_input",
    "check_observation",
    "check_weights",
    "on_backend",
]


def __dir__() -> list[str]:
    return __all__
