"""Input as a population."""

from typing import Any

from .._experiment import Experiment
from .._handle import LIFObservables
from ..engines._call import Call
from ..engines._engine import Engine
from ..engines._grid_form import grid_form
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

    @grid_form
    def forward_func(self, *input: LIFObservables, hw_data: Any = None) -> LIFObservables:
        source = self.only(input)
        check_size(self, source.spikes.shape[-1])
        return source

    def execute(self, call: Call, engine: Engine) -> None:
        engine.hand_on(call)
