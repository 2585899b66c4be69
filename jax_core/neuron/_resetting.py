"""What neurons have in common that spike at a threshold and are reset to a voltage."""

import dataclasses
from collections.abc import Iterator
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
from jax import Array

from .._validate import check_less, known, refuse
from ._constants import Constant, Form, form_of_refractory
from ._protocol import Neuron, State


class Resetting(Neuron[State]):
    """A neuron with a threshold, a reset potential and a refractory period.

    ``v`` of its state is measured from `origin`. Derived classes are dataclasses whose fields are
    constants, except for ``form``.
    """

    v_threshold: Any
    v_reset: Any
    form: Form | None

    def __post_init__(self) -> None:
        # Where JAX puts a neuron together again, the form is among what it kept.
        if self.form is None:
            object.__setattr__(self, "form", form_of_refractory(cast(Constant, self.refractory)))

    @property
    def origin(self) -> Any:
        """The voltage that others are measured from."""
        return 0.0

    @property
    def threshold(self) -> Array:
        return jnp.asarray(self.v_threshold - self.origin)

    @property
    def reset(self) -> Array:
        return jnp.asarray(self.v_reset - self.origin)

    @property
    def once(self) -> bool:
        return cast(Form, self.form).spikes_once

    @property
    def pauses(self) -> bool:
        return cast(Form, self.form).pauses

    def constants(self) -> Iterator[tuple[str, Any]]:
        """Names and values of the constants."""
        for field in dataclasses.fields(cast(Any, self)):
            if field.name != "form":
                yield field.name, getattr(self, field.name)

    def check(self) -> None:
        """Time constants are positive, the period is not negative, reset is below threshold."""
        for name, value in self.constants():
            if not known(value):
                continue
            array = np.asarray(value)
            if name.startswith("tau_"):
                refuse(~(array > 0), array, name, "must be > 0", "choose a positive value")
            if name == "refractory":
                refuse(~(array >= 0), array, name, "must be >= 0", "choose 0 or a positive value")
            if name not in self.infinite:
                refuse(~np.isfinite(array), array, name, "must be finite", "choose a finite value")
        check_less(self.v_reset, self.v_threshold, "v_reset", "v_threshold")

    def voltage(self, state: Any) -> Array:
        return state.v + self.origin

    def excess(self, state: Any) -> Array:
        return state.v - self.threshold

    def hold(self, state: Any) -> Any:
        return state._replace(v=jnp.broadcast_to(self.reset, state.v.shape))

    def jump(self, state: Any) -> Any:
        return self.hold(state)


class Leaking(Resetting[State]):
    """One with a leak: ``v`` is measured from the leak potential."""

    tau_mem: Any
    v_leak: Any

    @property
    def origin(self) -> Any:
        return self.v_leak

    @property
    def scale(self) -> Array:
        return jnp.abs(self.threshold) / self.tau_mem

    @property
    def v_start(self) -> Array:
        """The voltage at time 0: at rest, or at reset where there is no rest."""
        return jnp.where(self.threshold > 0, 0, self.reset)
