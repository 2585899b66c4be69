"""Functions of ``jax_core`` in one call across the bridge, each of the last one's spikes."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from torch import Tensor

from ...bridge import TorchFunction, as_torch_function
from ...jax_core import Events
from ..layers._health import Health
from ._batch import Batch
from ._layer import MAX_BRIDGED, as_packed, parted, unpacking


class Step(NamedTuple):
    """One function of a chain."""

    function: Callable[..., Any]
    """Takes spikes first."""
    named: dict[str, Any]
    """Its other arguments: tensors, numbers and options."""
    counted: int | None = None
    """Of how many neurons it counts the health; ``None`` for a function without."""


class _Fixed(NamedTuple):
    """What is compiled in of a step."""

    function: Callable[..., Any]
    counts: bool
    names: tuple[str, ...]
    options: tuple[tuple[str, Any], ...]


def call_chain(
    steps: Sequence[Step], spikes: Tensor | Events
) -> list[tuple[Tensor, Health | None]]:
    """Call functions one after the other, with one derivative; numbers are values at run time.

    **Returns:** what each step gives, and its counts.
    """
    batch = Batch.of(spikes, steps[0].named.get("connections"))
    if batch.is_padded:
        spikes = batch.pad("spikes", spikes)
    like = spikes.time if isinstance(spikes, Events) else spikes
    fixed, tensors, values = [], [], []
    for function, named, counted in steps:
        if counted is not None:
            named = {**named, "samples": batch.samples}
        arrays, options, names, numbers = parted(named, like.device)
        fixed.append(_Fixed(function, counted is not None, names, tuple(options.items())))
        tensors.append(arrays)
        values += numbers
    outputs, counts = _bridged(tuple(fixed))(as_packed(values, like), spikes, tensors)
    sizes = [step.counted for step in steps if step.counted is not None]
    healths: Any = iter(counts.split(sizes, dim=-1) if sizes else ())
    if batch.is_padded:
        outputs = map(batch.cut, outputs)
    return [
        (out, None if step.counted is None else Health(*next(healths).unbind(-2)))
        for step, out in zip(steps, outputs, strict=True)
    ]


@functools.lru_cache(maxsize=MAX_BRIDGED)
def _bridged(fixed: tuple[_Fixed, ...]) -> TorchFunction:
    bound: Any = functools.partial(_in_turn, fixed)
    bound.__name__ = " + ".join(step.function.__name__ for step in fixed)
    return as_torch_function(bound)


def _in_turn(
    fixed: tuple[_Fixed, ...], packed: Array, spikes: Any, tensors: list[dict[str, Array]]
) -> tuple[list[Array], Array | None]:
    """The steps' outputs, and the counts of all that count, ``(kinds, neurons of all)``."""
    outputs, counts = [], []
    for step, arrays in zip(fixed, tensors, strict=True):
        numbers, packed = packed[: len(step.names)], packed[len(step.names) :]
        options = dict(step.options)
        found = unpacking(
            step.function, step.counts, step.names, numbers, spikes, **options, **arrays
        )
        if step.counts:
            found, of_step = found
            counts.append(of_step)
        outputs.append(found)
        spikes = found
    return outputs, jnp.concatenate(counts, axis=-1) if counts else None


def delayed(spikes: Array, delay: Array) -> Array:
    """`delay` of spike times ``(..., neurons, k)``, in JAX."""
    if spikes.shape[-2] != len(delay):
        raise ValueError(
            f"spikes must have shape (..., {len(delay)}, k) for as many delays, got {spikes.shape}"
        )
    return jnp.where(jnp.isinf(spikes), jnp.inf, spikes + delay[:, None])


def flattened(spikes: Any, axes: int) -> Any:
    """Spike times, of torch or JAX, with so many axes of neurons as one."""
    if spikes.ndim < axes + 1:
        raise ValueError(
            f"spikes must have at least {axes + 1} axes, neurons and their spikes, got "
            f"shape {tuple(spikes.shape)}"
        )
    *leading, k = spikes.shape
    neurons = math.prod(leading[len(leading) - axes :])
    return spikes.reshape(*leading[: len(leading) - axes], neurons, k)
