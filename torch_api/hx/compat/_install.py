"""Registers and removes the look-alike."""

import importlib.util
import sys
import types

from ....jax_core.hardware import Backend
from .._experiment import set_default_engine
from ..engines._call import EngineName
from ..engines._default_backend import init_hardware
from ._layout import stand_ins
from ._stand_ins import Finder

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
    for name, module in stand_ins().items():
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
