"""What a classifier answers all over a plane."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ._axes import array, axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def decisions(
    predict: Callable[[Tensor], Tensor],
    ax: Axes | None = None,
    *,
    bounds: Sequence[float] = (0.0, 1.0, 0.0, 1.0),
    resolution: int = 200,
    where: Callable[[Tensor], Tensor] | None = None,
    points: Tensor | None = None,
    classes: Tensor | None = None,
    names: Sequence[str] | None = None,
) -> Axes:
    """A map of the classes that a classifier answers, and the samples that it gets wrong.

    **Arguments:**

    - ``predict``: from points ``(N, 2)`` to classes, whole numbers ``(N,)``, -1 for no answer.
    - ``bounds``: left, right, bottom, top; ``resolution``: points along each side.
    - ``where``: from points ``(N, 2)`` to bool ``(N,)``, what is to be drawn; ``None``: all.
    - ``points``, ``classes``: samples ``(n, 2)`` and their classes ``(n,)``. Those answered wrongly
      are dots in the colour of their class.
    - ``names``: of the classes, for the legend.
    """
    if (points is None) != (classes is None):
        raise ValueError("points and classes belong together; pass both or neither")
    if len(bounds) != 4 or not (bounds[0] < bounds[1] and bounds[2] < bounds[3]):
        raise ValueError(f"bounds must be left < right, bottom < top, got {tuple(bounds)}")
    ax = axes_or_new(ax)
    x = torch.linspace(bounds[0], bounds[1], resolution)
    y = torch.linspace(bounds[2], bounds[3], resolution)
    plane = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 2)
    with torch.no_grad():
        answers = array(predict(plane), "predict(points)", 1, "(N,)")
    hidden = answers < 0
    if where is not None:
        hidden = hidden | ~array(where(plane), "where(points)", 1, "(N,)")
    image = np.ma.masked_where(hidden, answers).reshape(resolution, resolution)
    known = [] if classes is None else [int(classes.max()) + 1]
    count = max([2, int(answers.max(initial=0)) + 1, len(names or ()), *known])
    colors = [f"C{k % 10}" for k in range(count)]
    _draw_map(ax, image, colors, bounds)
    if points is not None and classes is not None:
        _draw_wrong(ax, predict, points, classes, colors)
    if names is not None:
        _name_classes(ax, names, colors)
    return ax


def _draw_map(ax: Axes, image: Any, colors: list[str], bounds: Sequence[float]) -> None:
    from matplotlib.colors import ListedColormap

    left, right, bottom, top = bounds
    ax.imshow(
        image,
        cmap=ListedColormap(colors),
        vmin=-0.5,
        vmax=len(colors) - 0.5,
        alpha=0.4,
        origin="lower",
        extent=(left, right, bottom, top),
        interpolation="nearest",
    )


def _draw_wrong(
    ax: Axes, predict: Callable[[Tensor], Tensor], points: Tensor, classes: Tensor, colors: Any
) -> None:
    with torch.no_grad():
        wrong = array(predict(points), "predict(points)") != array(classes, "classes")
    at = array(points, "points", 2, "(n, 2)")[wrong]
    true = array(classes, "classes")[wrong]
    size = 25 if len(at) < 100 else 8
    of_each = [colors[int(k)] for k in true]
    ax.scatter(at[:, 0], at[:, 1], c=of_each, edgecolors="k", linewidths=0.8, s=size)
    ax.set_title(
        f"decisions; {len(at)} of {len(points)} samples are wrong\n"
        "(dots, in the colour of their true class)"
    )


def _name_classes(ax: Axes, names: Sequence[str], colors: list[str]) -> None:
    from matplotlib.patches import Patch

    named = zip(colors, names, strict=False)
    patches = [Patch(color=color, alpha=0.4, label=name) for color, name in named]
    ax.legend(handles=patches, loc="upper left", bbox_to_anchor=(1, 1))
