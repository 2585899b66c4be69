"""Wrappers: modules that are computed together."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from .._experiment import Experiment
from .._handle import Handle
from ..engines._call import Call
from ..engines._engine import Engine
from ._hx_module import HXBaseExperimentModule


class HXModuleWrapper(HXBaseExperimentModule):
    """Several modules that are computed together, as those of a recurrence.

    Call the modules as usual, then the wrapper without arguments. In the Euler engine its
    ``forward_func`` gets the handles that come from outside, module by module (one that two modules
    read comes twice), and returns one handle per module, in their order. The event engine, like
    hardware, takes synapses and neurons as they are connected; spikes reach the neurons behind a
    recurrent synapse at once.
    """

    modules: Any

    def __init__(self, experiment: Experiment, **modules: HXBaseExperimentModule) -> None:
        super().__init__(experiment)
        self.spike_room = 0
        """Room for spikes per neuron that the last run needed."""
        self.update(**modules)

    def update(self, **modules: HXBaseExperimentModule) -> None:
        """Exchange the modules."""
        # The name is taken by nn.Module's iterator over submodules, which must go on working.
        wrapped = dict(modules)
        for name, module in wrapped.items():
            setattr(self, name, module)
        object.__setattr__(self, "modules", _Modules(self, wrapped))

    def contains(self, modules: HXBaseExperimentModule | Iterable[HXBaseExperimentModule]) -> bool:
        """Whether all of ``modules`` are wrapped here."""
        wanted = [modules] if isinstance(modules, nn.Module) else list(modules)
        return all(any(m is own for own in self.modules.values()) for m in wanted)

    def forward(self, *input: Handle) -> None:
        if input:
            raise TypeError(f"{self.title} is called without handles; its modules have them")
        self.experiment.connect_wrapper(self)

    def renew_output(self) -> None:
        if "modules" in vars(self):
            for module in self.modules.values():
                module.renew_output()

    def execute(self, call: Call, engine: Engine) -> None:
        engine.connect(call)

    def exec_forward(self, input: Any, output: Any, hw_map: Mapping[Any, Any]) -> None:
        inputs = input if isinstance(input, tuple) else (input,)
        seen = tuple(hw_map.get(module.descriptor) for module in self.modules.values())
        self.fill_all(output, self.func(inputs, hw_data=seen))

    def fill_all(self, outputs: Sequence[Handle], found: Any) -> None:
        """Fill the handles of the wrapped modules with what `forward_func` returned."""
        found = found if isinstance(found, tuple) else (found,)
        if len(found) != len(outputs):
            raise ValueError(
                f"{self.title}: forward_func must return {len(outputs)} handles, one per module, "
                f"got {len(found)}"
            )
        for output, handle in zip(outputs, found, strict=True):
            self.fill_computed(output, handle)


class _Modules(dict):
    """The wrapped modules by name; called, it is ``nn.Module.modules()``."""

    def __init__(self, wrapper: nn.Module, modules: dict[str, Any]) -> None:
        super().__init__(modules)
        self._wrapper = wrapper

    def __call__(self) -> Any:
        return nn.Module.modules(self._wrapper)
