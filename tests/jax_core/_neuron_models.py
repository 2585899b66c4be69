"""The models of neurons with constants of their own, and what the reference must know of them."""

import jax
import jax.numpy as jnp
import numpy as np

from evtorch import jax_core

from ..reference._linear_neuron import LinearNeuron

SAMPLES, INPUTS, NEURONS, SPIKES, ROOM, END = 2, 5, 4, 4, 80, 0.15


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


class OfAdaptiveLIF:
    """Neurons with real and with complex rates, with and without a rest below the threshold."""

    model = jax_core.AdaptiveLIF
    size = 3.0

    @staticmethod
    def constants(rng, refractory):
        return {
            "tau_mem": rng.uniform(0.008, 0.03, NEURONS),
            "tau_syn": rng.uniform(0.004, 0.02, NEURONS),
            "tau_w": rng.uniform(0.005, 0.1, NEURONS),
            "a": np.array([-0.6, 0.2, 3.0, 20.0]) * rng.uniform(0.5, 1.5, NEURONS),
            "b": rng.uniform(0.1, 1, NEURONS),
            "v_leak": np.array([0.1, 1.3, -0.2, 0.0]),
            **of_threshold(rng, refractory),
        }

    @staticmethod
    def linear(c):
        mem, syn, w = 1 / c["tau_mem"], 1 / c["tau_syn"], 1 / c["tau_w"]
        motion = np.array([[-mem, -mem, mem], [c["a"] * w, -w, 0], [0, 0, -syn]])
        threshold, reset = c["v_threshold"] - c["v_leak"], c["v_reset"] - c["v_leak"]
        return LinearNeuron(
            motion,
            np.array([0.0, 0.0, 1.0]),
            threshold,
            reset,
            c["refractory"],
            at_spike=np.array([0.0, c["b"], 0.0]),
            start=np.array([0.0 if threshold > 0 else reset, 0.0, 0.0]),
        )


class OfAlphaLIF:
    """Neurons with equal time constants, and with a leak above the threshold, among others."""

    model = jax_core.AlphaLIF
    size = 0.6

    @staticmethod
    def constants(rng, refractory):
        tau_syn = rng.uniform(0.004, 0.02, NEURONS)
        return {
            "tau_mem": np.where(
                np.arange(NEURONS) == 2, tau_syn, rng.uniform(0.008, 0.03, NEURONS)
            ),
            "tau_syn": tau_syn,
            "v_leak": np.array([0.1, 1.3, -0.2, 0.0]),
            **of_threshold(rng, refractory),
        }

    @staticmethod
    def linear(c):
        mem, syn = 1 / c["tau_mem"], 1 / c["tau_syn"]
        motion = np.array([[-mem, mem, 0], [0, -syn, syn], [0, 0, -syn]])
        threshold, reset = c["v_threshold"] - c["v_leak"], c["v_reset"] - c["v_leak"]
        start = np.array([0.0 if threshold > 0 else reset, 0.0, 0.0])
        arriving = np.array([0.0, 0.0, np.e])
        return LinearNeuron(motion, arriving, threshold, reset, c["refractory"], start=start)


class OfDeltaLIF:
    """Neurons with and without leak, some of which start above the threshold."""

    model = jax_core.DeltaLIF
    size = 0.8

    @staticmethod
    def constants(rng, refractory):
        tau_mem = rng.uniform(0.008, 0.03, NEURONS)
        return {
            "tau_mem": np.where(rng.random(NEURONS) < 0.4, np.inf, tau_mem),
            "v_leak": np.array([0.1, 1.3, -0.2, 0.0]),
            **of_threshold(rng, refractory),
        }

    @staticmethod
    def linear(c):
        threshold, reset = c["v_threshold"] - c["v_leak"], c["v_reset"] - c["v_leak"]
        start = np.array([0.0 if threshold > 0 else reset])
        motion = np.array([[-1 / c["tau_mem"]]])
        arriving = np.array([1.0])
        return LinearNeuron(motion, arriving, threshold, reset, c["refractory"], start=start)


MODELS = {
    "IF": OfIF,
    "AdaptiveLIF": OfAdaptiveLIF,
    "AlphaLIF": OfAlphaLIF,
    "DeltaLIF": OfDeltaLIF,
}


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


def directional(run, rng, at, gradient, path, leaf):
    """Compare in a random direction of one argument; **returns** whether spikes stay the same."""
    finite = jnp.isfinite(leaf)
    size = jnp.mean(jnp.abs(leaf[finite]))
    move = jnp.where(finite, rng.normal(size=leaf.shape) * size, 0)

    def moved(h):
        return run(
            jax.tree_util.tree_map_with_path(lambda p, x: x + h * move if p == path else x, at)
        )

    def quotient(h):
        (above, more), (below, less) = moved(h), moved(-h)
        return (above - below) / (2 * h), np.array_equal(np.isfinite(more), np.isfinite(less))

    # Richardson's extrapolation: spikes with a small slope are far from linear.
    (wide, is_same), (narrow, _) = quotient(1e-6), quotient(5e-7)
    if not is_same:
        return False
    expected = (4 * narrow - wide) / 3
    slope = dict(jax.tree_util.tree_leaves_with_path(gradient))[path]
    terms = jnp.where(finite, slope * move, 0)
    scale = float(jnp.sum(jnp.abs(terms)))
    np.testing.assert_allclose(jnp.sum(terms), expected, rtol=0, atol=1e-6 * scale + 1e-9)
    return True
