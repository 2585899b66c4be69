"""Registers and removes the look-alike."""

import importlib.util
import sys
import types
from typing import Any

from ....jax_core.hardware import Backend
from ... import hx
from .. import _execution_instance as _placement
from .._experiment import set_default_engine
from .._observables import AnalogObservable
from .._parameter import ModuleParameterType
from .._recorded import Recorded
from ..backend._module_manager import ModuleManager
from ..engines._call import EngineName
from ..engines._default_backend import init_hardware, release_hardware
from ..functional._linear import WeightRounding
from ..modules._hx_module import HXModule
from ..modules.types._input_population import InputPopulation
from ..modules.types._population import Population
from ..modules.types._projection import Projection
from ..utils import _calib_helper, _readout_source
from ..utils._model_mapper import MixinHXModelMapper
from ..utils.dynamic_range import _boundary, _threshold, _weight_scaling
from . import _yinyang_model
from ._stand_ins import LOGGER, Finder, StandIn

_installed: dict[str, types.ModuleType] = {}
_finder = Finder()


def install(backend: Backend | None = None, *, engine: EngineName = "euler") -> None:
    """Register ``hxtorch`` and the parts of ``dlens_vx_v3`` that scripts import for placement.

    **Arguments:** ``backend``: what scripts run on that do not simulate (``mock=False``).
    ``engine``: what those simulate with that do, as in `Experiment`: ``"euler"``, hxtorch's time
    steps and surrogate gradients, which scripts have their settings for, or ``"event"``. It holds
    for every `Experiment` that was given none, until `uninstall`.

    **Raises:** ``RuntimeError`` if hxtorch itself can be imported.
    """
    if not _installed and _is_installed("hxtorch"):
        raise RuntimeError("hxtorch is installed here; its look-alike would hide it")
    set_default_engine(engine)
    if backend is not None:
        init_hardware(backend)
    if _installed:
        return
    for name, module in _modules().items():
        sys.modules[name] = _installed[name] = module
    for name, module in _installed.items():
        parent, _, child = name.rpartition(".")
        # Of a module and a function of the same name, such as run, the package has the function.
        if parent and child not in vars(_installed[parent]):
            setattr(_installed[parent], child, module)
    sys.meta_path.append(_finder)


def _is_installed(name: str) -> bool:
    """Whether a package can be imported; a mere folder of its name is none."""
    found = importlib.util.find_spec(name)
    return found is not None and found.origin is not None


def uninstall() -> None:
    """Undo `install`; the backend stays, see `release_hardware`."""
    for name in _installed:
        sys.modules.pop(name, None)
    if _installed:
        sys.meta_path.remove(_finder)
    _installed.clear()
    set_default_engine("event")


