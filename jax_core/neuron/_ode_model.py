"""Neurons that are put together of functions."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ._ode import ODENeuron
from ._protocol import variables


class Model(NamedTuple):
    """What is compiled in of a neuron."""

    flow: Callable[[Any, dict[str, Any]], Any]
    threshold: Callable[[Any, dict[str, Any]], Any]
    jump: Callable[[Any, dict[str, Any]], Any]
    start: Any
    """A function, or leaves and structure."""
    receive: Any
    rtol: float | None
    atol: float | None
    max_step: float | None
    max_steps: int


class _OfFunctions(ODENeuron[Any]):
    """An `ODENeuron` whose ``model`` says what it does; its constants are the other fields."""

    model: Model

    @property
    def rtol(self) -> float | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.model.rtol

    @property
    def atol(self) -> float | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.model.atol

    @property
    def max_step(self) -> float | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.model.max_step

    @property
    def max_steps(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.model.max_steps

    @property
    def constants(self) -> dict[str, Any]:
        names = (field.name for field in dataclasses.fields(self))  # pyright: ignore[reportArgumentType]
        return {name: getattr(self, name) for name in names if name != "model"}

    def start(self) -> Any:
        given = self.model.start
        state = given(self.constants) if callable(given) else jax.tree.unflatten(given[1], given[0])
        return jax.tree.map(jnp.asarray, state)

    def rate(self, state: Any) -> Any:
        return _like(state, self.model.flow(state, self.constants))

    def excess(self, state: Any) -> Array:
        found = jnp.asarray(self.model.threshold(state, self.constants))
        return jnp.broadcast_to(found, jax.tree.leaves(state)[0].shape)

    def jump(self, state: Any) -> Any:
        return _like(state, self.model.jump(state, self.constants))

    def receive(self, state: Any, drive: Array, port: Array) -> Any:
        how = self.model.receive
        if callable(how):
            return _like(state, how(state, drive, self.constants))
        if isinstance(state, dict):
            return {**state, how: state[how] + drive}
        return state._replace(**{how: getattr(state, how) + drive})

    def voltage(self, state: Any) -> Array:
        return variables(state).get("v", self.excess(state))

    def check(self) -> None:
        """The functions give what they should."""
        super().check()
        try:
            state = self.start()
        except TypeError as error:
            raise TypeError(f"start must be a state of numbers, or give one: {error}") from error
        zero = jax.tree.map(lambda x: jnp.zeros((), jnp.float32), state)
        how, names = self.model.receive, getattr(state, "_fields", state)
        if not callable(how) and how not in names:
            raise ValueError(
                f"receive must be a function, or name a variable of the state, {list(names)}, to "
                f"which inputs add their weights, got {how!r}"
            )
        scalars = {name: jnp.zeros((), jnp.float32) for name in self.constants}
        given = {"flow": self.model.flow, "jump": self.model.jump}
        for name, function in given.items():
            _check_structure(name, jax.eval_shape(function, zero, scalars), zero)
        if callable(how):
            found = jax.eval_shape(how, zero, jnp.zeros((), jnp.float32), scalars)
            _check_structure("receive", found, zero)
        excess = jax.eval_shape(self.model.threshold, zero, scalars)
        if jax.tree.structure(excess) != jax.tree.structure(0) or excess.shape != ():
            raise TypeError(f"threshold must give one number for each neuron, gave {excess}")


def _check_structure(name: str, found: Any, state: Any) -> None:
    theirs, own = jax.tree.structure(found), jax.tree.structure(state)
    if theirs != own:
        raise TypeError(f"{name} must give what a state is made of, {own}, but gave {theirs}")
    if any(x.shape != () for x in jax.tree.leaves(found)):
        raise TypeError(f"{name} must work element by element, but gave other shapes: {found}")


def _like(state: Any, found: Any) -> Any:
    return jax.tree.map(
        lambda x, y: jnp.broadcast_to(jnp.asarray(y, x.dtype), x.shape), state, found
    )


@lru_cache(maxsize=64)
def _kind(names: tuple[str, ...]) -> type[Any]:
    """The class of neurons with these constants."""
    taken = sorted(name for name in names if name == "model" or hasattr(_OfFunctions, name))
    if taken:
        raise ValueError(f"constants must have other names than {', '.join(taken)}, of a neuron")
    fields: list[Any] = [(name, Any) for name in names]
    kind = dataclasses.make_dataclass(
        "ODEModel", [*fields, ("model", Model)], bases=(_OfFunctions,), frozen=True
    )
    return jax.tree_util.register_dataclass(kind, list(names), ["model"])


def ode_neuron(
    *,
    flow: Callable[[Any, dict[str, Any]], Any],
    threshold: Callable[[Any, dict[str, Any]], Any],
    jump: Callable[[Any, dict[str, Any]], Any],
    start: Any,
    receive: str | Callable[[Any, Any, dict[str, Any]], Any] = "i",
    constants: Mapping[str, Any] | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    max_step: float | None = None,
    max_steps: int = 4096,
) -> ODENeuron[Any]:
    """A neuron whose motion has no closed form, of functions; see `ODENeuron` for what is exact.

    A state is a NamedTuple, a dictionary or a tuple of arrays. Functions work element by element,
    with ``jax.numpy``; ``constants`` are handed to them as a dictionary.

    **Arguments:**

    - ``flow(state, constants)``: the derivative with respect to time, per second, of each variable.
    - ``threshold(state, constants)``: the excess; there is a spike where it rises through 0.
    - ``jump(state, constants)``: the state after a spike.
    - ``start``: the state at time 0, of numbers, or a function of ``constants``.
    - ``receive``: the variable to which an input adds its weight, or a function
      ``receive(state, weight, constants)``.
    - ``constants``: by name, numbers or ``(out,)``.
    - ``rtol``, ``atol``, ``max_step``, ``max_steps``: of the integration, see `ODENeuron`.

    **Raises:** ``ImportError`` without diffrax; ``TypeError`` or ``ValueError`` naming what does
    not fit, at the latest where the neuron is used.
    """
    given = dict(constants or {})
    if not callable(start):
        leaves, structure = jax.tree.flatten(start)
        start = tuple(float(x) for x in leaves), structure
    model = Model(flow, threshold, jump, start, receive, rtol, atol, max_step, max_steps)
    return _kind(tuple(given))(**given, model=model)
