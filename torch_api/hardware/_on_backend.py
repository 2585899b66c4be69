"""A whole model on a backend, in one run per batch."""

from typing import Any

from torch import nn

from ...jax_core.hardware import Backend, Network, Scaling
from .._backend import check_backend, hardware_network, run_stack
from .._lif import LIF


class OnBackend(nn.Module):
    """A model whose `LIF` layers run on hardware; `on_backend` makes it."""

    def __init__(
        self, model: nn.Sequential, backend: Backend, scaling: Scaling, count_missing: bool
    ) -> None:
        super().__init__()
        self.model = model
        self.backend = backend
        self.scaling = scaling
        self.count_missing = count_missing

    def forward(self, x: Any) -> Any:
        for part in _parts(self.model):
            if isinstance(part, list):
                x = run_stack(part, x, self.backend, self.scaling, count_missing=self.count_missing)
            else:
                x = part(x)
        return x

    def networks(self) -> tuple[Network, ...]:
        """What the backend is given: one network per run that a batch takes.

        For backends on their own, and for `Calibration.measure`.
        """
        return tuple(
            hardware_network(part, self.backend, self.scaling)
            for part in _parts(self.model)
            if isinstance(part, list)
        )

    def extra_repr(self) -> str:
        return f"backend={self.backend.name!r}, scaling={self.scaling}"


def on_backend(
    model: nn.Module,
    backend: Backend,
    *,
    scaling: Scaling | None = None,
    count_missing: bool = False,
) -> OnBackend:
    """Run the `LIF` layers of a model on a backend, and train it there.

    Forward, all layers run on the hardware together, once per batch. Backward, the model gives the
    gradients at the observed spikes, with the weights that the hardware had (rounded and
    clipped); the trained weights get them unchanged (straight-through). Both models share their
    parameters, so the training script stays as it is.

    **Arguments:**

    - ``model``: a `LIF` layer or an ``nn.Sequential``. What stands before, behind or between the
      `LIF` layers (encoders, `LI` read-outs, `Delay`) is computed by torch; layers that are parted
      by such a module, or by a delay of their own, take a run each.
    - ``backend``: the hardware, or what stands for it.
    - ``scaling``: factors between model and hardware; 1 by default.
    - ``count_missing``: whether to count missing spikes, which costs a simulation.

    **Returns:** a module that takes and returns what ``model`` does.

    **Raises:** ``TypeError`` or ``ValueError`` for a model that cannot be taken apart, at once; at
    the forward `HardwareLimitError` for what does not fit, `BackendError` for a backend that fails.
    """
    scaling = check_backend(backend, scaling)
    if isinstance(model, LIF):
        model = nn.Sequential(model)
    if not isinstance(model, nn.Sequential):
        raise TypeError(
            f"model must be an nn.Sequential or a LIF layer, got {type(model).__name__}; give "
            f"single layers of other models a backend of their own (LIF(..., backend=...))"
        )
    if not any(isinstance(part, list) for part in _parts(model)):
        raise ValueError("model has no LIF layer that could run on a backend")
    return OnBackend(model, backend, scaling, count_missing)


def _parts(model: nn.Sequential) -> list[nn.Module | list[LIF]]:
    """The modules in order, with those `LIF` layers in one list that fit into one run."""
    parts: list[nn.Module | list[LIF]] = []
    stack: list[LIF] = []
    for module in model:
        if isinstance(module, nn.Sequential):
            parts += _parts(module)
            stack = []
        elif not isinstance(module, LIF):
            parts.append(module)
            stack = []
        else:
            if not stack or module.delay_type == "axonal":
                stack = []
                parts.append(stack)
            stack.append(module)
            if module.delay_type == "dendritic":
                stack = []
    return parts
