"""Exact event-based spiking layers for PyTorch, simulated and differentiated in JAX.

- ``evtorch.torch_api``: layers, losses, encoders and data sets as torch modules; start here.
- ``evtorch.jax_core``: the same layers as JAX functions, without torch.
- ``evtorch.bridge``: JAX functions in torch programs, and the other way round.

They are imported when they are first used: ``import evtorch`` itself loads neither torch nor JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import bridge as bridge
    from . import jax_core as jax_core
    from . import torch_api as torch_api

    __version__: str

__all__ = ["__version__", "bridge", "jax_core", "torch_api"]

if not TYPE_CHECKING:
    # Type checkers would take any name for one of these.
    def __getattr__(name: str) -> Any:
        if name == "__version__":
            # Reading metadata takes longer than all else here.
            from importlib.metadata import PackageNotFoundError, version

            try:
                return version("evtorch")
            except PackageNotFoundError:
                raise AttributeError(
                    "evtorch has no __version__ since it is not installed; pip install it, with -e "
                    "from a checkout"
                ) from None
        if name in __all__:
            return importlib.import_module(f".{name}", __name__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
