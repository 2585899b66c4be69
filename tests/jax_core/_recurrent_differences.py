"""Gradients of recurrent layers by finite differences of the reference."""

import math

import numpy as np

from ..reference import central_difference
from ._layers import relative_error
from ._recurrent_layers import NETWORKS, SPIKES, pull_back_all

STEP = 2e-4


def objective(layers, network, cotangent, order):
    """``sum(cotangent * spike times)`` of the reference as a function of one argument.

    NaN where that argument changes the order of events.
    """
    arguments = {name: value[network : network + 1] for name, value in layers.arguments.items()}
    present = np.isfinite(arguments["spikes"])

    def value(name, changed):
        new = arguments[name].copy()
        at = present if name == "spikes" else np.ones_like(new, bool)
        new[at] = changed
        run = layers.with_arguments({**arguments, name: new}).run(0)
        if run.order != order:
            return math.nan
        times = run.times(SPIKES)
        return float(np.sum(cotangent[network] * np.where(np.isfinite(times), times, 0)))

    def differences(name, step):
        at = present if name == "spikes" else np.isfinite(arguments[name])
        if name == "refractory":
            # 0 is a boundary, inf cannot be perturbed.
            at = at & (arguments[name] > 0)
        gradient = np.zeros(arguments[name].shape)

        def along(some):
            full = arguments[name].copy()
            full[at] = some
            return value(name, full[present] if name == "spikes" else full.ravel())

        gradient[at] = central_difference(along, arguments[name][at], step)
        return gradient

    return differences


def smooth_gradients(layers, cotangent, wanted):
    """Gradients by finite differences, by network, of the first that have them to 1e-6."""
    expected = {}
    for network in range(NETWORKS):
        run = layers.run(network)
        if not run.order or run.gap < 5e-3 or run.slope < 0.2:
            continue
        differences = objective(layers, network, cotangent, run.order)
        gradients = {}
        for name in layers.arguments:
            coarse, fine = differences(name, STEP), differences(name, STEP / 2)
            # Where halving the step matters, the differences are no better than that.
            if not relative_error(coarse, fine).max() < 1e-7:
                break
            gradients[name] = fine[0]
        else:
            expected[network] = gradients
        if len(expected) == wanted:
            break
    return expected


def compare(layers, cotangent, expected, least):
    """Compare gradients with finite differences, of which ``least`` are not zero."""
    actual = pull_back_all(layers, cotangent)
    networks = list(expected)
    for name in layers.arguments:
        differences = np.array([expected[network][name] for network in networks])
        found = actual[name][networks]
        if name == "refractory":
            value = layers.networks.constants[name][networks]
            assert np.all(found[np.isinf(value)] == 0)
            found = np.where((value > 0) & np.isfinite(value), found, 0)
        assert np.count_nonzero(differences) > least, name
        assert relative_error(found, differences).max() < 1e-6, name
