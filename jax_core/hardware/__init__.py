"""Neuromorphic hardware behind spiking layers: the contract, and backends that keep it."""

from ._calibration import Calibrated as Calibrated
from ._calibration import Calibration as Calibration
from ._contract import Backend as Backend
from ._contract import BackendError as BackendError
from ._contract import HardwareLimitError as HardwareLimitError
from ._contract import Layer as Layer
from ._contract import Network as Network
from ._contract import Observation as Observation
from ._contract import Scaling as Scaling
from ._contract import check_input as check_input
from ._contract import check_observation as check_observation
from ._contract import check_weights as check_weights
from ._effects import Effects as Effects
from ._mock import MockBSS2 as MockBSS2
from ._replay import Replay as Replay
from ._split import Split as Split
from ._worker_backend import WorkerBackend as WorkerBackend
from ._worker_backend import WorkerTimeout as WorkerTimeout
from ._worker_process import WORKER_SCRIPT as WORKER_SCRIPT
from ._worker_process import WorkerError as WorkerError

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
