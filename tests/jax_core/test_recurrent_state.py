"""Recurrent layers in pieces of time give exactly what one run gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch import jax_core

from .._thorough import usual

SAMPLES, INPUTS, NEURONS, SPIKES, ROOM = 3, 5, 4, 4, 60
END, PIECES = 0.12, 3


def draw(seed, delay=None, refractory=0.0):
    rng = np.random.default_rng(seed)
    spikes = np.sort(rng.uniform(0, END, (SAMPLES, INPUTS, SPIKES)), axis=-1)
    spikes = jnp.asarray(np.sort(np.where(rng.random(spikes.shape) < 0.2, np.inf, spikes), axis=-1))
    weight = jnp.asarray(rng.normal(0.6, 0.7, (NEURONS, INPUTS)))
    recurrent = jnp.asarray(rng.normal(0.0, 0.3, (NEURONS, NEURONS)))
    constants = {
        "tau_mem": rng.uniform(0.008, 0.03, NEURONS),
        "tau_syn": rng.uniform(0.004, 0.02, NEURONS),
        "v_threshold": rng.uniform(0.8, 1.2, NEURONS),
        "v_leak": rng.uniform(-0.2, 0.3, NEURONS),
        "v_reset": rng.uniform(-1.0, 0.3, NEURONS),
    }
    constants = {name: jnp.asarray(value) for name, value in constants.items()}
    delay = None if delay is None else jnp.asarray(rng.uniform(0, delay, NEURONS))
    return {
        "spikes": spikes,
        "weight": weight,
        "recurrent_weight": recurrent,
        "recurrent_delay": delay,
        "current": jnp.asarray(rng.uniform(-0.2, 0.5, (SAMPLES, NEURONS))),
        "refractory": jnp.asarray(refractory),
        **constants,
    }


def form(refractory):
    return jax_core.Form(None, refractory == np.inf, refractory > 0)


def whole(given, refractory, room=ROOM, **options):
    return jax_core.recurrent_lif(
        **given, max_spikes=room, t_max=END, return_state=True, form=form(refractory), **options
    )


def in_pieces(given, refractory, room=ROOM, as_events=False):
    state, found, length = None, [], END / PIECES
    spikes = given["spikes"]
    for piece in range(PIECES):
        begin, end = piece * length, (piece + 1) * length
        part = jnp.where((spikes >= begin) & (spikes < end), spikes - begin, jnp.inf)
        part = jnp.sort(part, axis=-1)
        part = jax_core.events_from_spike_times(part) if as_events else part
        out, state = jax_core.recurrent_lif(
            **{**given, "spikes": part},
            max_spikes=room,
            t_max=length,
            state=state,
            return_state=True,
            form=form(refractory),
        )
        found.append(out + begin)
    return jnp.sort(jnp.concatenate(found, axis=-1), axis=-1)[..., :room], state


CASES = [(None, 0.0), (0.03, 0.003), (0.1, 0.0), (0.004, np.inf)]


@pytest.mark.parametrize(("delay", "refractory"), usual(CASES[1:2], CASES))
def test_pieces_are_what_one_run_is(x64, delay, refractory):
    room = 1 if refractory == np.inf else ROOM
    for seed in range(10):
        given = draw(seed, delay, refractory)
        one, end = whole(given, refractory, room)
        other, last = in_pieces(given, refractory, room, as_events=seed % 2 == 1)
        assert np.array_equal(np.isfinite(one), np.isfinite(other))
        assert np.isfinite(one).any()
        np.testing.assert_allclose(one, other, rtol=1e-11)
        for name in ("v", "i", "refractory"):
            np.testing.assert_allclose(
                getattr(end, name), getattr(last, name), rtol=1e-8, atol=1e-10, err_msg=name
            )
        count = end.arrivals.shape[-1]
        np.testing.assert_allclose(end.arrivals, last.arrivals[..., :count], rtol=1e-9)
        assert np.isinf(last.arrivals[..., count:]).all()


@pytest.mark.parametrize(("delay", "refractory"), usual(CASES[1:2], CASES[:2]))
def test_going_through_the_spikes_again_has_the_gradients_of_eventprop(x64, delay, refractory):
    """With a current of 0, against a method that shares the neurons' motion only."""
    given = draw(2, delay, refractory)
    zero = jnp.zeros_like(given.pop("current"))
    if delay is None:
        given.pop("recurrent_delay")
    if refractory == 0:
        given["refractory"] = 0.0
    upstream = jnp.asarray(np.random.default_rng(0).normal(size=(SAMPLES, NEURONS, ROOM)))

    def loss(given, **options):
        out = jax_core.recurrent_lif(
            **given, max_spikes=ROOM, t_max=END, form=form(refractory), **options
        )
        return jnp.sum(jnp.where(jnp.isfinite(out), out * upstream, 0))

    expected, found = jax.grad(loss)(given), jax.grad(lambda x: loss(x, current=zero))(given)
    for name in given:
        if name != "refractory" or refractory > 0:
            np.testing.assert_allclose(
                found[name], expected[name], rtol=1e-8, atol=1e-11, err_msg=name
            )


