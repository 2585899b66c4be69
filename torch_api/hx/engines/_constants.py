"""Model values as the functional layers take them."""

from typing import Any

from torch import Tensor


def constant(value: Any, like: Tensor) -> Any:
    """A model value as the functional layers take it: a float, or a tensor of the right dtype."""
    if isinstance(value, Tensor):
        value = value.reshape(()) if value.numel() == 1 else value
        return value.to(dtype=like.dtype, device=like.device)
    return float(value)


def of_neuron(constants: dict[str, Any], index: int) -> dict[str, Any]:
    """The constants of one neuron of a population."""
    return {
        name: value[index : index + 1] if isinstance(value, Tensor) and value.ndim else value
        for name, value in constants.items()
    }
