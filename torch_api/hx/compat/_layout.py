"""hxtorch's modules by name, with what the files of this package hold, which lie as those do."""

import importlib
import pkgutil
import types
from collections.abc import Iterator
from typing import Any

from .._parameter import HXBaseParameter, ModuleParameterType
from .._recorded import Recorded
from ..functional._linear import WeightRounding
from ..functional._superspike import superspike
from ..modules._hx_module import HXBaseExperimentModule, HXModule
from . import _yinyang_model
from ._stand_ins import LOGGER, StandIn

_OWN = (
    *("compat", "engines", "recorded"),
    *("functional.measured", "utils.convention", "utils.dynamic_range.measurement"),
)
"""What lies here and not there."""
_FOLDERS = ("modules.neuron", "modules.types")
"""Files there, and folders here."""
_BESIDE = {"backend": "module_manager", "utils": "model_mapper"}
"""Files whose names their package has too."""
_ALIASES: dict[str, dict[str, Any]] = {
    "functional": {"superspike_func": superspike, "WeightRounding": WeightRounding},
    "modules": {"BasePopulation": HXModule, "ModuleParameterType": ModuleParameterType},
    "parameter": {"ParameterType": HXBaseParameter},
    "morphology": {
        "Morphology": Recorded,
        "SingleCompartmentNeuron": lambda *a, **k: Recorded("SingleCompartmentNeuron", *a, **k),
    },
}
"""What has no such name here."""


def _hx() -> types.ModuleType:
    """The package around this one, which is not complete yet while this file is imported."""
    return importlib.import_module(__name__.rsplit(".", 2)[0])


def stand_ins() -> dict[str, StandIn]:
    """Stand-ins for the modules of hxtorch, and for those beside it that scripts import."""
    spiking, layout = _public(_hx()), _layout()
    hardware = {name: spiking[name] for name in ("init_hardware", "release_hardware")}
    example = {"SNN": _yinyang_model.SNN, "Model": _yinyang_model.Model}
    contents: dict[str, dict[str, Any]] = {
        "hxtorch": hardware,
        "hxtorch.logger": LOGGER,
        "hxtorch.examples": {},
        "hxtorch.examples.spiking": {},
        "hxtorch.examples.spiking.yinyang_model": example,
        "pylogging": LOGGER,
        "dlens_vx_v3": {},
    }
    found = {name: StandIn(name, held) for name, held in contents.items()}
    for part in ("halco", "hal", "lola"):
        name = f"dlens_vx_v3.{part}"
        found[name] = StandIn(name, {}, records=part == "halco")
    found["hxtorch.spiking"] = StandIn("hxtorch.spiking", spiking)
    for path, held in layout.items():
        found[f"hxtorch.spiking.{path}"] = StandIn(f"hxtorch.spiking.{path}", held)
    # The name of an older generation, still in use.
    older = {
        name.replace("hxtorch.spiking", "hxtorch.snn"): module
        for name, module in found.items()
        if name.startswith("hxtorch.spiking")
    }
    return {**found, **older}


def _layout() -> dict[str, dict[str, Any]]:
    """What the modules within ``hxtorch.spiking`` hold, by their names in it."""
    files = dict(_files())
    held = {path: _held(file, path) for path, file in files.items()}
    held["modules"] = {
        name: value
        for path in held
        if _is_within(path, "modules")
        for name, value in held[path].items()
        if isinstance(value, type) and issubclass(value, HXBaseExperimentModule)
    }
    for package, file in _BESIDE.items():
        held[package] = held[f"{package}.{file}"]
    for path, aliases in _ALIASES.items():
        held[path] = held.get(path, {}) | aliases
    # Each file there has the names of all here, as they moved between files.
    for package in ("functional", "modules"):
        held |= {path: held[package] for path in held if _is_within(path, package)}
    return {
        path: names
        for path, names in held.items()
        if path in _FOLDERS or not any(_is_within(path, folder) for folder in _FOLDERS)
    }


def _files() -> Iterator[tuple[str, types.ModuleType]]:
    """The files of this package by the names that they would have there."""
    hx = _hx()
    root = f"{hx.__name__}."
    for info in pkgutil.walk_packages(hx.__path__, root):
        path = ".".join(part.removeprefix("_") for part in info.name.removeprefix(root).split("."))
        if not any(_is_within(path, own) for own in _OWN):
            yield path, importlib.import_module(info.name)


def _held(file: types.ModuleType, path: str) -> dict[str, Any]:
    """The public names of a file: those that it lists, or else defines."""
    if hasattr(file, "__all__"):
        return _public(file)
    return {
        name: value
        for name, value in vars(file).items()
        if not name.startswith("_")
        and getattr(value, "__module__", None) == file.__name__
        and ("." in path or name in _hx().__all__)
    }


def _public(package: types.ModuleType) -> dict[str, Any]:
    """The names that a package lists but for its parts, which have stand-ins of their own."""
    listed = {name: getattr(package, name) for name in package.__all__}
    return {name: x for name, x in listed.items() if not isinstance(x, types.ModuleType)}


def _is_within(path: str, package: str) -> bool:
    return f"{path}.".startswith(f"{package}.")
