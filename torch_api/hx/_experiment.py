"""Experiments: modules register their calls, to be executed in order."""

import graphlib
from typing import Any

from ...jax_core.hardware import Backend
from ._call import Call, Engine, Module, Wrapper
from ._handles import Handle
from ._placement import ExecutionInstance

_default_engine: Engine = "event"


def set_default_engine(engine: Engine) -> None:
    """Choose the engine of experiments that simulate and were not given their own."""
    global _default_engine
    _default_engine = _checked(engine)


def _checked(engine: Engine) -> Engine:
    if engine not in ("event", "euler"):
        raise ValueError(f"engine must be 'event' or 'euler', got {engine!r}")
    return engine


class Experiment:
    """Collects the calls of its modules until `run`.

    **Arguments:**

    - ``mock``: simulate; otherwise run on ``backend``, or the one given to `init_hardware`.
    - ``dt``: time of a step of dense tensors, seconds.
    - ``hw_routing_func``: accepted and ignored.
    - ``engine``: ``"event"``, exact simulation and gradients in continuous time, or ``"euler"``,
      steps of ``dt`` with a surrogate gradient. ``None``: the former, or what `compat.install` was
      given.
    """

    def __init__(
        self,
        mock: bool = False,
        dt: float = 1e-6,
        hw_routing_func: Any = None,
        *,
        engine: Engine | None = None,
        backend: Backend | None = None,
    ) -> None:
        if engine is None:
            engine = _default_engine if mock else "event"
        if not dt > 0:
            raise ValueError(f"dt must be > 0 seconds, got {dt}")
        if not mock and engine == "euler":
            raise ValueError("engine='euler' simulates only: set mock=True, or engine='event'")
        self.mock, self.dt = mock, dt
        self.engine: Engine = _checked(engine)
        self.default_execution_instance = ExecutionInstance()
        self.hw_routing_func = hw_routing_func
        self.backend = backend
        self.has_warned = False
        """Whether it has been said that a population is silent."""
        self._calls: list[Call] = []
        self._wrappers: list[Wrapper] = []

    def connect(self, module: Module, inputs: Any, output: Handle) -> None:
        """Register that ``module`` reads ``inputs`` and fills ``output``."""
        inputs = inputs if isinstance(inputs, tuple) else (inputs,)
        if any(call.module is module for call in self._calls):
            raise ValueError(
                f"{module.title} was called twice before run(); a module stands for one place in "
                f"the network"
            )
        self._calls.append(Call(module, inputs, (output,)))

    def connect_wrapper(self, wrapper: Wrapper) -> None:
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
    inputs = tuple(h for call in inner for h in call.inputs if id(h) not in internal)
    rest = [call for call in calls if call not in inner]
    return [*rest, Call(wrapper, inputs, outputs, tuple(inner))]
