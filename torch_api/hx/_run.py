"""Executes the calls of an experiment."""

import numbers
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from .._validate import values_are_checked
from ._experiment import Experiment
from ._handle import Handle, LIFObservables
from .engines._call import Call, Clock, EngineName
from .engines._default_backend import chosen
from .engines._engine import Engine
from .engines._event import EventEngine
from .engines._grid import GridEngine
from .engines._hardware import HardwareEngine
from .engines._raster import exact_times


def run(experiment: Experiment, runtime: Any = None) -> None:
    """Execute what the modules of an experiment were called for, and fill their handles.

    **Arguments:** ``runtime``: number of time steps of a run on hardware; of an input that is
    longer, only these are played. A simulation takes as many steps as the input has, whatever
    ``runtime`` is.

    **Raises:** ``ValueError`` for a runtime on hardware that is no positive number of steps, for
    cyclic dependencies without a wrapper, and for inputs that do not fit; with the module's name.
    """
    if not experiment.mock:
        _check_runtime(runtime)
    calls = experiment.take_calls()
    try:
        given, length = _given(calls, experiment.engine)
        clock = Clock(experiment.dt, length)
        if not experiment.mock and (runtime < length or not given):
            clock = Clock(experiment.dt, int(runtime))
            given = {key: handle.shortened(clock.steps) for key, handle in given.items()}
        ready = [_reading(call, given) for call in calls]
        _engine(experiment, clock).run(ready)
    finally:
        for call in calls:
            call.module.renew_output()


def _engine(experiment: Experiment, clock: Clock) -> Engine:
    """What computes the calls of an experiment."""
    if not experiment.mock:
        return HardwareEngine(clock, chosen(experiment.backend))
    return (EventEngine if experiment.engine == "event" else GridEngine)(clock)


def _check_runtime(runtime: Any) -> None:
    if isinstance(runtime, bool) or not isinstance(runtime, numbers.Integral) or runtime < 1:
        raise ValueError(
            f"runtime must be a number of time steps >= 1 where mock=False, got {runtime!r}"
        )


def _given(calls: Sequence[Call], engine: EngineName) -> tuple[dict[int, LIFObservables], int]:
    """Spikes that were given as input by the ids of their handles, and their number of time steps.

    All must agree in it, and in the batch size.
    """
    produced = {id(handle) for call in calls for handle in call.outputs}
    given: dict[int, LIFObservables] = {}
    longest, batch = None, None
    for call in calls:
        for handle in call.inputs:
            if id(handle) in produced:
                continue
            title = call.module.title
            if handle.producer is not None:
                raise ValueError(
                    f"{title}: {', '.join(handle.names)} of {handle.producer} is read before "
                    f"run(experiment, runtime) has filled it; call {handle.producer} for this run "
                    f"too"
                )
            if not isinstance(handle, LIFObservables):
                continue
            spikes = handle.spikes
            if spikes is None or spikes.ndim != 3:
                got = None if spikes is None else tuple(spikes.shape)
                raise ValueError(
                    f"{title}: input spikes must be dense (time, batch, neurons), got {got}"
                )
            if longest not in (None, len(spikes)):
                raise ValueError(
                    f"{title}: its input has {len(spikes)} time steps, another one has {longest}"
                )
            if batch not in (None, spikes.shape[1]):
                raise ValueError(
                    f"{title}: its input has a batch of {spikes.shape[1]}, another one has {batch}"
                )
            _check_values(title, spikes, engine)
            longest, batch = len(spikes), spikes.shape[1]
            given[id(handle)] = handle
    return given, longest or 0


def _reading(call: Call, given: Mapping[int, Handle]) -> Call:
    """The call with given input in the place of what has its id."""
    inputs = tuple(given.get(id(handle), handle) for handle in call.inputs)
    inner = tuple(_reading(each, given) for each in call.inner)
    return call._replace(inputs=inputs, inner=inner)


def _check_values(title: str, spikes: Tensor, engine: EngineName) -> None:
    if not values_are_checked() or exact_times(spikes) is not None:
        return
    if not bool(spikes.isfinite().all()):
        raise ValueError(f"{title}: input spikes must be finite")
    if engine == "event" and not bool(((spikes == 0) | (spikes == 1)).all()):
        raise ValueError(
            f"{title}: input spikes must be 0 or 1 for the event engine, which reads times from "
            f"them; use Experiment(engine='euler') for graded ones"
        )
