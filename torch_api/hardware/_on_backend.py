"""A whole model on a backend, in one run per batch."""

from typing import Any, cast

from torch import nn

from ...jax_core.hardware import Backend, Network, Scaling
from .._backend import Stack, check_backend, run_stack
from .._delay import Delay
from .._li import LI
from .._lif import LIF
from .._validate import check_size


class OnBackend(nn.Module):
    """A model whose `LIF` layers run on hardware; `on_backend` makes it."""

    def __init__(
        self,
        model: nn.Sequential,
        backend: Backend,
        scaling: Scaling,
        count_missing: bool,
        voltage_samples: int | None,
    ) -> None:
        super().__init__()
        self.model = model
        self.backend = backend
        self.scaling = scaling
        self.count_missing = count_missing
        self.voltage_samples = voltage_samples

    def forward(self, x: Any) -> Any:
        """What the model makes of ``x``, which is as the model takes it."""
        internal = False
        for part in self._parts():
            if isinstance(part, Stack):
                x = run_stack(
                    part,
                    x,
                    self.backend,
                    self.scaling,
                    internal=internal,
                    count_missing=self.count_missing,
                    voltage_samples=self.voltage_samples,
                )
            else:
                x = part(x)
            internal = internal or isinstance(part, Stack | Delay)
        return x

    def _parts(self) -> list[nn.Module | Stack]:
        return _parts(self.model, self.voltage_samples is not None)

    def networks(self) -> tuple[Network, ...]:
        """What the backend is given: one network per run that a batch takes.

        For backends on their own, and for `Calibration.measure`.
        """
        return tuple(
            part.network(self.backend, self.scaling)
            for part in self._parts()
            if isinstance(part, Stack)
        )

    def extra_repr(self) -> str:
        return f"backend={self.backend.name!r}, scaling={self.scaling}"


def on_backend(
    model: nn.Module,
    backend: Backend,
    *,
    scaling: Scaling | None = None,
    count_missing: bool = False,
    voltage_samples: int | None = None,
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
    - ``count_missing``: whether to count spikes that the model predicts and the hardware lacks.
    - ``voltage_samples``: run `LI` layers on the hardware too, if it records voltages, and take
      ``"max"`` and ``"integral"`` from that many samples over [0, t_max] (``"value"`` needs one
      only). The gradient is that of the model's read-out of the observed spikes.

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
    if voltage_samples is not None and check_size(voltage_samples, "voltage_samples") < 2:
        raise ValueError(f"voltage_samples must be None or >= 2, got {voltage_samples}")
    parts = _parts(model, voltage_samples is not None)
    if not any(isinstance(part, Stack) for part in parts):
        raise ValueError("model has no LIF layer that could run on a backend")
    return OnBackend(model, backend, scaling, count_missing, voltage_samples)


def _parts(model: nn.Sequential, with_readouts: bool) -> list[nn.Module | Stack]:
    """The modules in order, with those layers together that fit into one run."""
    parts: list[nn.Module | Stack] = []
    stack: Stack | None = None
    for module in model:
        is_readout = isinstance(module, LI) and with_readouts
        if isinstance(module, nn.Sequential):
            parts += _parts(module, with_readouts)
            stack = None
        elif not (isinstance(module, LIF) or is_readout):
            parts.append(module)
            stack = None
        else:
            if stack is None or (isinstance(module, LIF) and module.delay_type == "axonal"):
                stack = Stack()
                parts.append(stack)
            if isinstance(module, LIF):
                stack.layers.append(module)
            else:
                stack.readout = cast(LI, module)
            if is_readout or module.delay_type == "dendritic":
                stack = None
    return parts
