"""The earlier name of ``evtorch_worker.pynn.brainscales``."""

from .pynn.brainscales import calibrated as calibrated
from .pynn.brainscales import precalibrated as precalibrated