@pytest.mark.parametrize(("delay", "refractory"), usual(CASES[1:2], CASES[:2]))
def test_gradients_go_through_states(x64, delay, refractory):
    given = draw(4, delay, refractory)
    if delay is None:
        given.pop("recurrent_delay")
    rng = np.random.default_rng(1)
    of_times = jnp.asarray(rng.normal(size=(SAMPLES, NEURONS, ROOM)))
    of_state = jnp.asarray(rng.normal(size=(2, SAMPLES, NEURONS)))

    def loss_of(run):
        def loss(given):
            out, end = run(given, refractory)
            total = jnp.sum(jnp.where(jnp.isfinite(out), out * of_times, 0))
            total += 1e-2 * jnp.sum(end.v * of_state[0] + end.i * of_state[1])
            return total + jnp.sum(jnp.where(jnp.isfinite(end.arrivals), end.arrivals, 0))

        return loss

    one, other = (jax.grad(loss_of(run))(given) for run in (whole, in_pieces))
    for name in given:
        if name != "refractory" or refractory > 0:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-7, atol=1e-9, err_msg=name)


def test_no_arrival_is_lost(x64):
    """Also not in a layer whose own spikes take no time."""
    given = draw(0)
    arrivals = jnp.full((SAMPLES, NEURONS, 2), jnp.inf).at[..., 0].set(0.3)
    none = jnp.zeros((SAMPLES, NEURONS))
    state = jax_core.RecurrentLIFState(none, none, none, arrivals)
    _, end = whole(given, 0.0, state=state)
    np.testing.assert_allclose(end.arrivals[..., 0], 0.3 - END, rtol=1e-12)


STATE = jax_core.RecurrentLIFState(
    *(np.zeros((2, 3), np.float32) for _ in range(3)), np.zeros((2, 3, 0), np.float32)
)
WRONG = [
    ({"state": 3}, TypeError, "state must be the RecurrentLIFState"),
    ({"state": jax_core.LIFState(*STATE[:3])}, TypeError, "state must be the RecurrentLIFState"),
    ({"state": STATE._replace(v=np.zeros((2, 4), np.float32))}, ValueError, r"state\.v has shape"),
    ({"state": STATE._replace(arrivals=np.zeros((1, 3, 0), "f4"))}, ValueError, "arrivals has"),
    ({"state": STATE._replace(arrivals=np.zeros((2, 4, 0), "f4"))}, ValueError, "arrivals"),
    ({"return_state": True, "t_max": np.inf}, ValueError, "t_max must be finite"),
    ({"current": 1.0, "recurrent_delay": np.zeros((3, 3), "f4")}, ValueError, "one piece"),
]


@pytest.mark.parametrize(("options", "error", "message"), WRONG)
def test_errors_name_the_argument(options, error, message):
    spikes, weight = np.full((2, 5, 1), 0.01, np.float32), np.ones((3, 5), np.float32)
    with pytest.raises(error, match=message):
        jax_core.recurrent_lif(spikes, weight, np.zeros((3, 3), "f4"), **{"t_max": 0.1, **options})
