"""Long streams in pieces, and constant currents, give exactly what one run gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch import jax_core

from .._thorough import usual

SAMPLES, INPUTS, NEURONS, SPIKES, ROOM = 3, 5, 4, 4, 48
END, PIECES = 0.12, 3


def draw(seed: int, refractory: float, shared: bool = False):
    """Input, weights, constants and currents, heterogeneous unless ``shared``."""
    rng = np.random.default_rng(seed)
    spikes = np.sort(rng.uniform(0, END, (SAMPLES, INPUTS, SPIKES)), axis=-1)
    spikes = jnp.asarray(np.sort(np.where(rng.random(spikes.shape) < 0.2, np.inf, spikes), axis=-1))
    weight = jnp.asarray(rng.normal(0.6, 0.8, (NEURONS, INPUTS)))
    size = None if shared else NEURONS
    constants = {
        "tau_mem": rng.uniform(0.008, 0.03, size),
        "tau_syn": rng.uniform(0.004, 0.02, size),
        "v_threshold": rng.uniform(0.8, 1.2, size),
        "v_leak": rng.uniform(-0.2, 0.5, size),
        "v_reset": rng.uniform(-1.0, 0.3, size),
    }
    constants = {name: jnp.asarray(value) for name, value in constants.items()}
    current = jnp.asarray(rng.uniform(-0.3, 1.0, (SAMPLES, NEURONS)))
    return spikes, weight, {**constants, "refractory": refractory}, current


def whole(spikes, weight, constants, current, room=ROOM, **options):
    return jax_core.lif(
        spikes,
        weight,
        **constants,
        current=current,
        max_spikes=room,
        t_max=END,
        return_state=True,
        on_overflow="truncate",
        **options,
    )


def in_pieces(spikes, weight, constants, current, room=ROOM, **options):
    state, found, length = None, [], END / PIECES
    for piece in range(PIECES):
        begin, end = piece * length, (piece + 1) * length
        part = jnp.where((spikes >= begin) & (spikes < end), spikes - begin, jnp.inf)
        out, state = jax_core.lif(
            jnp.sort(part, axis=-1),
            weight,
            **constants,
            current=current,
            max_spikes=room,
            t_max=length,
            state=state,
            return_state=True,
            on_overflow="truncate",
            **options,
        )
        found.append(out + begin)
    return jnp.sort(jnp.concatenate(found, axis=-1), axis=-1)[..., :room], state


def loss_of(run, seed):
    rng = np.random.default_rng(seed)
    of_times = jnp.asarray(rng.normal(size=(SAMPLES, NEURONS, ROOM)))
    of_state = [jnp.asarray(rng.normal(size=(SAMPLES, NEURONS))) for _ in range(3)]

    def loss(*arguments):
        out, state = run(*arguments)
        total = jnp.sum(jnp.where(jnp.isfinite(out), out * of_times[..., : out.shape[-1]], 0))
        for factor, each in zip(of_state, state, strict=True):
            total += 1e-2 * jnp.sum(jnp.where(jnp.isfinite(each), each * factor, 0))
        return total

    return loss


@pytest.mark.parametrize(
    ("refractory", "shared"),
    usual({(0.003, False)}, [(0.0, True), (0.003, False), (np.inf, False)]),
)
def test_pieces_are_what_one_run_is(x64, refractory, shared):
    room = 1 if refractory == np.inf else ROOM
    for seed in range(25):
        drawn = draw(seed, refractory, shared)
        one, end = whole(*drawn, room=room)
        other, last = in_pieces(*drawn, room=room)
        assert np.array_equal(np.isfinite(one), np.isfinite(other))
        assert np.isfinite(one).any()
        np.testing.assert_allclose(one, other, rtol=1e-11)
        for name in end._fields:
            np.testing.assert_allclose(
                getattr(end, name), getattr(last, name), rtol=1e-9, atol=1e-11, err_msg=name
            )


@pytest.mark.parametrize("refractory", usual({0.003}, [0.0, 0.003]))
def test_gradients_go_through_states(x64, refractory):
    drawn = draw(7, refractory)
    arguments = tuple(range(4))
    form = jax_core.Form(None, spikes_once=False, is_refractory=refractory > 0)
    gradients = [
        jax.grad(loss_of(lambda *a, run=run: run(*a, form=form), 1), arguments, allow_int=False)(
            *drawn
        )
        for run in (whole, in_pieces)
    ]
    for one, other in zip(*map(jax.tree.leaves, gradients), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("refractory", usual({0.003}, [0.0, 0.003, np.inf]))
def test_gradients_are_finite_differences(x64, refractory):
    spikes, weight, constants, current = draw(3, refractory)
    room = 1 if refractory == np.inf else ROOM
    rng = np.random.default_rng(0)
    shape = SAMPLES, NEURONS
    left = rng.choice([0.0, 0.002], shape) if refractory else np.zeros(shape)
    state = jax_core.LIFState(
        jnp.asarray(rng.uniform(-0.2, 0.7, shape)),
        jnp.asarray(rng.normal(0.5, 0.5, shape)),
        jnp.asarray(np.where(left > 0, np.inf, 0) if refractory == np.inf else left),
    )
    form = jax_core.Form(None, refractory == np.inf, refractory > 0)
    learned = {name: x for name, x in constants.items() if name != "refractory" or 0 < x < np.inf}
    fixed = {name: x for name, x in constants.items() if name not in learned}
    learned = {name: jnp.asarray(x) for name, x in learned.items()}

    def run(spikes, weight, learned, current, v, i, left):
        return jax_core.lif(
            spikes,
            weight,
            **learned,
            **fixed,
            current=current,
            state=jax_core.LIFState(v, i, left),
            return_state=True,
            max_spikes=room,
            t_max=END,
            form=form,
            on_overflow="truncate",
        )

    loss = loss_of(run, 2)
    at = spikes, weight, learned, current, *state
    gradient = jax.grad(loss, tuple(range(7)))(*at)
    flat, tree = jax.tree.flatten(at)
    slopes = jax.tree.leaves(gradient)
    for position, (x, slope) in enumerate(zip(flat, slopes, strict=True)):
        direction = jnp.asarray(rng.normal(size=x.shape))
        direction = jnp.where(jnp.isfinite(x) & (x != 0), direction, 0)
        step = 1e-8 if position in (0, len(flat) - 1) or float(jnp.max(jnp.abs(x))) < 0.1 else 1e-6

        def moved(by, position=position, x=x, direction=direction):
            return loss(
                *jax.tree.unflatten(
                    tree, [*flat[:position], x + by * direction, *flat[position + 1 :]]
                )
            )

        difference = (moved(step) - moved(-step)) / (2 * step)
        expected = jnp.sum(jnp.where(direction == 0, 0, slope * direction))
        np.testing.assert_allclose(expected, difference, rtol=1e-6, atol=2e-7)


def test_a_constant_current_charges_the_membrane(x64):
    current = jnp.asarray([0.5, 2.0, 3.0])
    out, state = jax_core.lif(
        jnp.full((1, 2, 1), jnp.inf), jnp.zeros((3, 2)), current=current, t_max=0.03, max_spikes=4,
        return_state=True,
    )  # fmt: skip
    assert np.isinf(out[0, 0]).all()
    np.testing.assert_allclose(out[0, 1:, 0], 2e-2 * np.log([2 / 1, 3 / 2]), rtol=1e-14)
    np.testing.assert_allclose(state.v[0, 0], 0.5 * -np.expm1(-1.5), rtol=1e-14)


def test_a_current_in_whose_rest_a_neuron_starts_is_a_leak(x64):
    spikes, weight, constants, _ = draw(5, 0.0)
    constants["v_leak"] = jnp.zeros(NEURONS)
    rest = jax_core.LIFState(*(jnp.full((SAMPLES, NEURONS), x) for x in (0.4, 0.0, 0.0)))
    driven = jax_core.lif(spikes, weight, **constants, current=0.4, state=rest, max_spikes=ROOM)
    constants["v_leak"] = jnp.full(NEURONS, 0.4)
    leaky = jax_core.lif(spikes, weight, **constants, max_spikes=ROOM)
    np.testing.assert_allclose(driven, leaky, rtol=1e-12)


def test_connections_have_states_of_their_neurons(x64):
    rng = np.random.default_rng(1)
    spikes = jnp.asarray(rng.uniform(0, 0.05, (2, 2, 5, 5, 1)))
    weight = jnp.asarray(rng.normal(0.8, 0.8, (3, 2, 3, 3)))
    convolution = jax_core.Conv((3, 3))
    options = {"connections": convolution, "max_spikes": 9, "v_leak": jnp.asarray([0.0, 0.1, 0.2])}
    one = jax_core.lif(spikes, weight, **options, t_max=0.08)
    early = jnp.where(spikes < 0.03, spikes, jnp.inf)
    late = jnp.where(spikes >= 0.03, spikes - 0.03, jnp.inf)
    first, state = jax_core.lif(early, weight, **options, t_max=0.03, return_state=True)
    assert state.v.shape == (2, 3, 3, 3)
    second = jax_core.lif(late, weight, **options, t_max=0.05, state=state)
    both = jnp.sort(jnp.concatenate([first, second + 0.03], axis=-1), axis=-1)[..., :9]
    np.testing.assert_allclose(both, one, rtol=1e-11)


def test_one_current_is_several_of_one_time_constant_from_any_state(x64):
    """Also from voltages over the threshold, where a rise crosses at once."""
    rng, above = np.random.default_rng(2), 0
    tau = jnp.asarray(0.007)
    for seed in range(10):
        spikes, weight, _, _ = draw(seed, 0.0)
        v, i = (jnp.asarray(rng.uniform(-0.5, 1.5, (SAMPLES, NEURONS))) for _ in range(2))
        i = 3 * i
        above += int(((v > 1) & (i > v)).sum())
        options = {"max_spikes": ROOM, "t_max": END, "return_state": True}
        left = jnp.zeros_like(v)
        one, end = jax_core.lif(
            spikes, weight, tau_syn=tau, state=jax_core.LIFState(v, i, left), **options
        )
        several, last = jax_core.lif_projections(
            {
                "a": jax_core.Projection(spikes[:, :2], weight[:, :2], tau),
                "b": jax_core.Projection(spikes[:, 2:], weight[:, 2:], tau),
            },
            state=jax_core.LIFState(v, {"a": i / 4, "b": 3 * i / 4}, left),
            **options,
        )
        np.testing.assert_allclose(several, one, rtol=1e-10, atol=1e-15)
        np.testing.assert_allclose(last.v, end.v, rtol=1e-9, atol=1e-11)
    assert above > 10


def test_gradients_of_what_is_not_defined_are_nan(x64):
    spikes, weight, constants, _ = draw(1, 0.0)
    weight = weight.at[1, 2].set(jnp.nan)

    def loss(weight, run):
        out = run(weight)
        return jnp.sum(jnp.where(jnp.isinf(out), 0, out))

    options = {**constants, "current": 0.1, "max_spikes": ROOM, "t_max": END, "validate": False}
    recurrent = jnp.zeros((NEURONS, NEURONS))
    gradient = jax.grad(loss)(weight, lambda w: jax_core.lif(spikes, w, **options))
    assert np.isnan(gradient).all(axis=1).tolist() == [False, True, False, False]
    assert np.isfinite(gradient[jnp.array([0, 2, 3])]).all()
    gradient = jax.grad(loss)(
        weight, lambda w: jax_core.recurrent_lif(spikes, w, recurrent, **options)
    )
    assert np.isnan(gradient).all()


STATE = jax_core.LIFState(*(np.zeros((2, 3), np.float32) for _ in range(3)))
WRONG = [
    ({"state": 3}, TypeError, "state must be the LIFState"),
    ({"state": STATE._replace(v=np.zeros((2, 4), np.float32))}, ValueError, "state.v has shape"),
    ({"state": STATE._replace(i=STATE.i + np.nan)}, ValueError, "state.i.* must not be NaN"),
    ({"state": STATE._replace(refractory=STATE.i - 1)}, ValueError, "refractory must be >= 0"),
    ({"state": STATE._replace(v=STATE.v.astype("f8"))}, TypeError, "state.v"),
    ({"return_state": True, "t_max": np.inf}, ValueError, "t_max must be finite with return_state"),
    ({"state": STATE._replace(v=STATE.v + np.inf)}, ValueError, "state.v.* must be finite"),
    ({"current": np.nan}, ValueError, "current must not be NaN"),
    ({"current": np.inf}, ValueError, "current must be finite"),
    ({"current": np.full(3, np.nan, np.float32)}, ValueError, "current must not be NaN"),
    ({"current": np.zeros(3)}, TypeError, "current"),
    ({"current": [0.0, 1.0]}, TypeError, "current"),
    ({"current": np.zeros((4,), np.float32)}, ValueError, "current has shape"),
    ({"current": 1.0, "gradient": "fast_and_deep"}, ValueError, "choose gradient='eventprop'"),
]


@pytest.mark.parametrize(("options", "error", "message"), WRONG)
def test_errors_name_the_argument(x64, options, error, message):
    spikes, weight = np.full((2, 5, 1), 0.01, np.float32), np.ones((3, 5), np.float32)
    with pytest.raises(error, match=message):
        jax_core.lif(spikes, weight, **{"t_max": 0.1, **options})


def test_there_are_no_second_derivatives():
    spikes, weight = jnp.full((2, 5, 1), 0.01), jnp.ones((3, 5))

    def once(weight):
        return jnp.sum(jax_core.lif(spikes, weight, current=0.1))

    with pytest.raises(NotImplementedError, match="first derivatives only"):
        jax.grad(lambda w: jnp.sum(jax.grad(once)(w)))(weight)
