"""What measurements have in common."""

import numbers
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..._recorded import Recorded
from ...modules.types._population import Population

_CHIP_NEURONS = 512


class Measurement:
    """What measurements have in common.

    **Arguments:**

    - ``params``: parameters of the neurons, by name.
    - ``batch_size``: how often what is measured repeats.
    - ``neuron_structure``: a ``SingleCompartmentNeuron(n)``, of which the chip has ``512 // n``.
    - ``calib_path``: without effect.
    """

    def __init__(
        self,
        params: Mapping[str, Any] | None = None,
        calib_path: Any = None,
        batch_size: int = 100,
        neuron_structure: Any = None,
    ) -> None:
        self.params = dict(params or {})
        self.calib_path = calib_path
        self.batch_size = batch_size
        self.neuron_structure = neuron_structure
        self.time_length = 100
        """Steps of a trace."""
        self.output_size = _CHIP_NEURONS // _circuits(neuron_structure)
        self.neuron: Any = None
        """The population that was measured last."""
        self.hw_neurons: Any = None
        """Where on a chip the neurons are: ``None``."""

    def _values(self, neuron: Population, name: str) -> Tensor:
        """A parameter's model value, one per neuron, ``(output_size,)``."""
        value = torch.as_tensor(neuron.model(name), dtype=torch.get_default_dtype()).detach()
        return value.expand(self.output_size)


def _circuits(structure: Any) -> int:
    """How many of the chip's neuron circuits one neuron takes."""
    if structure is None:
        return 1
    given = [*structure.values, *structure.named.values()] if _is_single(structure) else []
    size = given[0] if given else None
    if isinstance(size, bool) or not isinstance(size, numbers.Integral) or size < 1:
        raise ValueError(
            f"neuron_structure must be a SingleCompartmentNeuron(n), got {structure!r}; neurons of "
            f"several compartments are not available"
        )
    return int(size)


def _is_single(structure: Any) -> bool:
    return isinstance(structure, Recorded) and structure.name == "SingleCompartmentNeuron"
