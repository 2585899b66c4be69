"""Input as a population."""

from typing import Any

from .._experiment import Experiment
from .._handle import Handle, LIFObservables
from ..engines._call import Clock
from .types._input_population import InputPopulation
from .types._sizes import check_size


class InputNeuron(InputPopulation):
    """Hands on input spikes."""

    output_type = LIFObservables
    input_type = LIFObservables

    def __init__(
        self,
        size: int,
        experiment: Experiment,
        execution_instance: Any = None,
        chip_coordinate: Any = None,
    ) -> None:
        super().__init__(experiment, execution_instance, chip_coordinate)
        self.size = size

    def forward_func(self, *input: LIFObservables, hw_data: Any = None) -> LIFObservables:
        source = self.only(input)
        check_size(self, source.spikes.shape[-1])
        return source

    def fill_events(self, inputs: tuple, output: Handle, clock: Clock) -> None:
        """Hand on the times too."""
        source = self.only(inputs)
        times = source.times(clock.dt, self.title)
        check_size(self, times.shape[1])
        output.fill(times, spikes=lambda: source.spikes)
