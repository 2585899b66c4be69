"""Handles: what modules hand on before there are data, filled by `run`."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from .engines._raster import NEVER, SpikeRaster, exact_times, times_of

Lazy = Callable[[], Any]


class HandleTypeError(TypeError, AssertionError):
    """A handle of one type in the place of another; hxtorch raises ``AssertionError`` there."""


class _HandleType(type):
    """Lets ``Handle`` itself make handles of any observables."""

    def __call__(cls, *values: Any, **named: Any) -> Any:
        if cls is not Handle:
            return super().__call__(*values, **named)
        names = tuple(sorted({*values, *named}))
        if names not in _made:
            title = f"Handle_{'_'.join(names)}"
            doc = f"Handle for {', '.join(names)}."
            _made[names] = _HandleType(title, (Handle,), {"names": names, "__doc__": doc})
        return _made[names](**named)


class Handle(metaclass=_HandleType):
    """Observables of a module by name: tensors, or ``None`` for what was not recorded, and for all
    of them before `run` has filled the handle.

    Observables that cost work are computed when they are read first. ``Handle("a", "b")`` is an
    empty handle with these observables, and ``type`` of it the class of such handles, the same for
    the same names; ``Handle(a=..., b=...)`` is a filled one. Handles are equal if they have the
    same observables with equal tensors.
    """

    names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *values: Any, **named: Any) -> None:
        if len(values) > len(self.names):
            raise TypeError(f"{type(self).__name__} has {len(self.names)} observables")
        given = dict(zip(self.names, values, strict=False))
        for name, value in named.items():
            if name not in self.names or name in given:
                raise TypeError(
                    f"{type(self).__name__} has the observables {', '.join(self.names)}; got "
                    f"{name!r}{' twice' if name in given else ''}"
                )
            given[name] = value
        self._values: dict[str, Any] = {**dict.fromkeys(self.names), **given}
        self._producer: str | None = None
        self._times: Tensor | None = None

    @classmethod
    def pending(cls, producer: str) -> Any:
        """A handle that the module called ``producer`` will fill."""
        handle = cls()
        handle._producer = producer
        return handle

    def fill(self, times: Tensor | None = None, **values: Tensor | Lazy | None) -> None:
        """Set observables, or functions that compute them when they are asked for."""
        self._values = {**dict.fromkeys(self.names), **values}
        self._times = times
        self._producer = None

    def clone(self, handle: "Handle") -> None:
        """Take over the observables of another handle.

        **Raises:** `HandleTypeError` if that has other ones.
        """
        if {*type(handle).names} != {*self.names}:
            raise HandleTypeError(
                f"a handle of {', '.join(sorted(self.names))} cannot take over one of "
                f"{', '.join(sorted(type(handle).names))}; make a {type(self).__name__}(...)"
            )
        self._values = {name: handle._values.get(name) for name in self.names}
        self._times = handle._times
        self._producer = handle._producer

    def holds(self, name: str) -> bool:
        """Whether there is an observable of that name."""
        return self._producer is None and self._values.get(name) is not None

    @property
    def producer(self) -> str | None:
        """The module that is to fill the handle; ``None`` if it is filled."""
        return self._producer

    @property
    def needs_exact_gradient(self) -> bool:
        """Whether its spikes have exact times that need a gradient."""
        return self._times is not None and self._times.requires_grad

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Handle) or {*type(other).names} != {*self.names}:
            return False
        return all(_same(getattr(self, name), getattr(other, name)) for name in self.names)

    # As tensors, which compare by value too.
    __hash__ = object.__hash__

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in type(self).names:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        value = self._values[name]
        if callable(value):
            value = self._values[name] = value()
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if name in type(self).names:
            self._values[name] = value
            self._times = None
        else:
            super().__setattr__(name, value)

    def __repr__(self) -> str:
        if self._producer is not None:
            return f"{type(self).__name__}(pending from {self._producer})"
        held = (name for name in self.names if self.holds(name))
        return f"{type(self).__name__}({', '.join(held)})"


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        kinds = {(each.dtype, each.device) for each in (first, second)}
        return len(kinds) == 1 and torch.equal(first, second)
    return not isinstance(first, Tensor) and not isinstance(second, Tensor) and first == second


class TensorHandle(Handle):
    """Any tensor."""

    names = ("tensor",)


class SynapseHandle(Handle):
    """Output of a synapse: weighted spikes, dense ``(time, batch, neurons)``."""

    names = ("graded_spikes",)
    events: tuple[Tensor, Tensor] | None = None
    """Spike times ``(batch, in, k)`` and the weights ``(out, in)`` through which they act."""
    synapse: Any = None
    """Who handed them on, if it is a `SparseSynapse`."""

    def clone(self, handle: Handle) -> None:
        """Take over the spike times and weights too."""
        super().clone(handle)
        self.events = getattr(handle, "events", None)
        self.synapse = getattr(handle, "synapse", None)


class LIFObservables(Handle):
    """Observables of spiking neurons, each dense ``(time, batch, neurons)``."""

    names = ("current", "membrane_cadc", "membrane_madc", "spikes")

    def times(self, dt: float, reader: str = "times()", dtype: torch.dtype | None = None) -> Tensor:
        """Spike times ``(batch, neurons, k)``, seconds, ascending, ``inf`` where there is none.

        Those of the event engine are exact and differentiable. A raster that was given has steps
        of ``dt``, and for one of integers or truth values the times have ``dtype``.

        **Raises:** ``ValueError``, which names the ``reader``, for a raster that needs a gradient
        and has no exact times.
        """
        if self._times is not None:
            return self._times
        return times_of(self.spikes, dt, reader, dtype)

    def shortened(self, steps: int) -> "LIFObservables":
        """The first ``steps`` time steps of input spikes."""
        raster = self.spikes
        exact = exact_times(raster)
        shorter = raster[:steps]
        if exact is not None:
            times, dt = exact
            left = torch.where(times < steps * dt, times, NEVER)
            shorter = SpikeRaster.remembering(shorter, left, dt)
        return LIFObservables(spikes=shorter)


class AELIFObservables(LIFObservables):
    """Those of neurons that adapt, with their adaptation current."""

    names = ("adaptation_cadc", "adaptation_madc", *LIFObservables.names)


class LIObservables(Handle):
    """Observables of leaky integrators, each dense ``(time, batch, neurons)``."""

    names = ("current", "membrane_cadc", "membrane_madc")


NeuronHandle = LIFObservables
_made: dict[tuple[str, ...], type[Handle]] = {
    cls.names: cls
    for cls in (TensorHandle, SynapseHandle, LIFObservables, AELIFObservables, LIObservables)
}
