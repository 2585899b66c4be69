"""Experiments on a time grid, with surrogate gradients."""

from ._call import Call
from ._engine import Engine


class GridEngine(Engine):
    """Calls the `forward_func` of each module, which has its equations in steps of time."""

    def hand_on(self, call: Call) -> None:
        self.compute(call)

    def drop(self, call: Call) -> None:
        self.compute(call)

    def project(self, call: Call) -> None:
        self.compute(call)

    def spike(self, call: Call) -> None:
        self.compute(call)

    def integrate(self, call: Call) -> None:
        self.compute(call)

    def connect(self, call: Call) -> None:
        call.module.fill_all(call.outputs, call.module.func(call.inputs))