def _public(module: types.ModuleType) -> dict[str, Any]:
    """The public names of a module but for its sub-modules, which have stand-ins of their own."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }


_MODULE_FILES = (
    *("batch_dropout", "hx_module", "hx_module_wrapper", "input_neuron", "neuron"),
    *("sparse_synapse", "synapse", "types"),
)
_FUNCTION_FILES = (
    *("aelif", "dropout", "eventprop", "li", "lif", "linear", "refractory", "spike_source"),
    *("step_integration_code_factory", "superspike", "threshold", "unterjubel"),
)


def _utils() -> dict[str, dict[str, Any]]:
    mapper = {"MixinHXModelMapper": MixinHXModelMapper}
    return {
        "hxtorch.spiking.utils": mapper,
        "hxtorch.spiking.utils.model_mapper": mapper,
        "hxtorch.spiking.utils.calib_helper": {
            "nightly_calib_path": _calib_helper.nightly_calib_path,
            "nightly_calix_native_path": _calib_helper.nightly_calix_native_path,
        },
        "hxtorch.spiking.utils.readout_source": {"ReadoutSource": _readout_source.ReadoutSource},
        "hxtorch.spiking.utils.dynamic_range": {},
        "hxtorch.spiking.utils.dynamic_range.boundary": {
            "Boundaries": _boundary.Boundaries,
            "get_dynamic_range": _boundary.get_dynamic_range,
        },
        "hxtorch.spiking.utils.dynamic_range.threshold": {
            "Threshold": _threshold.Threshold,
            "get_trace_scaling": _threshold.get_trace_scaling,
        },
        "hxtorch.spiking.utils.dynamic_range.weight_scaling": {
            "WeightScaling": _weight_scaling.WeightScaling,
            "get_weight_scaling": _weight_scaling.get_weight_scaling,
        },
        "hxtorch.spiking.utils.from_nir": {
            "ConversionConfig": hx.ConversionConfig,
            "from_nir": hx.from_nir,
        },
        "hxtorch.spiking.utils.from_nir_data": {"from_nir_data": hx.from_nir_data},
        "hxtorch.spiking.utils.to_nir": {"to_nir": hx.to_nir},
        "hxtorch.spiking.utils.to_nir_data": {"to_nir_data": hx.to_nir_data},
    }


def _modules() -> dict[str, types.ModuleType]:
    names = _public(hx)
    classes = {name: value for name, value in names.items() if isinstance(value, type)}
    modules = {k: v for k, v in classes.items() if issubclass(v, hx.HXBaseExperimentModule)}
    modules |= {
        "Projection": Projection,
        "BasePopulation": HXModule,
        "Population": Population,
        "InputPopulation": InputPopulation,
        "ModuleParameterType": ModuleParameterType,
    }
    functions = _public(hx.functional) | {
        "WeightRounding": WeightRounding,
        "superspike_func": hx.functional.superspike,
    }
    parameters = {k: v for k, v in classes.items() if issubclass(v, hx.HXBaseParameter)}
    instance = {
        "ExecutionInstance": hx.ExecutionInstance,
        "ExecutionInstances": _placement.ExecutionInstances,
    }
    compartment = {
        "Morphology": Recorded,
        "SingleCompartmentNeuron": lambda *a, **k: Recorded("SingleCompartmentNeuron", *a, **k),
    }
    manager = {"ModuleManager": ModuleManager}
    hardware = {"init_hardware": init_hardware, "release_hardware": release_hardware}
    contents: dict[str, dict[str, Any]] = {
        "hxtorch": hardware,
        "hxtorch.logger": LOGGER,
        "hxtorch.spiking": names,
        "hxtorch.spiking.modules": modules,
        **{f"hxtorch.spiking.modules.{file}": modules for file in _MODULE_FILES},
        "hxtorch.spiking.handle": {k: v for k, v in classes.items() if issubclass(v, hx.Handle)},
        "hxtorch.spiking.parameter": parameters | {"ParameterType": hx.HXBaseParameter},
        "hxtorch.spiking.experiment": {"Experiment": hx.Experiment},
        "hxtorch.spiking.execution_instance": instance,
        "hxtorch.spiking.run": {"run": hx.run},
        "hxtorch.spiking.observables": {"AnalogObservable": AnalogObservable},
        "hxtorch.spiking.backend": manager,
        "hxtorch.spiking.backend.module_manager": manager,
        "hxtorch.spiking.functional": functions,
        **{f"hxtorch.spiking.functional.{file}": functions for file in _FUNCTION_FILES},
        "hxtorch.spiking.transforms": {},
        "hxtorch.spiking.transforms.encode": _public(hx.transforms.encode),
        "hxtorch.spiking.transforms.decode": _public(hx.transforms.decode),
        "hxtorch.spiking.transforms.weight_transforms": _public(hx.transforms.weight_transforms),
        "hxtorch.spiking.datasets": _public(hx.datasets),
        "hxtorch.spiking.datasets.yinyang": {"YinYangDataset": hx.datasets.YinYangDataset},
        "hxtorch.spiking.morphology": compartment,
        **_utils(),
        "hxtorch.examples": {},
        "hxtorch.examples.spiking": {},
        "hxtorch.examples.spiking.yinyang_model": {
            "SNN": _yinyang_model.SNN,
            "Model": _yinyang_model.Model,
        },
        "pylogging": LOGGER,
        "dlens_vx_v3": {},
    }
    found: dict[str, types.ModuleType] = {k: StandIn(k, v) for k, v in contents.items()}
    for part in ("halco", "hal", "lola"):
        name = f"dlens_vx_v3.{part}"
        found[name] = StandIn(name, {}, records=part == "halco")
    # The name of an older generation, still in use.
    older = {
        name.replace("hxtorch.spiking", "hxtorch.snn"): module
        for name, module in found.items()
        if name.startswith("hxtorch.spiking")
    }
    return {**found, **older}
