"""The highest voltages of neurons of any model, as far as their input drives them."""

import jax
import numpy as np
from jax import Array

from .._compiled import compiled
from .._events import Events
from .._validate import check_duration
from ..connect._protocol import Connections
from ..neuron._protocol import Neuron
from ..simulate._events import sorted_input
from ..walk._peak import Peak, peaks
from ._prepared import prepare
from ._spiking import Given


def spiking_peak(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    neuron: Neuron,
    *,
    t_max: float | Array,
    connections: Connections | None = None,
    validate: bool = True,
) -> Peak:
    """The highest voltage of each neuron of a layer, up to ``t_max``, if none of them spiked.

    Of a neuron that `spiking` finds silent, it is that of its voltage, and ``height`` is below 1.
    Exact, and differentiable, once, with respect to spike times, weights and the neuron's constants
    (the derivative of the voltage at the peak; that of its time by the implicit function theorem).
    Time and memory: all (neuron, event) pairs.

    **Arguments:** ``t_max``: end of the window, seconds, finite. All others as in `spiking`.

    **Returns:** a `Peak`, of ``voltage``, ``time``, ``height`` and ``drive``, ``(..., out)``. A
    voltage that never rises peaks at time 0, with a height of 0 and no gradient of that.

    **Raises:** ``TypeError`` or ``ValueError`` naming the argument; ``ValueError`` for a model that
    does not say when its voltage is highest, such as `QIF` and `ODENeuron`.
    """
    layer = prepare(spikes, weight, Given(neuron), validate, connections)
    check_peaks(neuron)
    check_duration(t_max, "t_max", positive=True, infinite=False)

    def look(events: Events, weight: Array, neuron: Neuron) -> Peak:
        return _look(events, weight, neuron, t_max)

    return jax.tree.map(layer.unflatten, layer.over(look))


def check_peaks(neuron: Neuron) -> None:
    """Check that a model says when its voltage is highest."""
    if not has_peaks(neuron):
        raise ValueError(
            f"{type(neuron).__name__} does not say when its voltage is highest: "
            f"{neuron.without_peaks}"
        )


def has_peaks(neuron: Neuron) -> bool:
    """Whether a model says when its voltage is highest."""
    return type(neuron).highest is not Neuron.highest


@compiled("spiking_peak")
def _look(events: Events, weight: Array, neuron: Neuron, t_max: float | Array) -> Peak:
    return peaks(sorted_input(events, weight), weight, neuron, t_max)
