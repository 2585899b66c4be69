"""Voltages of any neuron at given times, given its spikes.

As `adjoint._replay`, but spikes stand for themselves: they happen at the times that they have.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array, lax

from ..adjoint._replay import Motion, Now, arrive, in_strides
from ..neuron._protocol import Neuron
from ..simulate._events import Input
from ..simulate._start import Start, where


def voltages(
    events: Input,
    weight: Array,
    neuron: Neuron,
    start: Start,
    own: Array,
    looks: Array,
    quantity: str = "voltage",
) -> Array:
    """Voltages ``(batch, out, T)`` at times ``looks``, ``(batch, T)``; of what happens at one time
    input comes first, and looks last.

    **Arguments:** ``own``: spike times ``(batch, out, K)``, ``inf`` where there is none;
    ``quantity``: what to look at, `Neuron.quantity`.
    """
    everywhere = [
        jnp.broadcast_to(x[:, None], (*own.shape[:2], x.shape[1])) for x in (events.time, looks)
    ]
    time = jnp.concatenate([everywhere[0], own, everywhere[1]], axis=-1)
    place = jnp.argsort(lax.stop_gradient(time), axis=-1, stable=True).astype(jnp.int32)
    rank = jnp.argsort(place, axis=-1)[..., time.shape[-1] - looks.shape[1] :]
    motion = Motion(neuron, jnp.zeros((), weight.dtype))
    layer = _Layer(events, weight, motion, time, own.shape[-1], quantity)
    now = Now(jnp.zeros_like(start.hold), start.state, start.hold)
    _, found = in_strides(layer.step, now, jnp.moveaxis(place, -1, 0), -1)
    return jnp.take_along_axis(jnp.moveaxis(found, 0, -1), rank, axis=-1)


@dataclass(frozen=True, eq=False)
class _Layer:
    """A layer, and all that happens to its neurons."""

    events: Input
    weight: Array
    motion: Motion
    time: Array
    """Of events, spikes and looks, ``(batch, out, M + K + T)``."""
    room: int
    quantity: str

    def step(self, now: Now, place: Array) -> tuple[Now, Array]:
        """Go on to what happens next to each neuron; **returns** what is seen after that, too."""
        width, neuron = self.events.time.shape[1], self.motion.neuron
        at = jnp.where(place >= 0, place, 0)[..., None]
        when = jnp.take_along_axis(self.time, at, axis=-1)[..., 0]
        happens = (place >= 0) & jnp.isfinite(when)
        now = self.motion.go_on(now, jnp.where(happens, when, now.clock))
        is_event = happens & (place < width)
        if width > 0:
            m = jnp.where(is_event, place, 0)
            layer = self.events, self.weight, neuron
            now = now._replace(state=arrive(*layer, now.state, m, is_event))
        is_spike = happens & (place >= width) & (place < width + self.room)
        now = now._replace(
            state=where(is_spike, neuron.jump(now.state), now.state),
            hold=jnp.where(is_spike, now.clock + self.motion.pause, now.hold),
        )
        return now, neuron.quantity(now.state, self.quantity)
