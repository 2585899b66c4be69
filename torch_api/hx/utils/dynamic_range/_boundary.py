"""The range of membrane voltages."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..._experiment import Experiment
from ...modules.neuron._li import LI
from ._measurement import Measurement


class Boundaries(Measurement):
    """The range of membrane voltages; see `Measurement` for the arguments."""

    def run(self, dt: float = 1e-6) -> tuple[Tensor, Tensor, Tensor]:
        """Voltage at rest, the model's leak, and the highest and lowest one: there is no limit."""
        self.neuron = LI(self.output_size, Experiment(mock=True, dt=dt), **self.params)
        rest = self._values(self.neuron, "leak").mean()
        return rest, torch.tensor(math.inf), torch.tensor(-math.inf)


def get_dynamic_range(
    neuron_structure: Any = None,
    calib_path: Any = None,
    params: Mapping[str, Any] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """What `Boundaries` finds."""
    return Boundaries(params, calib_path, neuron_structure=neuron_structure).run()
