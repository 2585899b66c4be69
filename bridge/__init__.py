"""PyTorch and JAX in one program: arrays, functions with gradients, modules and optimisers."""

from ._exchange import export_gradients as export_gradients
from ._exchange import export_parameters as export_parameters
from ._exchange import load_gradients as load_gradients
from ._exchange import load_parameters as load_parameters
from ._export_network import export_network as export_network
from ._function import TorchFunction as TorchFunction
from ._function import as_torch_function as as_torch_function
from ._guards import BridgeError as BridgeError
from ._jax_function import JaxFunction as JaxFunction
from ._jax_function import as_jax_function as as_jax_function
from ._module import JaxModule as JaxModule
from ._optimizer import OptaxOptimizer as OptaxOptimizer
from ._pytree import to_jax as to_jax
from ._pytree import to_torch as to_torch
from .step._step import CompiledStep as CompiledStep
from .step._step import compile_step as compile_step

__all__ = [
    "BridgeError",
    "CompiledStep",
    "JaxFunction",
    "JaxModule",
    "OptaxOptimizer",
    "TorchFunction",
    "as_jax_function",
    "as_torch_function",
    "compile_step",
    "export_gradients",
    "export_network",
    "export_parameters",
    "load_gradients",
    "load_parameters",
    "to_jax",
    "to_torch",
]


def __dir__() -> list[str]:
    return __all__
