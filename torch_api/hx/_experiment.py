"""Experiments: modules register their calls."""

import contextlib
from collections.abc import Iterator
from typing import Any

from ...jax_core.hardware import Backend
from ._execution_instance import ExecutionInstance
from ._handle import Handle
from .backend._module_manager import ModuleManager
from .engines._call import Call, EngineName, Module, Wrapper

_default_engine: EngineName = "event"


def set_default_engine(engine: EngineName) -> None:
    """Choose the engine of experiments that simulate and were not given their own."""
    global _default_engine
    _default_engine = _checked(engine)


def _checked(engine: EngineName) -> EngineName:
    if engine not in ("event", "euler"):
        raise ValueError(f"engine must be 'event' or 'euler', got {engine!r}")
    return engine


class Experiment:
    """Collects the calls of its modules until `run`.

    **Arguments:**

    - ``mock``: simulate; otherwise run on ``backend``, or the one given to `init_hardware`.
    - ``dt``: time of a step of dense tensors, seconds.
    - ``hw_routing_func``: ignored where ``mock``, an error otherwise.
    - ``engine``: ``"event"``, exact simulation and gradients in continuous time, or ``"euler"``,
      steps of ``dt`` with a surrogate gradient. ``None``: the former; after `compat.install`, its
      ``engine``, the latter by default.
    """

    def __init__(
        self,
        mock: bool = False,
        dt: float = 1e-6,
        hw_routing_func: Any = None,
        *,
        engine: EngineName | None = None,
        backend: Backend | None = None,
    ) -> None:
        if engine is None:
            engine = _default_engine if mock else "event"
        if not dt > 0:
            raise ValueError(f"dt must be > 0 seconds, got {dt}")
        if not mock and engine == "euler":
            raise ValueError("engine='euler' simulates only: set mock=True, or engine='event'")
        if hw_routing_func is not None and not mock:
            raise ValueError(
                "hw_routing_func: custom routing is not supported; leave it out, as backends place "
                "and route on their own"
            )
        self.mock, self.dt = mock, dt
        self.engine: EngineName = _checked(engine)
        self.default_execution_instance = ExecutionInstance()
        self.hw_routing_func = hw_routing_func
        self.backend = backend
        self.has_warned = False
        """Whether it has been said that a population is silent."""
        self.modules = ModuleManager()
        """The modules that were called, and what they read."""
        self._recordings: list[list[Call]] = []

    def connect(self, module: Module, inputs: Any, output: Handle) -> None:
        """Register that ``module`` reads ``inputs`` and fills ``output``.

        One that was called before reads what it was given then too; see `ModuleManager`.
        """
        self.modules.add_node(module, inputs, output)

    def connect_wrapper(self, wrapper: Wrapper) -> None:
        """Register that ``wrapper`` computes its modules, which have been called before."""
        for name, module in wrapper.modules.items():
            if not self.modules.is_called(module):
                raise ValueError(
                    f"{wrapper.title}: its module {name} must be called before the wrapper is"
                )
        self.modules.add_wrapper(wrapper)

    def clear(self) -> None:
        """Forget all calls."""
        self.modules.clear()

    def take_calls(self) -> list[Call]:
        """All calls in an order in which they can be executed; they are then forgotten.

        **Raises:** ``ValueError`` for cyclic dependencies without a wrapper.
        """
        calls = self.modules.take_calls()
        for recording in self._recordings:
            recording += calls
        return calls

    @contextlib.contextmanager
    def recorded_calls(self) -> Iterator[list[Call]]:
        """Within it, all calls that are run are added to a list, in their order."""
        recording: list[Call] = []
        self._recordings.append(recording)
        try:
            yield recording
        finally:
            self._recordings = [each for each in self._recordings if each is not recording]
