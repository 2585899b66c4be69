"""The bridges between PyTorch and JAX on PyPI, each used as its own documentation says.

A peer that cannot be imported or does not run on the installed versions is reported with the
reason, not left out.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import Any

import jax
import torch

TorchFunction = Callable[[Any, Any], Any]


def evtorch(jax_fn: Callable[..., Any]) -> TorchFunction:
    """This library."""
    from evtorch import bridge

    return bridge.as_torch_function(jax_fn)


def jax2torch(jax_fn: Callable[..., Any]) -> TorchFunction:
    """lucidrains/jax2torch."""
    return importlib.import_module("jax2torch").jax2torch(jax.jit(jax_fn))


def torch_jax_interop(jax_fn: Callable[..., Any]) -> TorchFunction:
    """lebrice/torch_jax_interop: a module that holds the JAX parameters; here the second input."""
    from torch_jax_interop import WrappedJaxFunction, torch_to_jax

    modules: dict[int, Any] = {}

    def call(x: Any, w: Any) -> Any:
        module = modules.get(id(w))
        if module is None:
            module = WrappedJaxFunction(
                jax.jit(lambda p, x: jax_fn(x, p)), torch_to_jax(w.detach())
            )
            module.params = type(module.params)([w])
            modules[id(w)] = module
        return module(x)

    return call


def torchax(jax_fn: Callable[..., Any]) -> TorchFunction:
    """google/torchax: differentiable call of a JAX function on torch tensors."""
    return importlib.import_module("torchax.interop").j2t_autograd(jax_fn)


PEERS: dict[str, Callable[[Callable[..., Any]], TorchFunction]] = {
    "evtorch": evtorch,
    "jax2torch": jax2torch,
    "torch_jax_interop": torch_jax_interop,
    "torchax": torchax,
}


def available(jax_fn: Callable[..., Any], *inputs: Any) -> tuple[dict[str, TorchFunction], dict]:
    """The peers that run forward and backward on these inputs, and why the others do not."""
    working: dict[str, TorchFunction] = {}
    failing: dict[str, str] = {}
    for name, make in PEERS.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                function = make(jax_fn)
                output = function(*inputs)
                output.backward(torch.ones(output.shape))
            working[name] = function
        except Exception as error:
            failing[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
        for tensor in inputs:
            tensor.grad = None
    return working, failing
