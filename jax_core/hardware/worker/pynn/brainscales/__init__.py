"""BrainScaleS-2 by PyNN, for ``--backend evtorch_worker.pynn.brainscales:calibrated``."""

from ._chip import calibrated as calibrated
from ._chip import precalibrated as precalibrated

__all__ = ["calibrated", "precalibrated"]


def __dir__() -> list[str]:
    return __all__
