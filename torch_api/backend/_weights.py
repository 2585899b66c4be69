"""What becomes of weights on hardware."""

import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...jax_core import hardware
from ...jax_core.hardware._scaling import clipped_share, rounding_error
from ._straight_through import straight_through

if TYPE_CHECKING:
    from ..layers._health import LayerHealth

MOST_CLIPPED = 0.01
"""Share of a layer's clipped weights above which there is a warning."""


class WeightClippingWarning(RuntimeWarning):
    """Many weights are beyond what the hardware can have."""


class WeightFit(NamedTuple):
    """How close the weights that a layer has on the hardware are to those of the model."""

    clipped: float
    """Share of the weights that are larger than the hardware's, and clipped."""
    rounding_error: float
    """Root mean square of what rounding and clipping change, relative to that of the weights."""


def weight_fit(weight: np.ndarray, scaling: hardware.Scaling, limit: int | None) -> WeightFit:
    """What becomes of a layer's weights on hardware with this ``limit``."""
    return WeightFit(clipped_share(weight, scaling, limit), rounding_error(weight, scaling, limit))


def checked_fit(
    weight: np.ndarray,
    health: "LayerHealth | None",
    what: str,
    backend: hardware.Backend,
    scaling: hardware.Scaling,
    remedy: str = "choose the factor with snn.hardware.Scaling.fit(model, backend)",
) -> WeightFit | None:
    """What becomes of a layer's weights on a backend, ``None`` where it takes any float.

    Warns if too many are clipped and were not before, so once in a training.

    **Arguments:** ``weight``: those of the model; ``health``: that of the layer's last forward;
    ``what``: names the layer and the backend; ``remedy``: what to do against it.
    """
    limit = backend.weight_limit
    if limit is None:
        return None
    fit = weight_fit(weight, scaling, limit)
    before = None if health is None else health.weights
    if fit.clipped > MOST_CLIPPED and (before is None or before.clipped <= MOST_CLIPPED):
        warnings.warn(
            f"{what}: {fit.clipped:.1%} of the weights exceed the largest, {limit}, with a factor "
            f"of {scaling.weight:g} and are clipped; {remedy}, or keep the weights smaller. The "
            f"health report has the shares of all layers",
            WeightClippingWarning,
            stacklevel=3,
        )
    return fit


def as_on_hardware(weight: Tensor, whole: np.ndarray, factor: float) -> Tensor:
    """The hardware's weights in the model's unit, straight-through.

    **Arguments:** ``weight``: those of the model; ``whole``: those of the hardware, which has
    ``factor`` per unit of the model.
    """
    used = torch.as_tensor(whole / factor, dtype=weight.dtype, device=weight.device)
    return straight_through(weight, used)
