"""Experiments: modules register their calls, `run` executes them in order."""

import graphlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from torch import Tensor

from .._validate import values_are_checked
from ._handles import Handle, LIFObservables
from ._raster import exact_times

if TYPE_CHECKING:
    from ...jax_core.hardware import Backend
    from ._modules import HXBaseExperimentModule, HXModuleWrapper

Engine = Literal["event", "euler"]


class Call(NamedTuple):
    """A module with what it reads and what it fills, handles of its own types."""

    module: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


class Clock(NamedTuple):
    """The time of a run."""

    dt: float
    """Seconds per step."""
    steps: int

    @property
    def duration(self) -> float:
        """Time of the last step, seconds."""
        return self.dt * max(self.steps - 1, 1)


class Experiment:
    """Collects the calls of its modules until `run`.

    **Arguments:**

    - ``mock``: simulate; otherwise run on ``backend``, or the one given to `init_hardware`.
    - ``dt``: time of a step of dense tensors, seconds.
    - ``hw_routing_func``: accepted and ignored.
    - ``engine``: ``"event"``, exact simulation and gradients in continuous time, or ``"euler"``,
      steps of ``dt`` with a surrogate gradient.
    """

    def __init__(
        self,
        mock: bool = False,
        dt: float = 1e-6,
        hw_routing_func: Any = None,
        *,
        engine: Engine = "event",
        backend: "Backend | None" = None,
    ) -> None:
        if engine not in ("event", "euler"):
            raise ValueError(f"engine must be 'event' or 'euler', got {engine!r}")
        if not dt > 0:
            raise ValueError(f"dt must be > 0 seconds, got {dt}")
        if not mock and engine == "euler":
            raise ValueError("engine='euler' simulates only: set mock=True, or engine='event'")
        self.mock, self.dt = mock, dt
        self.engine: Engine = engine
        self.hw_routing_func = hw_routing_func
        self.backend = backend
        self._calls: list[Call] = []
        self._wrappers: list[HXModuleWrapper] = []

    def connect(self, module: "HXBaseExperimentModule", inputs: Any, output: Handle) -> None:
        """Register that ``module`` reads ``inputs`` and fills ``output``."""
        inputs = inputs if isinstance(inputs, tuple) else (inputs,)
        if any(call.module is module for call in self._calls):
            raise ValueError(
                f"{module.title} was called twice before run(); a module stands for one place in "
                f"the network"
            )
        self._calls.append(Call(module, inputs, (output,)))

    def connect_wrapper(self, wrapper: "HXModuleWrapper") -> None:
        """Register that ``wrapper`` computes its modules, which have been called before."""
        called = [call.module for call in self._calls]
        for name, module in wrapper.modules.items():
            if module not in called:
                raise ValueError(
                    f"{wrapper.title}: its module {name} must be called before the wrapper is"
                )
        self._wrappers.append(wrapper)

    def clear(self) -> None:
        """Forget all calls."""
        self._calls, self._wrappers = [], []

    def take_calls(self) -> list[Call]:
        """All calls in an order in which they can be executed; they are then forgotten."""
        calls = self._calls
        for wrapper in self._wrappers:
            calls = _wrapped(wrapper, calls)
        self.clear()
        producer = {id(handle): k for k, call in enumerate(calls) for handle in call.outputs}
        before = {
            k: {producer[id(handle)] for handle in call.inputs if id(handle) in producer}
            for k, call in enumerate(calls)
        }
        try:
            order = list(graphlib.TopologicalSorter(before).static_order())
        except graphlib.CycleError as error:
            names = ", ".join(dict.fromkeys(calls[k].module.title for k in error.args[1]))
            raise ValueError(
                f"cyclic dependencies between {names}; put them into an HXModuleWrapper whose "
                f"forward_func describes the recurrence"
            ) from None
        return [calls[k] for k in order]


def _wrapped(wrapper: Any, calls: list[Call]) -> list[Call]:
    """The calls with those of the wrapper's modules made one."""
    own = {id(call.module): call for call in calls}
    inner = [own[id(module)] for module in wrapper.modules.values()]
    outputs = tuple(handle for call in inner for handle in call.outputs)
    internal = {id(handle) for handle in outputs}
    inputs = {id(h): h for call in inner for h in call.inputs if id(h) not in internal}
    rest = [call for call in calls if call not in inner]
    return [*rest, Call(wrapper, tuple(inputs.values()), outputs)]


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
            from ._hardware import run_on_hardware

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
