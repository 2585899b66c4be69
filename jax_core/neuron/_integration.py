"""Neurons of all samples, moved by diffrax, each with steps of its own."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

# At so many points of each step the excess is looked at; a crossing is halved until rounding.
_LOOKS = 4
_HALVINGS = 60


def diffrax() -> Any:
    """The library that integrates."""
    try:
        import diffrax
    except ImportError as error:
        raise ImportError(
            "neurons without a closed form need diffrax, which is not installed; "
            "pip install 'evtorch[ode]'"
        ) from error
    return diffrax


class Lanes(NamedTuple):
    """Neurons of all samples, one after the other."""

    y: Array
    """States, ``(lanes, n)``."""
    c: Array
    """Constants, ``(lanes, p)``."""
    u: Array
    """How long to move, ``(lanes,)``."""
    shape: tuple[int, ...]
    structure: Any
    """Of a state, and of a neuron."""
    settings: Any

    @classmethod
    def of(cls, state: Any, u: Array, neuron: Any) -> "Lanes":
        leaves, of_state = jax.tree.flatten(state)
        constants, of_neuron = jax.tree.flatten(neuron)
        shape: Any = jnp.broadcast_shapes(u.shape, *(x.shape for x in leaves))

        u = jnp.broadcast_to(u, shape).ravel()

        def columns(arrays: list) -> Array:
            flat = [jnp.broadcast_to(x, shape).ravel() for x in arrays]
            return jnp.stack(flat, axis=-1) if flat else jnp.zeros((u.size, 0), u.dtype)

        eps = 1e-10 if u.dtype == jnp.float64 else 1e-6
        rtol = eps if neuron.rtol is None else neuron.rtol
        atol = eps if neuron.atol is None else neuron.atol
        settings = rtol, atol, neuron.max_step, neuron.max_steps
        return cls(columns(leaves), columns(constants), u, shape, (of_state, of_neuron), settings)

    def over(self, move: Any) -> Any:
        return jax.vmap(move)(self.y, self.c, self.u)

    def shaped(self, x: Array) -> Array:
        return x.reshape(self.shape)

    def state(self, y: Array) -> Any:
        columns = [self.shaped(y[:, i]) for i in range(y.shape[1])]
        return jax.tree.unflatten(self.structure[0], columns)

    def rate(self, y: Array, c: Array) -> Array:
        of_state, of_neuron = self.structure
        neuron = jax.tree.unflatten(of_neuron, list(c))
        rate = neuron.rate(jax.tree.unflatten(of_state, list(y)))
        return jnp.stack([jnp.asarray(x, y.dtype) for x in jax.tree.leaves(rate)])

    def excess(self, y: Array, c: Array) -> Array:
        of_state, of_neuron = self.structure
        neuron = jax.tree.unflatten(of_neuron, list(c))
        return neuron.excess(jax.tree.unflatten(of_state, list(y)))

    def controller(self, u: Array) -> Any:
        """Of steps in parts of a time ``u``."""
        rtol, atol, max_step, _ = self.settings
        longest = None if max_step is None else max_step / jnp.maximum(jnp.abs(u), max_step)
        return diffrax().PIDController(rtol=rtol, atol=atol, dtmax=longest)

    def integrated(self, rate: Any, y: Any, u: Array) -> Any:
        """Integrate ``dy/ds = rate(y)`` from 0 to 1, a time of ``u``."""
        dfx = diffrax()
        return dfx.diffeqsolve(
            dfx.ODETerm(lambda t, y, args: rate(y)),
            dfx.Tsit5(),
            jnp.zeros((), u.dtype),
            jnp.ones((), u.dtype),
            None,
            y,
            stepsize_controller=self.controller(u),
            adjoint=dfx.ForwardMode(),
            max_steps=self.settings[3],
            throw=False,
        )


class _Steps(NamedTuple):
    """A search on its way, within one step."""

    begin: Array
    end: Array
    y: Array
    """At the end."""
    inner: Any
    """What solver and controller go on with, and whether the motion has jumped: never."""
    tries: Array
    dense: Any
    low: Array
    """Parts of the time between which the excess rises through 0."""
    high: Array
    crossed: Array


def searched(lanes: Lanes, y: Array, c: Array, u: Array) -> tuple[Array, Array, Array]:
    """Part of the time ``u`` until the first crossing, state at the end, and whether it is one."""
    search = _Search.of(lanes, y, c, u)
    final = lax.while_loop(search.is_running, search.step, search.start(y))

    def halve(_: int, bounds: tuple) -> tuple:
        middle = (bounds[0] + bounds[1]) / 2
        above = search.excess(final, middle) > 0
        return jnp.where(above, bounds[0], middle), jnp.where(above, middle, bounds[1])

    _, time = lax.fori_loop(0, _HALVINGS, halve, (final.low, final.high))
    arrived = final.crossed | (final.begin >= 1)
    return time, jnp.where(arrived, final.y, jnp.nan), final.crossed


class _Search(NamedTuple):
    """Steps through a time, until the excess rises through 0 at a step's end or within it."""

    lanes: Lanes
    c: Array
    terms: Any
    solver: Any
    controller: Any

    @classmethod
    def of(cls, lanes: Lanes, y: Array, c: Array, u: Array) -> "_Search":
        dfx = diffrax()
        terms = dfx.ODETerm(lambda t, y, args: u * lanes.rate(y, c))
        return cls(lanes, c, terms, dfx.Tsit5(), lanes.controller(u))

    def start(self, y: Array) -> _Steps:
        zero, one = jnp.zeros((), y.dtype), jnp.ones((), y.dtype)
        of_solver = self.solver.init(self.terms, zero, one, y, None)
        order = self.solver.error_order(self.terms)
        end, of_controller = self.controller.init(
            self.terms, zero, one, y, None, None, self.solver.func, order
        )
        inner = of_solver, of_controller, jnp.asarray(False)
        attempt = self.solver.step(self.terms, zero, zero, y, None, of_solver, inner[2])
        end = jnp.minimum(end, one)
        never = jnp.asarray(False)
        return _Steps(zero, end, y, inner, jnp.int32(0), attempt[2], zero, one, never)

    def is_running(self, now: _Steps) -> Array:
        going = (now.begin < 1) & ~now.crossed & (now.tries < self.lanes.settings[3])
        return going & jnp.all(jnp.isfinite(now.y)) & jnp.isfinite(now.end)

    def step(self, now: _Steps) -> _Steps:
        of_solver, of_controller, jumped = now.inner
        span = now.begin, now.end
        y, error, dense, of_solver, _ = self.solver.step(
            self.terms, *span, now.y, None, of_solver, jumped
        )
        order = self.solver.error_order(self.terms)
        kept, begin, end, jumped, of_controller, _ = self.controller.adapt_step_size(
            *span, now.y, y, None, error, order, of_controller
        )
        tried = now._replace(dense=dense)
        parts = jnp.arange(_LOOKS + 1, dtype=now.begin.dtype) / _LOOKS
        looks = now.begin + (now.end - now.begin) * parts
        above = jax.vmap(lambda s: self.excess(tried, s, span))(looks) > 0
        rises = above[1:] & ~above[:-1]
        first = jnp.argmax(rises)
        crossed = kept & jnp.any(rises)

        def choose(new: Any, old: Any) -> Any:
            return jax.tree.map(lambda x, y: jnp.where(kept, x, y), new, old)

        # A step that has crossed is kept as the last one.
        return _Steps(
            begin=jnp.where(crossed, now.begin, begin),
            end=jnp.where(crossed, now.end, jnp.minimum(end, 1)),
            y=choose(y, now.y),
            inner=(choose(of_solver, now.inner[0]), of_controller, jumped),
            tries=now.tries + 1,
            dense=dense,
            low=looks[first],
            high=jnp.where(crossed, looks[first + 1], 1),
            crossed=crossed,
        )

    def excess(self, now: _Steps, s: Array, span: tuple[Array, Array] | None = None) -> Array:
        """The excess within a step, by the solver's interpolation."""
        begin, end = (now.begin, now.end) if span is None else span
        within = self.solver.interpolation_cls(t0=begin, t1=end, **now.dense)
        return self.lanes.excess(within.evaluate(s), self.c)
