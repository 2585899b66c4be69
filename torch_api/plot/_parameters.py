"""Weights and delays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from ._axes import Unit, array, axes_or_new, seconds_per, time_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def weights(
    weight: Tensor | nn.Module, ax: Axes | None = None, *, matrix: bool = False, **style: Any
) -> Axes:
    """Weights as a histogram, or as a picture of the matrix with its scale.

    **Arguments:** ``weight``: a tensor, or a layer with a parameter ``weight``; ``matrix``: draw
    ``(out, in)`` weights as colours, blue below 0 and red above; ``style``: of matplotlib's
    ``hist`` or ``imshow``.
    """
    values = array(_of(weight, "weight"), "weight")
    ax = axes_or_new(ax)
    if not matrix:
        ax.hist(values.ravel(), **{"bins": 50, **style})
        ax.set(xlabel="weight", ylabel="number")
        return ax
    if values.ndim != 2:
        raise ValueError(
            f"weight must have shape (out, in) to be drawn as a matrix, got {values.shape}"
        )
    bound = float(np.abs(values).max(initial=0)) or 1.0
    style = {"cmap": "RdBu_r", "vmin": -bound, "vmax": bound, "aspect": "auto", **style}
    image = ax.imshow(values, interpolation="nearest", **style)
    ax.figure.colorbar(image, ax=ax, label="weight")
    ax.set(xlabel="input", ylabel="neuron")
    return ax


def delays(
    delay: Tensor | nn.Module, ax: Axes | None = None, *, unit: Unit = "ms", **style: Any
) -> Axes:
    """Delays as a histogram.

    **Arguments:** ``delay``: a tensor, seconds, or a layer that has delays; ``style``: of
    matplotlib's ``hist``.
    """
    values = array(_of(delay, "delay"), "delay").ravel()
    # As layers take them: a step of training may leave some just below 0.
    values = np.maximum(values, 0) / seconds_per(unit)
    ax = axes_or_new(ax)
    ax.hist(values, **{"bins": 30, **style})
    ax.set(xlabel=time_label(unit, "delay"), ylabel="number")
    return ax


def _of(given: Any, name: str) -> Any:
    if not isinstance(given, nn.Module):
        return given
    found = getattr(given, name, None)
    if not isinstance(found, Tensor):
        raise ValueError(f"{type(given).__name__} has no {name}; pass a tensor or another layer")
    return found
