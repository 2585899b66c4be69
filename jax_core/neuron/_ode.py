"""Neurons whose motion has no closed form: integrated by diffrax, to a tolerance."""

from abc import abstractmethod
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ._integration import Lanes, diffrax, searched
from ._protocol import Neuron, State


class Search(NamedTuple):
    """Where a search for a crossing has ended."""

    exists: Array
    time: Array
    end: Any
    """The state at the end of the time that was searched, where there is no crossing."""
    limit: Array
    """How long that was."""


class ODENeuron(Neuron[State]):
    """A neuron given by the right-hand side of its differential equation.

    A derived class is a dataclass, registered as a pytree, whose fields are constants (see
    `Neuron`). It says what `rate`, `start`, `receive`, `excess` and `jump` are, all of them element
    by element; the state is a pytree of arrays. Between events, Tsitouras' method of fifth order
    with adaptive steps (diffrax) moves the state, so that all is exact to the tolerances ``rtol``
    and ``atol``, by default 1e-10 in float64 and 1e-6 in float32. Derivatives with respect to state
    and constants are integrated along with it, to the same tolerance, and used at spikes as those
    of any neuron (implicit function theorem).

    **Guarantee:** a spike is found if the excess is above 0 at one of four points of a step, its
    end among them, and not above 0 at the point before. An excursion above the threshold that lies
    between two points, so is shorter than a quarter of a step, can be missed; ``max_step``, in
    seconds, bounds steps. An input that itself lifts the excess above 0 makes no
    spike, only a motion through 0 does: let inputs act on a current. There is no refractory period.

    ``t_max`` must be finite. Where a state is not finite, or more than ``max_steps`` steps are
    needed between two events, all spike times of the neuron are NaN in that sample.

    **Raises:** ``ImportError`` without diffrax, which ``pip install evtorch[ode]`` brings.
    """

    without_peaks: ClassVar[str] = (
        "no closed form says when the voltage of a neuron given by its differential equation is "
        "highest; raise the voltages of its trace"
    )
    rtol: float | None = None
    atol: float | None = None
    max_step: float | None = None
    max_steps: int = 4096

    @abstractmethod
    def rate(self, state: State) -> State:
        """The state's derivative with respect to time, per second."""

    @property
    def needs_end(self) -> bool:
        return True

    def check(self) -> None:
        diffrax()

    def flow(self, u: Array) -> Array:
        return jnp.asarray(u)

    def go(self, state: State, flow: Array) -> State:
        return _moved(state, flow, self)

    def slope(self, state: State) -> Array:
        return jax.jvp(self.excess, (state,), (self.rate(state),))[1]

    def find(self, state: State, u_end: Array, flow: Array) -> Search:
        lanes = Lanes.of(state, flow, self)
        time, end, crossed = lanes.over(partial(searched, lanes))
        time = time * lanes.u
        return Search(
            lanes.shaped(crossed), lanes.shaped(time), lanes.state(end), lanes.shaped(lanes.u)
        )

    def solve(self, state: State, found: Search) -> Array:
        """The crossing, which the search has found in an interpolation, by Newton's method."""
        u = jnp.where(found.exists, found.time, 0)
        for _ in range(2):
            there = self.go(state, u)
            slope = self.slope(there)
            better = u - self.excess(there) / jnp.where(slope > 0, slope, jnp.inf)
            is_better = found.exists & jnp.isfinite(better)
            u = jnp.where(is_better, jnp.clip(better, 0, found.limit), u)
        return u

    def after(self, state: State, flow: Array, found: Search) -> State:
        return found.end


@jax.custom_jvp
def _moved(state: Any, u: Array, neuron: ODENeuron) -> Any:
    lanes = Lanes.of(state, u, neuron)

    def move(y: Array, c: Array, u: Array) -> Array:
        found = lanes.integrated(lambda y: u * lanes.rate(y, c), y, u)
        return jnp.where(found.result == diffrax().RESULTS.successful, found.ys[0], jnp.nan)

    return lanes.state(lanes.over(move))


@_moved.defjvp
def _moved_jvp(primals: tuple, tangents: tuple) -> tuple:
    """Derivatives are integrated with the state, so that what remains is linear in the tangents."""
    (state, u, neuron), (of_state, of_u, of_neuron) = primals, tangents
    lanes, changes = Lanes.of(state, u, neuron), Lanes.of(of_state, of_u, of_neuron)
    states, constants = lanes.y.shape[1], lanes.c.shape[1]
    of_y = jnp.eye(states + constants, states, dtype=lanes.y.dtype)
    of_c = jnp.eye(states + constants, constants, k=-states, dtype=lanes.y.dtype)

    def move(y: Array, c: Array, u: Array) -> tuple[Array, Array]:
        def rate(both: tuple) -> tuple:
            value, push = jax.linearize(lanes.rate, both[0], c)
            return u * value, u * jax.vmap(push)(both[1], of_c)

        found = lanes.integrated(rate, (y, of_y), u)
        is_sound = found.result == diffrax().RESULTS.successful
        return jax.tree.map(lambda x: jnp.where(is_sound, x[0], jnp.nan), found.ys)

    end, slopes = lanes.over(move)
    speed = jax.vmap(lanes.rate)(end, lanes.c)
    of_all = jnp.concatenate([changes.y, changes.c], axis=1)
    change = jnp.einsum("lk,lkn->ln", of_all, slopes) + speed * changes.u[:, None]
    return lanes.state(end), lanes.state(change)
