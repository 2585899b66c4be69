"""Modules that stand for those of hxtorch, and say by name what they do not have."""

import importlib.abc
import logging
import types
from collections.abc import Sequence
from typing import Any

from .._recorded import Recorded

_ROOTS = (
    *("hxtorch", "dlens_vx_v3", "pylogging", "pygrenade_vx", "calix", "pystadls_vx_v3"),
    *("_hxtorch_core", "_hxtorch_spiking", "_hxtorch_perceptron"),
)

_MATRICES = "it multiplies matrices, without spikes"
_BINDING = "it binds the chip's software in C++; plasticity programs and custom routing need it"
_CHIP = "it holds a chip's configuration, and backends configure themselves"
_CALIBRATION = "calibrations can be named, not read or made; backends have their own"
_MIXIN = "modules have no part on the chip; derive from HXModule, and give it a forward_func"
_REASONS = {
    "hxtorch.perceptron": _MATRICES,
    "hxtorch.ann": _MATRICES,
    "hxtorch.examples.perceptron": _MATRICES,
    "hxtorch.examples": "run the example's own file after compat.install",
    "hxtorch.spiking.execution_info": "it reports what the chip's software took",
    "hxtorch.spiking.neuron_placement": "backends place neurons on their own",
    "hxtorch.spiking.observables": "measured data come in handles, and as hw_data",
    "hxtorch.spiking.modules.hx_module.HXHardwareEntityMixin": _MIXIN,
    "hxtorch.spiking.modules.hx_module.HXTorchFunctionMixin": _MIXIN,
    "hxtorch.spiking.utils.calib_helper": _CALIBRATION,
    "hxtorch.spiking.utils.dynamic_range.helper": (
        "neurons have no constant current; Boundaries, Threshold and WeightScaling do without"
    ),
    "_hxtorch_core": f"{_BINDING}; hxtorch has init_hardware and release_hardware",
    "_hxtorch_spiking": _BINDING,
    "_hxtorch_perceptron": _BINDING,
    "pygrenade_vx": _BINDING,
    "pystadls_vx_v3": _BINDING,
    "calix": _CALIBRATION,
    "dlens_vx_v3": _CHIP,
}
"""Why names are missing, those below them too."""


def _missing(name: str) -> str:
    path = name.replace("hxtorch.snn", "hxtorch.spiking").split(".")
    known = (_REASONS.get(".".join(path[:k])) for k in range(len(path), 0, -1))
    reason = next((f": {each}" for each in known if each), "")
    look_alike = "evtorch's look-alike of hxtorch (evtorch.torch_api.hx)"
    return f"{name} is not supported by {look_alike}{reason}"


class StandIn(types.ModuleType):
    """A module whose missing names say that they are missing here.

    **Arguments:** ``found``: its names; ``records``: whether any other capitalised name is a class
    of which only the arguments are recorded.
    """

    def __init__(self, name: str, found: dict[str, Any], records: bool = False) -> None:
        super().__init__(name, f"Stand-in for {name}.")
        self.__dict__.update(found)
        # A package, so that Python asks `Finder` for names that are imported from it.
        self.__path__ = []
        self._records = records

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self._records and name[:1].isupper():

            def record(*values: Any, **named: Any) -> Recorded:
                return Recorded(name, *values, **named)

            return record
        raise AttributeError(_missing(f"{self.__name__}.{name}"))


class Finder(importlib.abc.MetaPathFinder):
    """Comes last in finding modules, and says which one is missing here."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> None:
        if fullname.partition(".")[0] in _ROOTS:
            # Without name=, with which Python would replace this message by its own.
            raise ModuleNotFoundError(_missing(fullname))


class _Level:
    TRACE, DEBUG, INFO = logging.DEBUG, logging.DEBUG, logging.INFO
    WARN, ERROR, FATAL = logging.WARNING, logging.ERROR, logging.CRITICAL


class _Logger:
    """Python's logging behind the logger's names."""

    LogLevel = _Level

    def __init__(self, name: str) -> None:
        self.log = log = logging.getLogger(name)

        def at(level: int) -> Any:
            return lambda *parts: log.log(level, " ".join(map(str, parts)))

        for name in ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"):
            write = at(getattr(_Level, name))
            setattr(self, name, write)
            setattr(self, name.lower(), write)

    def get_number_of_appenders(self) -> int:
        return len(self.log.handlers)


def _default_config(level: int = logging.WARNING, **_: Any) -> None:
    logging.basicConfig(level=level)


def _set_loglevel(log: _Logger, level: int) -> None:
    log.log.setLevel(level)


LOGGER: dict[str, Any] = {
    "get": _Logger,
    "get_root": lambda: _Logger(""),
    "default_config": _default_config,
    "set_loglevel": _set_loglevel,
    "reset": lambda: None,
    "LogLevel": _Level,
}
"""The names of ``pylogging`` that scripts use."""
