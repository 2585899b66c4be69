"""Lets unmodified hxtorch scripts run: registers this look-alike under hxtorch's module names.

Nothing happens before `install` is called.
"""

from ._install import install as install
from ._install import uninstall as uninstall

__all__ = ["install", "uninstall"]


def __dir__() -> list[str]:
    return __all__
