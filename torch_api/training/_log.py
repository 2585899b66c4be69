"""What to look at while a spiking model trains, written to TensorBoard."""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ...jax_core import Events
from ..layers._cost import cost
from ..layers._health import health_report


class ScalarWriter(Protocol):
    """What `torch.utils.tensorboard.SummaryWriter` has, and others after its example."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> Any: ...


def log_training(
    writer: ScalarWriter,
    model: nn.Module,
    step: int,
    *,
    inputs: Tensor | Events | None = None,
    **values: float | Tensor,
) -> None:
    """Write the layers' health, what they spike, and losses or accuracies as curves.

    Call it once per epoch, say, behind a forward of ``model``::

        writer = SummaryWriter("runs/digits")  # of torch.utils.tensorboard
        snn.log_training(writer, model, epoch, inputs=data[:64], loss=loss, accuracy=right)

    **Arguments:**

    - ``writer``: has ``add_scalar(tag, value, step)``.
    - ``step``: the place of these values on the horizontal axis.
    - ``inputs``: a batch for ``model``, which `cost` runs to count spikes and synaptic operations
      per sample; ``None``: these are not written. The health is that of the forward before.
    - ``values``: numbers, or tensors with one element, by their names.

    Tags are the names of ``values``; ``silent/<layer>``, ``grazing/<layer>`` and
    ``overflow/<layer>``, per pair of sample and neuron; ``spikes/<layer>`` and
    ``operations/<layer>``, per sample. A layer that is the whole model is named ``model``.

    **Raises:** ``TypeError`` for a writer without ``add_scalar``, or values that are no numbers.
    """
    if not callable(getattr(writer, "add_scalar", None)):
        raise TypeError(
            f"writer must have add_scalar(tag, value, step), got {type(writer).__name__}; "
            "torch.utils.tensorboard.SummaryWriter(folder) is one"
        )
    curves = {name: _number(name, value) for name, value in values.items()}
    for layer in health_report(model).layers:
        name = layer.name or "model"
        curves[f"silent/{name}"] = layer.silent_fraction
        curves[f"grazing/{name}"] = layer.grazing_rate
        curves[f"overflow/{name}"] = layer.overflow_fraction
    if inputs is not None:
        with torch.no_grad():
            counted = cost(model, inputs)
        for layer in counted.layers:
            name = layer.name or "model"
            curves[f"operations/{name}"] = layer.operations
            if layer.spikes is not None:
                curves[f"spikes/{name}"] = layer.spikes
    for tag, value in curves.items():
        writer.add_scalar(tag, value, step)


def _number(name: str, value: Any) -> float:
    if isinstance(value, Tensor):
        if value.numel() != 1:
            raise TypeError(
                f"{name} must be a number or a tensor with one element, got shape "
                f"{tuple(value.shape)}; pass its mean"
            )
        value = value.detach().item()
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}") from None
