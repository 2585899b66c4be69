"""Takes a model apart into what runs on hardware together and what torch computes."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import cast

from torch import nn

from ...jax_core.hardware import Backend
from ..backend._layers import ReadOut, Spiking
from ..backend._stack import Stack
from ..layers._li import LI
from ..layers._lif import LIF
from ..layers._neuron_layer import NeuronLayer
from ..layers._plain import has_hooks, has_own_forward


def as_sequential(model: nn.Module) -> nn.Sequential:
    """The model that is to run on hardware, a single `LIF` layer as one of one module."""
    if isinstance(model, LIF):
        return nn.Sequential(model)
    if not isinstance(model, nn.Sequential):
        raise TypeError(
            f"model must be an nn.Sequential or a LIF layer, got {type(model).__name__}; give "
            f"single layers of other models a backend of their own (LIF(..., backend=...))"
        )
    return model


def hardware_layers(
    model: nn.Module, backend: Backend, with_readouts: bool, simulate: Collection[str]
) -> Iterator[tuple[str, Spiking | ReadOut]]:
    """Names and layers of what would run on the hardware, in order."""
    model = as_sequential(model)
    names = {id(module): name for name, module in model.named_modules()}
    for part in Plan(backend, with_readouts, simulate).parts(model):
        if isinstance(part, Stack):
            for layer in [*part.layers, *([] if part.readout is None else [part.readout])]:
                yield names[id(layer)], layer


@dataclass(frozen=True)
class Plan:
    """What of a model is to run on the hardware."""

    backend: Backend
    with_readouts: bool
    """Whether `LI` layers do."""
    simulate: Collection[str]
    """Names of modules that do not."""

    def parts(self, model: nn.Sequential) -> list[nn.Module | Stack]:
        """The modules in order, with those layers together that fit into one run.

        **Raises:** ``ValueError`` that names the module for a spiking layer that would not run on
        the hardware, or not as it is.
        """
        if isinstance(self.simulate, str):
            raise TypeError(f"simulate must be a tuple of names, got {self.simulate!r}")
        names = {name for name, _ in model.named_modules()} - {""}
        for name in self.simulate:
            if name not in names:
                raise ValueError(f"simulate: the model has no module {name!r}, but {sorted(names)}")
        return self._parts(model, "")

    def _parts(self, model: nn.Sequential, name: str) -> list[nn.Module | Stack]:
        self._check_plain(model, name, nn.Sequential)
        parts: list[nn.Module | Stack] = []
        stack: Stack | None = None
        for key, module in model._modules.items():
            assert module is not None
            own_name = f"{name}.{key}" if name else key
            wanted = list(self._wanted(module, own_name))
            if not wanted:
                parts.append(module)
                stack = None
            elif isinstance(module, nn.Sequential):
                parts += self._parts(module, own_name)
                stack = None
            else:
                self._check_layer(module, own_name, wanted)
                if stack is None or (isinstance(module, LIF) and module.delay_type == "axonal"):
                    stack = Stack()
                    parts.append(stack)
                if isinstance(module, LIF):
                    stack.layers.append(module)
                else:
                    stack.readout = cast(LI, module)
                if isinstance(module, LI) or module.delay_type == "dendritic":
                    stack = None
        return parts

    def _wanted(self, module: nn.Module, name: str) -> Iterator[str]:
        """Names of the layers in ``module``, itself included, that are to run on the hardware."""
        kinds = (NeuronLayer, LI) if self.with_readouts else (NeuronLayer,)
        for own_name, part in module.named_modules(prefix=name):
            left = any(f"{own_name}.".startswith(f"{kept}.") for kept in self.simulate)
            if isinstance(part, kinds) and not left:
                yield own_name

    def _check_layer(self, module: nn.Module, name: str, wanted: list[str]) -> None:
        if not isinstance(module, LIF | LI):
            inside = "" if wanted == [name] else f" in {type(module).__name__} {name!r}"
            raise ValueError(
                f"model: {wanted[0]!r}{inside} cannot run on hardware, which takes LIF layers"
                f"{' and LI read-outs' if self.with_readouts else ''} of an nn.Sequential; "
                f"{_remedy(wanted[0])}"
            )
        self._check_plain(module, name, LIF if isinstance(module, LIF) else LI)
        if isinstance(module, LIF) and module.delay_type == "synaptic":
            raise ValueError(
                f"model: {name!r} has delays of single connections (delay='synaptic'), which "
                f"hardware does not have; choose delay='axonal', or {_remedy(name)}"
            )
        if isinstance(module, LIF) and module.backend not in (None, self.backend):
            raise ValueError(
                f"model: {name!r} has a backend of its own, {module.backend.name}; make the layer "
                f"without one, or {_remedy(name)}"
            )

    def _check_plain(self, module: nn.Module, name: str, kind: type[nn.Module]) -> None:
        """Refuse what the hardware would skip, as no module's forward is called there."""
        shown = f"model: {name!r}" if name else "model"
        if has_own_forward(module, kind):
            raise ValueError(
                f"{shown}, {type(module).__name__}, has a forward of its own, which a run on "
                f"hardware would skip; {_remedy(name)}"
            )
        if has_hooks(module):
            raise ValueError(
                f"{shown} has hooks, which a run on hardware would not call; remove them"
                f"{f', or {_remedy(name)}' if name else ''}"
            )


def _remedy(name: str) -> str:
    if not name:
        return "use a plain nn.Sequential"
    return f"leave it to torch with on_backend(..., simulate=({name!r},))"
