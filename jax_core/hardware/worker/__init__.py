"""The contract between evtorch and hardware, and both sides of a connection that keeps it.

In a worker, this folder is the package ``evtorch_worker``. Everything in it needs Python 3.10,
NumPy and the standard library only and imports nothing from outside, so that it can be copied to
where evtorch is not installed.
"""

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

__all__ = [
    "Backend",
    "BackendError",
    "HardwareLimitError",
    "Layer",
    "Network",
    "Observation",
    "Scaling",
    "check_input",
    "check_observation",
    "check_weights",
]


def __dir__() -> list[str]:
    return __all__
