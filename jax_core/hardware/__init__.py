"""Neuromorphic hardware behind spiking layers: the contract, and backends that keep it."""

from ._effects import Effects as Effects
from ._replay import Replay as Replay
from ._split import Split as Split
from .calibration._calibration import Calibrated as Calibrated
from .calibration._calibration import Calibration as Calibration
from .mock._mock import MockBSS2 as MockBSS2
from .worker._client import WorkerBackend as WorkerBackend
from .worker._client import WorkerTimeout as WorkerTimeout
from .worker._contract import Backend as Backend
from .worker._contract import BackendError as BackendError
from .worker._contract import HardwareLimitError as HardwareLimitError
from .worker._contract import Layer as Layer
from .worker._contract import Network as Network
from .worker._contract import Observation as Observation
from .worker._contract import Scaling as Scaling
from .worker._contract import check_input as check_input
from .worker._contract import check_observation as check_observation
from .worker._contract import check_weights as check_weights
from .worker._process import WORKER_SCRIPT as WORKER_SCRIPT
from .worker._process import WorkerError as WorkerError

__all__ = [
    "WORKER_SCRIPT",
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
    "Replay",
    "Scaling",
    "Split",
    "WorkerBackend",
    "WorkerError",
    "WorkerTimeout",
    "check_input",
    "check_observation",
    "check_weights",
]


def __dir__() -> list[str]:
    return __all__
