"""The factors between chip and model that hxtorch measures, as they are here.

Traces come in the model's unit, and a backend is told what its weights mean, so that nothing has
to be measured.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ._parameters import HXBaseParameter

_DEFAULT_LEAK = 80
_LARGEST_WEIGHT = 63


def get_dynamic_range(
    neuron_structure: Any = None,
    calib_path: Any = None,
    params: Mapping[str, Any] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Voltage at rest, the model's leak, and the highest and lowest one: there is no limit."""
    leak = (params or {}).get("leak", _DEFAULT_LEAK)
    value = leak.model_value if isinstance(leak, HXBaseParameter) else leak
    rest = torch.as_tensor(value, dtype=torch.get_default_dtype()).mean()
    return rest, torch.tensor(math.inf), torch.tensor(-math.inf)


def get_trace_scaling(
    params: Mapping[str, Any] | None = None, calib_path: Any = None, neuron_structure: Any = None
) -> Tensor:
    """The model's voltage per unit of a trace: 1."""
    return torch.tensor(1.0)


def get_weight_scaling(
    params: Mapping[str, Any] | None = None,
    weight_step: int = 1,
    calib_path: Any = None,
    neuron_structure: Any = None,
) -> Tensor:
    """A factor from model weights to the chip's: 63, with which a weight of 1 is the largest.

    Every factor has the same effect of a weight, but for rounding and clipping.
    """
    return torch.tensor(float(_LARGEST_WEIGHT))
