"""The highest voltages of layers of neurons of any model, as a function of tensors."""

from typing import Any, NamedTuple

from torch import Tensor

from ... import jax_core
from ...jax_core import Connections, Events, Neuron
from ...jax_core._validate import check_duration
from ...jax_core.layer._spiking_peak import check_peaks
from ._layer import call
from ._spiking import check_spiking


class Peak(NamedTuple):
    """The highest voltage of each neuron, had it no threshold, each ``(..., out)``."""

    voltage: Tensor
    time: Tensor
    """When that is, for the first time, seconds."""
    height: Tensor
    """From 0, the voltage at the beginning, to 1, the threshold, and beyond."""
    drive: Tensor
    """The summed weights of all input up to ``t_max``."""


def spiking_peak(
    spikes: Tensor | Events,
    weight: Tensor,
    neuron: Neuron,
    *,
    t_max: float,
    connections: Connections | None = None,
) -> Peak:
    """The highest voltage of each neuron of a layer, up to ``t_max``, if none of them spiked.

    Of a neuron that `spiking` finds silent, it is that of its voltage, and ``height`` is below 1.
    Exact gradients with respect to spikes, weights and those fields of the neuron that are tensors,
    also of the time.

    **Arguments:** ``t_max``: end of the window, seconds, finite. All others as in `spiking`.

    **Returns:** a tuple of ``voltage``, ``time``, ``height`` and ``drive``, ``(..., out)``. A
    voltage that never rises peaks at time 0, with a height of 0 and no gradient of that.

    **Raises:** ``ValueError`` for models that do not say when their voltage is highest:
    ``jax_core.QIF``, and neurons given by their differential equation.
    """
    check_spiking(spikes, weight, neuron, 1, t_max, 0.0, connections)
    check_peaks(neuron)
    check_duration(t_max, "t_max", infinite=False)
    named: dict[str, Any] = {"neuron": neuron, "connections": connections, "t_max": t_max}
    return Peak(*call(jax_core.spiking_peak, spikes, weight, **named))
