"""Slots without a spike change nothing, whichever way the gradient goes through the others."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch import jax_core
from evtorch.jax_core import Events, Form
from evtorch.jax_core.adjoint import _directions as _adjoint
from evtorch.jax_core.adjoint import _through_events
from evtorch.jax_core.layer._differentiable import Settings, simulate
from evtorch.jax_core.neuron._constants import Constants

from .._thorough import usual

ONCE = {"tau_mem": 2.0, "tau_syn": 1.0, "refractory": math.inf}
EXPLICIT = {**ONCE, "tau_mem": 2.5, "gradient": "fast_and_deep"}
SEVERAL = {"tau_mem": 2.5, "tau_syn": 1.0, "max_spikes": 3, "t_max": 4.0}


def sparse(rng: np.random.Generator, share: float, batch: int = 4, pre: int = 150):
    """Spike times of which about ``share`` are there, and the same as events without others."""
    spikes = rng.uniform(0, 2, (batch, pre, 1)).astype(np.float32)
    spikes[rng.random(spikes.shape) > share] = np.inf
    events = jax_core.events_from_spike_times(spikes)
    most = int(np.isfinite(spikes).sum(axis=(1, 2)).max())
    return spikes, jax_core.Events(events.time[:, :most], events.index[:, :most])


def gradients(layer, spikes, weight, options, seed=0):
    def run(spikes, weight):
        out = layer(spikes, weight, **options)
        return jnp.where(jnp.isfinite(out), out, 0)

    out, pull_back = jax.vjp(jax.jit(run), spikes, weight)
    upstream = np.random.default_rng(seed).normal(size=out.shape).astype(np.float32)
    of_spikes, of_weight = pull_back(jnp.asarray(upstream))
    return out, of_spikes, of_weight


@pytest.mark.parametrize("share", usual({0.05}, [0.0, 0.05, 0.8]))
@pytest.mark.parametrize(
    "options",
    usual([ONCE, SEVERAL], [ONCE, EXPLICIT, SEVERAL]),
    ids=["once", "explicit", "several"],
)
def test_gradients_are_those_without_the_empty_slots(share, options, rng):
    spikes, events = sparse(rng, share)
    weight = rng.normal(0.5, 0.8, (7, 150)).astype(np.float32)
    options = options if "t_max" in options else {**options, "t_max": 10.0}
    full = gradients(jax_core.lif, spikes, weight, {**options, "on_overflow": "truncate"})
    cut = gradients(jax_core.lif, events, weight, {**options, "on_overflow": "truncate"})
    assert (share == 0) == (not np.any(full[0]))
    for one, other in zip(full[::2], cut[::2], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    of_events = np.asarray(cut[1].time)
    of_slots = np.asarray(full[1])[..., 0]
    for sample in range(len(spikes)):
        index = np.asarray(events.index[sample])
        there = index >= 0
        np.testing.assert_allclose(
            of_slots[sample, index[there]], of_events[sample, there], rtol=1e-5, atol=1e-6
        )
    assert not np.any(of_slots[np.isinf(spikes[..., 0])])


@pytest.mark.parametrize("max_spikes", usual({3}, [3, 12]))
@pytest.mark.parametrize("pairs", usual({200}, [1 << 15, 200]))
def test_groups_and_all_at_once_agree(max_spikes, pairs, rng, monkeypatch):
    """So few pairs at a time that there are several groups, the last of which is not full."""
    monkeypatch.setattr(_through_events, "_PAIRS", pairs)
    batch = 5
    spikes, events = sparse(rng, 0.9, batch)
    weight = jnp.asarray(rng.normal(0.3, 0.5, (6, 150)), jnp.float32)
    values = [np.float32(x) for x in (2.5, 1.0, 1.0, 0.1, -0.2, 0.3)]
    settings = Settings(4.0, 1e-3, max_spikes, "eventprop", Form())
    slots = Events(jnp.asarray(spikes).reshape(batch, 150), None)
    ways = [
        (slots, _through_events._slot_by_slot),
        (slots, _through_events._in_order),
        (events, _through_events._in_order),
    ]
    for given, way in ways:
        layer = settings, given, weight, Constants(*map(jnp.asarray, values))
        spiking = simulate(*layer)
        upstream = jnp.where(jnp.isfinite(spiking.time), 1.0, 0.0)
        residuals = (*layer, spiking)

        def in_groups(part, weight, constants, is_refractory, way=way):
            of_pairs = _through_events._contributions(constants, is_refractory)
            return way(part, weight, constants, of_pairs)

        at_once = _adjoint.pull_back_all(residuals, upstream)
        found = _adjoint._pull_back(residuals, upstream, in_groups)
        assert jnp.any(at_once[1] != 0)
        for one, other in zip(*map(jax.tree.leaves, (at_once, found)), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("readout", usual({"max", "integral"}, ["max", "integral", "value"]))
@pytest.mark.parametrize("tau_mem", [2.5, np.linspace(1, 3, 3, dtype=np.float32)])
def test_readouts_are_those_without_the_empty_slots(readout, tau_mem, rng):
    spikes, events = sparse(rng, 0.05)
    weight = rng.normal(0, 1, (3, 150)).astype(np.float32)
    options = {"tau_mem": tau_mem, "tau_syn": 1.0, "readout": readout, "t_max": 3.0}
    full = gradients(jax_core.li, spikes, weight, options)
    cut = gradients(jax_core.li, events, weight, options)
    assert np.any(full[0])
    for one, other in zip(full[::2], cut[::2], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.thorough
@pytest.mark.usefixtures("x64")
def test_second_derivatives_are_those_without_the_empty_slots(rng):
    spikes, events = sparse(rng, 0.3, batch=2)
    weight = jnp.asarray(rng.normal(0.5, 0.8, (2, 150)))
    direction = jnp.asarray(rng.normal(size=weight.shape))

    def curvature(given):
        def first(weight):
            out = jax_core.lif(given, weight, **EXPLICIT, t_max=10.0)
            return jnp.sum(jnp.where(jnp.isfinite(out), out, 0) ** 2)

        return jax.jit(jax.grad(lambda weight: jnp.vdot(jax.grad(first)(weight), direction)))

    full = curvature(spikes.astype(np.float64))(weight)
    cut = curvature(Events(events.time.astype(np.float64), events.index))(weight)
    assert np.any(full)
    np.testing.assert_allclose(full, cut, rtol=1e-9, atol=1e-12)
