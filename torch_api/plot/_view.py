"""A page to scrub through a sample's spikes with."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..._files import whole_file  # pyright: ignore[reportMissingImports]  # It lies in top/.
from ...jax_core import Events
from ...jax_core._validate import check_duration
from .._validate import check_spikes
from ._axes import UNIT_NAMES, Unit, array, seconds_per

_TEMPLATE = Path(__file__).with_name("_view.html")
Spikes = Tensor | Events


def view(
    layers: Mapping[str, Spikes] | Sequence[Spikes],
    path: str | os.PathLike[str],
    *,
    unit: Unit = "ms",
    duration: float | None = None,
    title: str = "Spikes of one sample",
) -> Path:
    """Write a page that shows one sample's way through the layers, to be opened in a browser.

    Layers stand above each other over one axis of time. A slider moves the time cursor, or dragging
    in a picture does, and buttons go from spike to spike; spikes to come are pale, and each layer
    counts its spikes and active neurons until then. Pointing at a spike shows its neuron and time.
    ``page.html#t=3.5`` opens at 3.5.

    The page is one file that needs neither network nor matplotlib: 10 kB and some 25 bytes per
    spike. (A page by Plotly carries 4 MB of its program, and a slider there has a prepared picture
    for every position instead of any time.)

    **Arguments:**

    - ``layers``: each layer's spikes by its name, in the order of the data's way, or without names
      (``layer 0``, ...): spike times of one sample, seconds, ``(neurons, k)``, or ``Events``
      ``(M,)``.
    - ``path``: of the page, such as ``"sample.html"``; replaced at once if there is one.
    - ``duration``: where the axis of time ends, seconds; by default, at the last spike.

    **Returns:** the path.

    **Raises:** ``ValueError`` for no layers, for layers with a batch axis, NaN or descending times,
    for spikes after ``duration``, and without it for layers that are all silent;
    ``FileNotFoundError`` for a folder that does not exist.
    """
    if duration is not None:
        check_duration(duration, "duration", infinite=False, positive=True)
    second = seconds_per(unit)
    rows = [_layer(name, spikes, second) for name, spikes in _named(layers)]
    last = max((row["time"][-1] for row in rows if row["time"]), default=0.0)
    end = last if duration is None else duration / second
    # Rounded to their dtype, spikes at the end may lie behind it.
    if end < last * (1 - 1e-6):
        raise ValueError(
            f"duration is {duration} s, but there are spikes until {last * second:.6g} s; pass a "
            "longer one, or None"
        )
    end = max(end, last)
    if not end:
        raise ValueError(
            "layers have no spikes after time 0, so that the axis of time has no end; pass "
            "duration=, in seconds, to see that"
        )
    data = {"unit": UNIT_NAMES[unit], "end": end, "layers": rows}
    # A name that holds </script> must not end the script.
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    # At once, as each may hold what stands for the other.
    filled = {"__TITLE__": html.escape(title), "__DATA__": text}
    page = _TEMPLATE.read_text(encoding="utf-8")
    page = re.sub("|".join(filled), lambda found: filled[found[0]], page)
    with whole_file(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return Path(path)


def _named(layers: Any) -> list[tuple[str, Any]]:
    """The layers' spikes with their names."""
    if isinstance(layers, Mapping):
        found = list(layers.items())
    elif isinstance(layers, Sequence) and not isinstance(layers, str | Events):
        found = [(f"layer {k}", spikes) for k, spikes in enumerate(layers)]
    else:
        raise TypeError(
            "layers must be a mapping of names to spikes or a sequence of spikes, one for each "
            f"layer, got {type(layers).__name__}; for a single layer pass {{'spikes': ...}}"
        )
    if not found:
        raise ValueError("layers must hold the spikes of at least one layer, got none")
    for name, _ in found:
        if not isinstance(name, str):
            raise TypeError(f"layers must have strings as names, got {name!r}")
    return found


def _layer(name: str, spikes: Any, second: float) -> dict[str, Any]:
    """What the page needs of a layer, spikes in the order of their times."""
    label = f"layers[{name!r}]"
    check_spikes(spikes, name=label)
    if isinstance(spikes, Events):
        time = array(spikes.time, f"{label}.time", 1, "(M,)")
        neuron = array(spikes.index, f"{label}.index", 1, "(M,)")
        neurons = int(neuron.max(initial=0)) + 1
    else:
        time = array(spikes, label, 2, "(neurons, k)")
        neurons = len(time)
        neuron = np.broadcast_to(np.arange(neurons)[:, None], time.shape)
    if not neurons:
        raise ValueError(f"{label} must have at least one neuron, got shape {time.shape}")
    there = np.isfinite(time)
    time, neuron = time[there], neuron[there]
    order = np.argsort(time, kind="stable")
    times = (time[order] / second).tolist()
    return {"name": name, "neurons": neurons, "time": times, "neuron": neuron[order].tolist()}
