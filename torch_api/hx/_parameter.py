"""Neuron parameters with one value for the model and one for the hardware."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Value = Tensor | float | int


class HXBaseParameter(nn.Module):
    """A parameter of a population: what the model computes with, and what the chip is set to."""

    def __init__(self, hardware_value: Any, model_value: Any) -> None:
        super().__init__()
        self._hardware_value = hardware_value
        self._model_value = model_value
        self.set_on_chip_func: Callable[..., Any] | None = None

    @property
    def hardware_value(self) -> Any:
        """What the hardware is set to."""
        return self._hardware_value

    @hardware_value.setter
    def hardware_value(self, value: Any) -> None:
        """Set the hardware to it."""
        self._hardware_value = value

    @property
    def model_value(self) -> Any:
        """What the model computes with; a ``nn.Parameter`` after `make_trainable`."""
        return self._model_value

    @model_value.setter
    def model_value(self, value: Any) -> None:
        """Let the model compute with it."""
        self._model_value = value

    def is_trainable(self) -> bool:
        """Whether the model's value is learned."""
        return isinstance(self._model_value, nn.Parameter)

    def make_trainable(self, set_on_chip_func: Callable[..., Any] | None = None) -> Any:
        """Let the model's value be learned; **returns** the parameter itself."""
        self.set_on_chip_func = set_on_chip_func
        value = torch.as_tensor(self._model_value)
        if not value.is_floating_point():
            value = value.to(torch.get_default_dtype())
        self._model_value = nn.Parameter(value)
        return self

    def forward(self) -> Any:
        return self._model_value

    def extra_repr(self) -> str:
        return (
            f"hardware_value={self.hardware_value}, model_value={self.model_value}, "
            f"trainable={self.is_trainable()}"
        )


class HXParameter(HXBaseParameter):
    """One value for both."""

    def __init__(self, value: Value) -> None:
        super().__init__(value, value)

    @property
    def hardware_value(self) -> Any:
        """The one value."""
        return self._model_value

    @hardware_value.setter
    def hardware_value(self, value: Any) -> None:
        """Set both."""
        self._model_value = value


class ModelParameter(HXBaseParameter):
    """One value for both, the model's; setting the hardware's value has no effect."""

    def __init__(self, model_value: Value) -> None:
        super().__init__(model_value, model_value)

    @property
    def hardware_value(self) -> Any:
        """The model's value."""
        return self._model_value

    @hardware_value.setter
    def hardware_value(self, value: Any) -> None:
        """Have no effect, as in hxtorch."""
        self._hardware_value = value


class MixedHXModelParameter(HXBaseParameter):
    """Two independent values."""

    def __init__(self, model_value: Value, hardware_value: Value) -> None:
        super().__init__(hardware_value, model_value)


class HXTransformedModelParameter(HXBaseParameter):
    """The hardware's value is a function of the model's."""

    def __init__(self, model_value: Value, transform_func: Callable[[Any], Any]) -> None:
        super().__init__(None, model_value)
        self._transform = transform_func

    @property
    def hardware_value(self) -> Any:
        """The function of the model's value."""
        return self._transform(self.model_value)

    @hardware_value.setter
    def hardware_value(self, value: Any) -> None:
        """Raise ``AttributeError``: it follows the model's value."""
        raise AttributeError("hardware_value is a function of model_value; set that one")


ModuleParameterType = HXBaseParameter | Value


def capacitance(given: ModuleParameterType | None) -> ModuleParameterType:
    """What was given, else 10 µs times the unit conductance, 63 of the hardware's steps."""
    if given is not None:
        return given
    return HXTransformedModelParameter(10e-6, lambda model_value: model_value / 10e-6 * 63)
