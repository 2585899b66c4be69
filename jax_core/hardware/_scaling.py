"""The factor between a model's weights and whole-numbered ones, and what rounding costs."""

from collections.abc import Sequence

import numpy as np

from .worker._contract import Scaling

_MOST_CLIPPED = 1e-3
"""Largest share of a layer's weights that a fitted factor may clip."""
_STEP, _STEPS_DOWN, _STEPS_UP = 1.01, 70, 500
"""Factors that are tried: from half of the largest that clips nothing, below which rounding only
gets coarser, to a hundred times that."""


def clipped_share(weight: np.ndarray, scaling: Scaling, limit: int | None) -> float:
    """Share of the weights whose magnitude on the hardware would exceed ``limit``."""
    if limit is None or weight.size == 0:
        return 0.0
    return float(np.mean(np.abs(np.asarray(weight, np.float64) * scaling.weight) > limit))


def rounding_error(weight: np.ndarray, scaling: Scaling, limit: int | None) -> float:
    """Root mean square of what rounding and clipping change, relative to that of the weights."""
    wanted = np.asarray(weight, np.float64)
    size = np.linalg.norm(wanted)
    if size == 0:
        return 0.0
    used = scaling.hardware_weight(wanted, limit) / scaling.weight
    return float(np.linalg.norm(used - wanted) / size)


def fit_factor(weights: Sequence[np.ndarray], limit: int | None) -> float:
    """The hardware weight per unit of model weight that serves these layers best.

    Large factors clip, small ones round coarsely. Of the factors that clip no more than a
    thousandth of any layer's weights, it is the one with the least sum, over layers, of the squared
    `rounding_error`, so that each layer counts alike.

    **Arguments:** ``weights``: finite, one array per layer; ``limit``: the largest magnitude, or
    ``None`` for any float, which needs no factor.

    **Returns:** the factor, > 0; 1 where nothing tells one.
    """
    layers = [np.abs(np.asarray(weight, np.float64)).ravel() for weight in weights]
    layers = [layer[layer > 0] for layer in layers]
    if limit is None or not any(layer.size for layer in layers):
        return 1.0
    totals = [weight.size for weight, layer in zip(weights, layers, strict=True) if layer.size]
    layers = [layer for layer in layers if layer.size]
    # The largest that clips nothing, whatever the last bit of a product.
    largest = limit / max(float(layer.max()) for layer in layers) * (1 - 1e-12)
    best, least = largest, np.inf
    for k in range(-_STEPS_DOWN, _STEPS_UP):
        scaling = Scaling(weight=largest * _STEP**k)
        shares = (
            np.count_nonzero(layer * scaling.weight > limit) / total
            for layer, total in zip(layers, totals, strict=True)
        )
        if k > 0 and any(share > _MOST_CLIPPED for share in shares):
            break
        error = sum(rounding_error(layer, scaling, limit) ** 2 for layer in layers)
        if error < least:
            best, least = scaling.weight, error
    return best
