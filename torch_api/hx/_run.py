"""Executes the calls of an experiment."""

import numbers
from collections.abc import Mapping, Sequence

from torch import Tensor

from .._validate import values_are_checked
from ._call import Call, Clock, Engine
from ._experiment import Experiment
from ._handles import Handle, LIFObservables
from ._hardware import run_on_hardware
from ._raster import exact_times


def run(experiment: Experiment, runtime: int | None = None) -> None:
    """Execute what the modules of an experiment were called for, and fill their handles.

    **Arguments:** ``runtime``: number of time steps; ``None`` takes that of the input. A shorter
    input is silent after its end.

    **Raises:** ``ValueError`` for a runtime that is no positive number of steps or shorter than
    the input, for cyclic dependencies without a wrapper, and for inputs that do not fit; always
    with the module's name.
    """
    if isinstance(runtime, bool) or not isinstance(runtime, numbers.Integral | None):
        raise ValueError(f"runtime must be a number of time steps or None, got {runtime!r}")
    if runtime is not None and runtime < 1:
        raise ValueError(f"runtime must be at least one time step, got {runtime}")
    if runtime is None and not experiment.mock:
        raise ValueError("runtime must be a number of time steps where mock=False, got None")
    calls = experiment.take_calls()
    try:
        given, length = _given(calls, runtime, experiment.engine)
        clock = Clock(experiment.dt, length if runtime is None else int(runtime))
        if clock.steps > length:
            given = {key: handle.lengthened(clock.steps) for key, handle in given.items()}
        ready = [_reading(call, given) for call in calls]
        if experiment.mock:
            for call in ready:
                call.module.execute(call, clock, experiment.engine)
        else:
            run_on_hardware(experiment.backend, ready, clock)
    finally:
        for call in calls:
            call.module.renew_output()


def _given(
    calls: Sequence[Call], runtime: int | None, engine: Engine
) -> tuple[dict[int, LIFObservables], int]:
    """Spikes that were given as input by the ids of their handles, and their number of time steps.

    All must agree in it, and in the batch size.
    """
    produced = {id(handle) for call in calls for handle in call.outputs}
    given: dict[int, LIFObservables] = {}
    longest, batch = 0, None
    for call in calls:
        for handle in call.inputs:
            if id(handle) in produced or not isinstance(handle, LIFObservables):
                continue
            spikes = handle.spikes
            if spikes is None or spikes.ndim != 3:
                got = None if spikes is None else tuple(spikes.shape)
                raise ValueError(
                    f"{call.module.title}: input spikes must be dense (time, batch, neurons), got "
                    f"{got}"
                )
            if longest not in (0, len(spikes)) or (runtime is not None and runtime < len(spikes)):
                raise ValueError(
                    f"{call.module.title}: its input has {len(spikes)} time steps, "
                    f"{f'another one has {longest}' if longest else f'runtime is {runtime}'}"
                )
            if batch not in (None, spikes.shape[1]):
                raise ValueError(
                    f"{call.module.title}: its input has a batch of {spikes.shape[1]}, another "
                    f"one has {batch}"
                )
            _check_values(call.module.title, spikes, engine)
            longest, batch = len(spikes), spikes.shape[1]
            given[id(handle)] = handle
    return given, longest


def _reading(call: Call, given: Mapping[int, Handle]) -> Call:
    """The call with given input in the place of what has its id."""
    inputs = tuple(given.get(id(handle), handle) for handle in call.inputs)
    inner = tuple(_reading(each, given) for each in call.inner)
    return call._replace(inputs=inputs, inner=inner)


def _check_values(title: str, spikes: Tensor, engine: Engine) -> None:
    if not values_are_checked() or exact_times(spikes) is not None:
        return
    if not bool(spikes.isfinite().all()):
        raise ValueError(f"{title}: input spikes must be finite")
    if engine == "event" and not bool(((spikes == 0) | (spikes == 1)).all()):
        raise ValueError(
            f"{title}: input spikes must be 0 or 1 for the event engine, which reads times from "
            f"them; use Experiment(engine='euler') for graded ones"
        )
