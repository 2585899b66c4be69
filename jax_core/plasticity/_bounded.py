"""Changes by pairs of spikes that depend on the weight, spike after spike."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..spikes._sort import sort_times
from ._rule import Sample
from ._traces import decay


class _Traces(NamedTuple):
    """Traces of neurons, as they were when each last spiked."""

    value: Array
    since: Array

    def at(self, time: Array, tau: Array | float) -> Array:
        return self.value * decay(time - self.since, tau)

    def spike(self, neuron: Array, time: Array, tau: Array | float, nearest: bool, now: Array):
        """The traces after a spike, if there is one ``now``."""
        kept = self.value[neuron] * decay(time - self.since[neuron], tau)
        value = jnp.where(nearest, 1, kept + 1)
        return _Traces(
            self.value.at[neuron].set(jnp.where(now, value, self.value[neuron])),
            self.since.at[neuron].set(jnp.where(now, time, self.since[neuron])),
        )


def bounded_change(rule: Any, sample: Sample) -> Array:
    """The change by `PairSTDP` with ``mu``, in the order of all spikes."""
    if sample.weight.size == 0:
        return jnp.zeros_like(sample.weight)
    inputs, k = sample.pre.shape
    m = sample.post.shape[1]
    # Presynaptic spikes are in front, and equal times keep their order.
    times = jnp.concatenate([sample.pre.reshape(-1), sample.post.reshape(-1)])
    times, place = sort_times(times)
    is_pre = place < inputs * k
    of_pre = jnp.where(is_pre, place // max(k, 1), 0)
    of_post = jnp.where(is_pre, 0, (place - inputs * k) // max(m, 1))
    nearest = rule.pairing == "nearest"

    def step(event: Array, carry: tuple[Array, _Traces, _Traces]):
        weight, pre, post = carry
        time, now_pre, i, o = times[event], is_pre[event], of_pre[event], of_post[event]
        down = -rule.a_minus * post.at(time, rule.tau_minus)
        column = _bounded(rule, weight[:, i], down, up=False)
        weight = weight.at[:, i].set(jnp.where(now_pre, column, weight[:, i]))
        pre = pre.spike(i, time, rule.tau_plus, nearest, now_pre)
        row = _bounded(rule, weight[o], rule.a_plus * pre.at(time, rule.tau_plus), up=True)
        weight = weight.at[o].set(jnp.where(now_pre, weight[o], row))
        post = post.spike(o, time, rule.tau_minus, nearest, ~now_pre)
        return weight, pre, post

    starts = (_Traces(x[:, 0], jnp.zeros_like(x[:, 0])) for x in sample.state[:2])
    spikes = jnp.isfinite(times).sum()
    weight, _, _ = lax.fori_loop(0, spikes, step, (sample.weight, *starts))
    return weight - sample.weight


def _bounded(rule: Any, weight: Array, change: Array, *, up: bool) -> Array:
    """Weights after a change, which counts less the nearer they are to the bound ahead."""
    low, high = (jnp.asarray(bound, weight.dtype) for bound in (rule.w_min, rule.w_max))
    place = jnp.clip((weight - low) / (high - low), 0, 1)
    room = 1 - place if up else place
    return jnp.clip(weight + room**rule.mu * change, low, high)
