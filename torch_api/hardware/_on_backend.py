"""A whole model on a backend, in one run per batch."""

from collections.abc import Collection, Iterator
from typing import Any, overload

from torch import nn

from ...jax_core.hardware import Backend, Network, Scaling
from .._validate import check_size
from ..backend._run import refuse_export
from ..backend._scaling import check_backend
from ..backend._stack import Stack, run_stack
from ..layers._delay import Delay
from ..layers._neuron_layer import NeuronLayer
from ._parts import Plan, as_sequential


class OnBackend(nn.Module):
    """A model whose `LIF` layers run on hardware; `on_backend` makes it.

    Its modules are reached as those of ``model``: by place, slice, iteration and name. They are the
    same objects, so they share parameters and health; called on their own, they simulate.
    """

    def __init__(
        self,
        model: nn.Sequential,
        backend: Backend,
        scaling: Scaling,
        count_missing: bool,
        voltage_samples: int | None,
        simulate: Collection[str],
    ) -> None:
        super().__init__()
        self.model = model
        self.backend = backend
        self.scaling = scaling
        self.count_missing = count_missing
        self.voltage_samples = voltage_samples
        self.simulate = simulate
        self.register_load_state_dict_pre_hook(_as_in_here)

    def forward(self, x: Any, **options: Any) -> Any:
        """What the model makes of ``x``, which is as the model takes it."""
        if options:
            raise TypeError(
                f"a model on a backend takes its input only, got {', '.join(options)}: hardware "
                f"begins each run at rest, and does not say in which state it ends; run the stream "
                f"in one piece, or in pieces by the model itself, which simulates"
            )
        # First of all, since torch.export exchanges methods of the modules that are looked at next.
        refuse_export(self.backend)
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
            internal = internal or isinstance(part, Stack | Delay | NeuronLayer)
        return x

    @overload
    def __getitem__(self, key: int) -> nn.Module: ...
    @overload
    def __getitem__(self, key: slice) -> nn.Sequential: ...
    def __getitem__(self, key: int | slice) -> nn.Module:
        return self.model[key]

    def __len__(self) -> int:
        return len(self.model)

    def __iter__(self) -> Iterator[nn.Module]:
        return iter(self.model)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            modules = self.__dict__.get("_modules", {})
            if "model" in modules and name in modules["model"]._modules:
                return modules["model"]._modules[name]
            raise

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(n for n in self.model._modules if n.isidentifier())]

    def _parts(self) -> list[nn.Module | Stack]:
        plan = Plan(self.backend, self.voltage_samples is not None, self.simulate)
        return plan.parts(self.model)

    def state_dict(self, *args: Any, **options: Any) -> Any:
        """That of the model, so that either loads what the other saved."""
        return self.model.state_dict(*args, **options)

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
        return f"backend={self.backend.name!r}, scaling={self.scaling!r}"


def on_backend(
    model: nn.Module,
    backend: Backend,
    *,
    scaling: Scaling | None = None,
    count_missing: bool = False,
    voltage_samples: int | None = None,
    simulate: Collection[str] = (),
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
    - ``simulate``: names of modules, as in ``model.named_modules()``, that torch runs as they are.
      Any other spiking layer that would not run on the hardware is an error: within a module that
      is no ``nn.Sequential``, recurrent, with a backend, a forward or hooks of its own.

    **Returns:** a module that takes and returns what ``model`` does.

    **Raises:** ``TypeError`` or ``ValueError`` for a model that cannot be taken apart, at once; at
    the forward `HardwareLimitError` for what does not fit, `BackendError` for a backend that fails.
    """
    scaling = check_backend(backend, scaling)
    model = as_sequential(model)
    if voltage_samples is not None and check_size(voltage_samples, "voltage_samples") < 2:
        raise ValueError(f"voltage_samples must be None or >= 2, got {voltage_samples}")
    chip = OnBackend(model, backend, scaling, count_missing, voltage_samples, simulate)
    if not any(isinstance(part, Stack) for part in chip._parts()):
        raise ValueError("model has no LIF layer that could run on a backend")
    return chip


def _as_in_here(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Give what the model is to load the names that it has within `OnBackend`."""
    for key in [key for key in state if key.startswith(prefix)]:
        state[f"{prefix}model.{key.removeprefix(prefix)}"] = state.pop(key)
