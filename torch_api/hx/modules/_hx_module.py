"""The base of all modules."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from .._experiment import Experiment
from .._handle import Handle, HandleTypeError, TensorHandle
from ..engines._call import Call
from ..engines._engine import Engine
from ..engines._grid_form import is_grid_form


class HXBaseExperimentModule(nn.Module):
    """A module whose call registers it with an experiment and **returns** a pending handle."""

    output_type: type[Handle] = TensorHandle
    input_type: ClassVar[type[Handle]] = Handle
    has_neurons: ClassVar[bool] = False
    descriptor: Any = None
    """The key of what was measured of the module, in `exec_forward`."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__()
        self.experiment = experiment
        self.renew_output()

    @property
    def title(self) -> str:
        """The module in messages."""
        return type(self).__name__

    def renew_output(self) -> None:
        """Have a new handle for the next call."""
        self._output_handle = self.output_type.pending(self.title)

    def forward(self, *input: Handle) -> Any:
        if not input:
            raise TypeError(f"{self.title} needs a handle as input")
        for handle in input:
            if not isinstance(handle, self.input_type):
                expected = (
                    "a handle" if self.input_type is Handle else f"a {self.input_type.__name__}"
                )
                raise TypeError(
                    f"{self.title} expects {expected}, got {type(handle).__name__}"
                    + ("; wrap it: LIFObservables(spikes=...)" if _is_tensor(handle) else "")
                )
        self.experiment.connect(self, input, self._output_handle)
        return self._output_handle

    def forward_func(self, *input: Any, **data: Any) -> Any:
        """What the module computes, on dense tensors: from handles to a handle.

        One of your own may take ``hw_data``, which is ``None`` here.
        """
        return input[0]

    @property
    def func(self) -> Callable[..., Any]:
        """`forward_func` as a function of a tuple of handles and ``hw_data``, which it may lack."""
        takes_data = "hw_data" in inspect.signature(self.forward_func).parameters

        def compute(inputs: tuple[Any, ...], hw_data: Any = None) -> Any:
            named = {"hw_data": hw_data} if takes_data else {}
            return self.forward_func(*inputs, **named)

        return compute

    def exec_forward(self, input: Any, output: Any, hw_map: Mapping[Any, Any]) -> None:
        """Compute `forward_func` now and fill ``output``; what was measured is in ``hw_map``."""
        inputs = input if isinstance(input, tuple) else (input,)
        self.fill_computed(output, self.func(inputs, hw_data=hw_map.get(self.descriptor)))

    def fill_computed(self, output: Any, computed: Any) -> None:
        """Fill a handle with what `forward_func` returned, which must be of its type."""
        if not isinstance(computed, Handle):
            raise TypeError(
                f"{self.title}: forward_func must return a {type(output).__name__}, got "
                f"{type(computed).__name__}"
            )
        try:
            output.clone(computed)
        except HandleTypeError as error:
            raise HandleTypeError(
                f"{self.title}: forward_func must return a handle of the type of output_type; "
                f"{error}"
            ) from None

    def only(self, inputs: tuple) -> Any:
        """The one input of a module that has one."""
        if len(inputs) != 1:
            raise TypeError(f"{self.title} takes one handle, got {len(inputs)}")
        return inputs[0]

    def execute(self, call: Call, engine: Engine) -> None:
        """Ask an engine to fill the output handle of a call: here, by `forward_func`."""
        engine.compute(call)

    def has_own_forward(self) -> bool:
        """Whether `forward_func` is other than what engines know of the module."""
        return not is_grid_form(type(self).forward_func)


class HXModule(HXBaseExperimentModule):
    """Base of modules with a place on the hardware; placement is recorded and has no effect."""

    def __init__(
        self, experiment: Experiment, execution_instance: Any = None, chip_coordinate: Any = None
    ) -> None:
        super().__init__(experiment)
        self.execution_instance = execution_instance
        self.chip_coordinate = chip_coordinate


HXFunctionalModule = HXBaseExperimentModule


def _is_tensor(x: Any) -> bool:
    return isinstance(x, Tensor)
