"""The options that all layers of leaky integrate-and-fire neurons share, with their defaults."""

import math
from collections.abc import Iterable
from typing import Any, TypedDict

import torch

from ..functional._lif import Gradient
from ._constants import Constant
from ._overflow import OnOverflow


class Options(TypedDict, total=False):
    """Options of `LIF` that layers with other connections take, too."""

    tau_mem: Constant
    tau_syn: Constant
    v_threshold: Constant
    v_leak: Constant
    v_reset: Constant
    refractory: Constant
    max_spikes: int
    t_max: float
    learn: Iterable[str]
    gradient: Gradient
    on_overflow: OnOverflow
    min_slope: float
    device: torch.device | str | None
    dtype: torch.dtype | None


DEFAULTS: dict[str, Any] = {
    "tau_mem": 2e-2,
    "tau_syn": 1e-2,
    "v_threshold": 1.0,
    "v_leak": 0.0,
    "v_reset": 0.0,
    "refractory": 0.0,
    "max_spikes": 1,
    "t_max": math.inf,
    "learn": (),
    "gradient": "eventprop",
    "on_overflow": "error",
    "min_slope": 1e-3,
    "device": None,
    "dtype": None,
}
