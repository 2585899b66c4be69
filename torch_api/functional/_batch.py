"""Batches of few sizes, as each one is compiled: silent samples fill them up."""

import contextvars
import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import torch
from torch import Tensor

from ...jax_core import Events
from ...jax_core._validate import check_integer
from .._setting import Setting
from .._validate import is_transformed
from ..spikes._room import bucket

_OFF = -1
_least = contextvars.ContextVar("evtorch_least_batch", default=1)
"""Size of the smallest batches, or `_OFF`."""
_NO_SPIKE = frozenset({"spikes", "events", "observed", "output", "state_arrivals"})
"""Arguments that are spikes, of which a silent sample has none."""


class pad_batches(Setting):
    """How layers fill batches up, in this thread, inside a ``with`` block.

    Each size of a batch is compiled, which takes seconds. So layers and their functions add silent
    samples to batches of more than 16, up to a size with four significant bits (18, 20, ..., 32,
    36, 40, ..., 64, 72, ...), and leave them out of what they return and count: from one power of
    two to the next there are eight programs, for at most an eighth more work. Under
    ``torch.compile``, ``torch.export`` and the transformations of ``torch.func``, batches stay as
    they are.

    **Arguments:**

    - ``enabled``: whether batches are filled up.
    - ``least``: batches of fewer samples are filled up to this many. With the size of all other
      batches of an epoch, its last one needs no program of its own.
    """

    variable = _least

    def __init__(self, enabled: bool = True, *, least: int = 1) -> None:
        check_integer(least, "least", 1)
        super().__init__(least if enabled else _OFF)


def padded_size(samples: int, least: int = 1) -> int:
    """``samples`` rounded up to ``least``, or to a number with four significant bits."""
    return least if 0 < samples <= least else bucket(samples, bits=4)


class Batch(NamedTuple):
    """The samples of a call, and how many its program has."""

    leading: tuple[int, ...]
    """Axes of the samples."""
    samples: int
    size: int
    axes: int
    """How many the layer's neurons have."""

    @classmethod
    def of(cls, spikes: Tensor | Events, connections: Any) -> "Batch":
        """That of a layer's input."""
        axes = 1 if connections is None else connections.axes
        is_events = isinstance(spikes, Events)
        leading = tuple(spikes.time.shape[:-1] if is_events else spikes.shape[: -axes - 1])
        samples, least = math.prod(leading), _least.get()
        # A size that torch leaves open while it traces is no int.
        is_padded = least != _OFF and type(samples) is int and not is_transformed()
        return cls(leading, samples, padded_size(samples, least) if is_padded else samples, axes)

    @property
    def is_padded(self) -> bool:
        return self.size > self.samples

    def pad(self, name: str, x: Any) -> Any:
        """An argument with the silent samples, if it has something of each sample."""
        if isinstance(x, Events):
            return x._replace(time=self._filled(x.time, math.inf), index=self._filled(x.index, -1))
        if name == "state":
            return jax.tree.map(self._repeated, x)
        if name in _NO_SPIKE:
            return self._filled(x, math.inf)
        axes = {"times": 1, "current": self.axes}.get(name)
        is_of_samples = axes is not None and x.ndim == len(self.leading) + axes
        return self._repeated(x) if is_of_samples or name.startswith("state_") else x

    def cut(self, x: Any) -> Any:
        """What a program gave of each sample, of those that there are."""
        return jax.tree.map(self._cut, x)

    def _cut(self, x: Tensor) -> Tensor:
        assert len(x) == self.size, "no axis of samples in front"
        return x.narrow(0, 0, self.samples).reshape(*self.leading, *x.shape[1:])

    def _flat(self, x: Tensor) -> Tensor:
        return x.reshape(self.samples, *x.shape[len(self.leading) :])

    def _filled(self, x: Tensor, absent: float) -> Tensor:
        x = self._flat(x)
        more = (0, 0) * (x.ndim - 1) + (0, self.size - self.samples)
        return torch.nn.functional.pad(x, more, value=absent)

    def _repeated(self, x: Tensor) -> Tensor:
        """The last sample's values for those behind it, too, which they are sure to suit."""
        x = self._flat(x)
        more = x[-1:].detach().expand(self.size - self.samples, *x.shape[1:])
        return torch.cat([x, more])


@functools.cache
def argument_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of what a function takes by position."""
    return tuple(inspect.signature(function).parameters)
