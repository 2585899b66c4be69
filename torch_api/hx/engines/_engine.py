"""What modules ask of an engine."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from ._call import Call, Clock


class Engine(ABC):
    """Computes the calls of one run.

    Each module asks for what it is, see its `execute`, and the engine fills the handles of its
    call.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def run(self, calls: Sequence[Call]) -> None:
        """Compute all calls, in their order."""
        for call in calls:
            self.execute(call)

    def execute(self, call: Call) -> None:
        """Compute a call as its module asks for it."""
        call.module.execute(call, self)

    def compute(self, call: Call) -> None:
        """Any module: its `forward_func`, on dense tensors."""
        call.module.fill_computed(call.outputs[0], call.module.func(call.inputs))

    @abstractmethod
    def hand_on(self, call: Call) -> None:
        """Input neurons: the spikes as they are."""

    @abstractmethod
    def drop(self, call: Call) -> None:
        """Dropout: the spikes of the neurons that it leaves."""

    @abstractmethod
    def project(self, call: Call) -> None:
        """Synapses: weighted spikes."""

    @abstractmethod
    def spike(self, call: Call) -> None:
        """Neurons that spike."""

    @abstractmethod
    def integrate(self, call: Call) -> None:
        """Leaky integrators."""

    @abstractmethod
    def connect(self, call: Call) -> None:
        """A wrapper: its modules together."""
