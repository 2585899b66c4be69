"""Neuromorphic hardware behind spiking layers: the contract, and backends that keep it."""

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
