"""The models of neurons with constants of their own, and what the reference must know of them."""

import jax.numpy as jnp
import numpy as np

from evtorch import jax_core

from ..reference._linear_neuron import LinearNeuron

SAMPLES, INPUTS, NEURONS, SPIKES, ROOM, END = 2, 5, 4, 4, 40, 0.15


def draw(seed):
    """Input spikes and weights, excitatory and inhibitory, of which one neuron stays silent."""
    rng = np.random.default_rng(seed)
    spikes = np.sort(rng.uniform(0, 0.1, (SAMPLES, INPUTS, SPIKES)), axis=-1)
    spikes = np.sort(np.where(rng.random(spikes.shape) < 0.2, np.inf, spikes), axis=-1)
    weight = rng.normal(0.6, 1.0, (NEURONS, INPUTS))
    weight[-1] = -np.abs(weight[-1])
    return rng, spikes, weight


def of_threshold(rng, refractory):
    return {
        "v_threshold": rng.uniform(0.8, 1.2, NEURONS),
        "v_reset": rng.uniform(-0.5, 0.3, NEURONS),
        "refractory": rng.uniform(0.5, 1.5, NEURONS) * refractory,
    }


class OfIF:
    model = jax_core.IF
    size = 0.7

    @staticmethod
    def constants(rng, refractory):
        return {"tau_syn": rng.uniform(0.004, 0.02, NEURONS), **of_threshold(rng, refractory)}

    @staticmethod
    def linear(c):
        rate = 1 / c["tau_syn"]
        motion = np.array([[0, rate], [0, -rate]])
        start = np.array([c["v_reset"], 0.0])
        return LinearNeuron(
            motion,
            np.array([0.0, 1.0]),
            c["v_threshold"],
            c["v_reset"],
            c["refractory"],
            start=start,
        )


MODELS = {"IF": OfIF}


def model_of(given, constants):
    """The model with these constants, of which a refractory period of 0 is a number."""
    arrays = {name: jnp.asarray(x) for name, x in constants.items()}
    if not np.any(constants["refractory"]):
        arrays["refractory"] = 0.0
    return given.model(**arrays)


def expected_spikes(given, constants, spikes, weight, n):
    """Those of neuron ``n`` for one sample's input, by the reference."""
    own = {name: float(np.broadcast_to(x, NEURONS)[n]) for name, x in constants.items()}
    events = [(t, w) for row, w in zip(spikes, weight[n], strict=True) for t in row]
    events = sorted(event for event in events if np.isfinite(event[0]))
    return given.linear(own).spikes(events, END)
