"""The earlier name of ``evtorch_worker.pynn``."""

from .pynn import brian2 as brian2
from .pynn import simulator as simulator
