"""Executes the calls of an experiment."""

from collections.abc import Sequence

from torch import Tensor

from .._validate import values_are_checked
from ._call import Call, Clock, Engine
from ._experiment import Experiment
from ._handles import LIFObservables
from ._hardware import run_on_hardware
from ._raster import exact_times


def run(experiment: Experiment, runtime: int | None = None) -> None:
    """Execute what the modules of an experiment were called for, and fill their handles.

    **Arguments:** ``runtime``: number of time steps; ``None`` takes that of the input.

    **Raises:** ``ValueError`` for a runtime that is no positive number of steps or shorter than
    the input, for cyclic dependencies without a wrapper, and for inputs that do not fit; always
    with the module's name.
    """
    if runtime is not None and (isinstance(runtime, bool) or not isinstance(runtime, int)):
        raise ValueError(f"runtime must be a number of time steps or None, got {runtime!r}")
    if runtime is not None and runtime < 1:
        raise ValueError(f"runtime must be at least one time step, got {runtime}")
    if runtime is None and not experiment.mock:
        raise ValueError("runtime must be a number of time steps where mock=False, got None")
    calls = experiment.take_calls()
    try:
        clock = Clock(experiment.dt, _steps(calls, runtime, experiment.engine))
        if experiment.mock:
            for call in calls:
                call.module.execute(call, clock, experiment.engine)
        else:
            run_on_hardware(experiment.backend, calls, clock)
    finally:
        for call in calls:
            call.module.renew_output()


def _steps(calls: Sequence[Call], runtime: int | None, engine: Engine) -> int:
    """The number of time steps, which all inputs must agree with, as with the batch size."""
    produced = {id(handle) for call in calls for handle in call.outputs}
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
    return runtime if runtime is not None else longest


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
