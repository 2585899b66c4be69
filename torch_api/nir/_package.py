"""The `nir` package, which is optional."""

import importlib
from types import ModuleType


def nir_package() -> ModuleType:
    """Import ``nir``; **raises** ``ImportError`` with the remedy where it is missing."""
    try:
        return importlib.import_module("nir")
    except ModuleNotFoundError as error:
        if error.name != "nir":
            raise
        raise ImportError(
            "reading and writing NIR needs the package nir, which is not installed; "
            "run: pip install nir (or, in a clone of evtorch: pip install '.[nir]')"
        ) from error
