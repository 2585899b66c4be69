"""Axes of the optional package matplotlib, and units of time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Unit = Literal["s", "ms", "us"]
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
UNIT_NAMES: dict[str, str] = {"s": "s", "ms": "ms", "us": "µs"}


def axes_or_new(ax: Axes | None) -> Axes:
    """``ax``, or the axes of a new figure.

    The figure belongs to pyplot where that is in use, so that notebooks show it and ``plt.show()``
    works; a script that has not imported pyplot needs no display.
    """
    try:
        from matplotlib.axes import Axes
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        raise ImportError(
            "plots need the package matplotlib, which is not installed; run: pip install "
            "matplotlib (or, in a clone of evtorch: pip install '.[plots]')"
        ) from error
    if ax is None:
        pyplot: Any = sys.modules.get("matplotlib.pyplot")
        figure = Figure(layout="constrained") if pyplot is None else pyplot.figure()
        return figure.subplots()
    if not isinstance(ax, Axes):
        raise TypeError(f"ax must be matplotlib axes or None, got {type(ax).__name__}")
    return ax


def seconds_per(unit: str) -> float:
    """How long a unit is."""
    if unit not in _SECONDS:
        raise ValueError(f"unit must be one of {', '.join(_SECONDS)}, got {unit!r}")
    return _SECONDS[unit]


def time_label(unit: str, what: str = "time") -> str:
    """What to write at an axis of times."""
    return f"{what}, {UNIT_NAMES[unit]}"


def array(x: Any, name: str, axes: int | None = None, what: str = "") -> np.ndarray:
    """A tensor or array on the host; an error if it does not have ``axes`` axes: ``what``."""
    if isinstance(x, Tensor):
        x = x.detach().to("cpu", torch.float64 if x.is_floating_point() else None).numpy()
    found = np.asarray(x)
    if axes is not None and found.ndim != axes:
        raise ValueError(
            f"{name} must have shape {what}, got {found.shape}; "
            f"choose one of a batch, such as {name}[0]"
        )
    return found
