"""The constants of a layer of current-based leaky integrate-and-fire neurons."""

import math
from typing import Any, NamedTuple, TypeGuard

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

Constant = float | Array | np.ndarray
"""A neuron constant as users give it: a number for all neurons, or one value per neuron."""


class Form(NamedTuple):
    """What is compiled in of a layer's constants; their values are not.

    Layers find it by themselves in constants that are Python numbers (`form_of`). Where a
    transformation such as ``jit`` hides the numbers, it states what is known of them.
    """

    ratio: int | None = None
    """1 or 2 where ``tau_mem`` is that multiple of ``tau_syn`` for every neuron, which has closed
    forms."""
    spikes_once: bool = False
    """Whether the refractory period of every neuron is infinite."""
    is_refractory: bool = True
    """Whether any neuron has a refractory period."""

    @property
    def pauses(self) -> bool:
        """Whether any neuron has a refractory period and may spike again."""
        return self.is_refractory and not self.spikes_once


def is_number(x: Constant | None) -> TypeGuard[float]:
    """Whether a constant is a number of Python or NumPy, whose value is known."""
    return isinstance(x, int | float | np.number) and not isinstance(x, bool)


def as_array(x: Any, dtype: DTypeLike) -> Any:
    """A constant as an array; of a number, without a call into JAX."""
    return np.asarray(x, dtype) if is_number(x) else jnp.asarray(x, dtype)


def form_of(tau_mem: Constant, tau_syn: Constant, refractory: Constant) -> Form:
    """The form of a layer, as far as its constants are numbers."""
    ratio = None
    if is_number(tau_mem) and is_number(tau_syn):
        ratio = {float(tau_syn): 1, 2 * float(tau_syn): 2}.get(float(tau_mem))
    return form_of_refractory(refractory, ratio)


def form_of_refractory(refractory: Constant, ratio: int | None = None) -> Form:
    """The form of a layer with this refractory period."""
    # Branches, as the truth of a comparison is no constant to torch.compile.
    if not is_number(refractory):
        return Form(ratio, spikes_once=False, is_refractory=True)
    if refractory == 0:
        return Form(ratio, spikes_once=False, is_refractory=False)
    if refractory == math.inf:
        return Form(ratio, spikes_once=True, is_refractory=True)
    return Form(ratio, spikes_once=False, is_refractory=True)


def checked_form(
    form: Form | None, tau_mem: Constant, tau_syn: Constant, refractory: Constant
) -> Form:
    """``form``, or that of the constants; an error if numbers among them contradict it."""
    found = form_of(tau_mem, tau_syn, refractory)
    if form is None:
        return found
    if not isinstance(form, Form):
        raise TypeError(f"form must be a Form or None, got {type(form).__name__}")
    of_taus = is_number(tau_mem) and is_number(tau_syn) and form.ratio not in (None, found.ratio)
    of_refractory = is_number(refractory) and (
        (form.spikes_once and not found.spikes_once)
        or (found.is_refractory and not form.is_refractory)
    )
    if form.ratio not in (None, 1, 2) or of_taus or of_refractory:
        raise ValueError(
            f"form = {form} contradicts the constants, which are {found}; leave form out where "
            f"constants are numbers, and state in it only what holds for every neuron"
        )
    return form


class Constants(NamedTuple):
    """Neuron constants, each a scalar or of shape ``(out,)``; voltages share one unit.

    ``tau_mem dV/dt = v_leak - V + I`` and ``tau_syn dI/dt = -I``; at ``V = v_threshold`` a spike,
    after which ``V`` stays at ``v_reset`` for the time ``refractory``.
    """

    tau_mem: Array
    tau_syn: Array
    v_threshold: Array
    v_leak: Array
    v_reset: Array
    refractory: Array

    @property
    def threshold(self) -> Array:
        """The threshold, measured from the leak potential."""
        return self.v_threshold - self.v_leak

    @property
    def reset(self) -> Array:
        """The reset potential, measured from the leak potential."""
        return self.v_reset - self.v_leak

    @property
    def starts_at_rest(self) -> Array:
        """Whether a neuron has a rest: with its leak over the threshold it starts at reset."""
        return self.threshold > 0

    @property
    def start(self) -> Array:
        """The voltage at time 0, measured from the leak potential."""
        return jnp.where(self.starts_at_rest, 0, self.reset)
