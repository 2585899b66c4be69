"""Lets unmodified hxtorch scripts run: registers this look-alike under hxtorch's module names.

Nothing happens before `install` is called.
"""

import importlib.util
import logging
import sys
import types
from typing import Any

from ...jax_core.hardware import Backend
from .. import hx
from ._hardware import init_hardware, release_hardware

_installed: dict[str, types.ModuleType] = {}


def install(backend: Backend | None = None) -> None:
    """Register ``hxtorch`` and the parts of ``dlens_vx_v3`` that scripts import for placement.

    **Arguments:** ``backend``: what scripts run on that do not simulate (``mock=False``).

    **Raises:** ``RuntimeError`` if hxtorch itself can be imported.
    """
    if backend is not None:
        init_hardware(backend)
    if _installed:
        return
    if importlib.util.find_spec("hxtorch") is not None:
        raise RuntimeError("hxtorch is installed here; its look-alike would hide it")
    for name, module in _modules().items():
        sys.modules[name] = _installed[name] = module
    for name, module in _installed.items():
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(_installed[parent], child, module)


def uninstall() -> None:
    """Undo `install`."""
    for name in _installed:
        sys.modules.pop(name, None)
    _installed.clear()


class Recorded:
    """Stands for a coordinate or another object of placement: remembers how it was made."""

    def __init__(self, name: str, *values: Any, **named: Any) -> None:
        self.name, self.values, self.named = name, values, named

    def __repr__(self) -> str:
        named = [f"{key}={value!r}" for key, value in self.named.items()]
        return f"{self.name}({', '.join([*map(repr, self.values), *named])})"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Recorded(f"{self.name}.{name}")


class _Module(types.ModuleType):
    """A module whose missing names say that they are missing here."""

    def __init__(self, name: str, found: dict[str, Any], records: bool = False) -> None:
        super().__init__(name, f"Stand-in for {name}.")
        self.__dict__.update(found)
        self.__path__ = []
        self._records = records

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self._records and name[:1].isupper():

            def record(*values: Any, **named: Any) -> Recorded:
                return Recorded(name, *values, **named)

            return record
        raise AttributeError(f"{self.__name__}.{name} is not supported by evtorch's look-alike")


class _Level:
    TRACE, DEBUG, INFO = logging.DEBUG, logging.DEBUG, logging.INFO
    WARN, ERROR, FATAL = logging.WARNING, logging.ERROR, logging.CRITICAL


class _Logger:
    """Python's logging behind the logger's names."""

    LogLevel = _Level

    def __init__(self, name: str) -> None:
        log = logging.getLogger(name)

        def at(level: int) -> Any:
            return lambda *parts: log.log(level, " ".join(map(str, parts)))

        for name in ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"):
            write = at(getattr(_Level, name))
            setattr(self, name, write)
            setattr(self, name.lower(), write)


def _default_config(level: int = logging.WARNING, **_: Any) -> None:
    logging.basicConfig(level=level)


def _public(module: types.ModuleType) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if not name.startswith("_")}


def _modules() -> dict[str, types.ModuleType]:
    logger = {
        "get": _Logger,
        "default_config": _default_config,
        "set_loglevel": lambda log, level: None,
        "LogLevel": _Level,
    }
    names = _public(hx)
    # Importing a submodule binds its name in the package, over a function of the same name.
    classes = {name: value for name, value in names.items() if isinstance(value, type)}
    handles = {k: v for k, v in classes.items() if issubclass(v, hx.Handle)}
    parameters = {k: v for k, v in classes.items() if issubclass(v, hx.HXBaseParameter)}
    modules = {k: v for k, v in classes.items() if issubclass(v, hx.HXBaseExperimentModule)}
    recording = {"SingleCompartmentNeuron": lambda *a, **k: Recorded("SingleCompartmentNeuron", *a)}
    hardware = {"init_hardware": init_hardware, "release_hardware": release_hardware}
    contents: dict[str, dict[str, Any]] = {
        "hxtorch": hardware,
        "hxtorch.logger": logger,
        "hxtorch.spiking": names,
        "hxtorch.spiking.modules": modules,
        "hxtorch.spiking.handle": handles,
        "hxtorch.spiking.parameter": parameters,
        "hxtorch.spiking.experiment": {"Experiment": hx.Experiment},
        "hxtorch.spiking.functional": _public(hx.functional),
        "hxtorch.spiking.transforms": {},
        "hxtorch.spiking.transforms.encode": _public(hx.transforms.encode),
        "hxtorch.spiking.transforms.decode": _public(hx.transforms.decode),
        "hxtorch.spiking.transforms.weight_transforms": _public(hx.transforms.weight_transforms),
        "hxtorch.spiking.datasets": _public(hx.datasets),
        "hxtorch.spiking.datasets.yinyang": {"YinYangDataset": hx.datasets.YinYangDataset},
        "hxtorch.spiking.morphology": recording,
        "hxtorch.spiking.utils": {},
        "hxtorch.spiking.utils.calib_helper": {},
        "hxtorch.spiking.utils.from_nir": {
            "ConversionConfig": hx.ConversionConfig,
            "from_nir": hx.from_nir,
        },
        "hxtorch.spiking.utils.from_nir_data": {"from_nir_data": hx.from_nir_data},
        "hxtorch.spiking.utils.to_nir": {"to_nir": hx.to_nir},
        "hxtorch.spiking.utils.to_nir_data": {"to_nir_data": hx.to_nir_data},
        "pylogging": logger,
        "dlens_vx_v3": {},
    }
    found: dict[str, types.ModuleType] = {k: _Module(k, v) for k, v in contents.items()}
    for part in ("halco", "hal", "lola"):
        name = f"dlens_vx_v3.{part}"
        found[name] = _Module(name, {}, records=part == "halco")
    # The name of an older generation, still in use.
    found["hxtorch.snn"] = found["hxtorch.spiking"]
    return found
