"""The bridges between PyTorch and JAX on PyPI, each used as its own documentation says.

A peer that cannot be imported or does not run on the installed versions is reported with the
reason, not left out.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
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


IN_TORCH: dict[str, Callable[[Callable[..., Any]], TorchFunction]] = {
    "evtorch": evtorch,
    "jax2torch": jax2torch,
    "torch_jax_interop": torch_jax_interop,
    "torchax": torchax,
}


class InJax(NamedTuple):
    """A torch module in JAX: ``fn(params, *args)``, and where a bridge has them ``(params, *args)
    -> (output, updated buffers)`` and ``(params, key, *args)`` for random numbers from a key."""

    fn: Callable[..., Any]
    params: Any
    with_buffers: Callable[..., Any] | None = None
    with_key: Callable[..., Any] | None = None


def _arrays(tensors: Any) -> dict[str, jax.Array]:
    return {name: jnp.array(t.detach().numpy()) for name, t in tensors}


def evtorch_in_jax(module: torch.nn.Module, *_: torch.Tensor, lowering: Any = "auto") -> InJax:
    """This library."""
    from evtorch import bridge

    fn, params = bridge.as_jax_function(module, lowering=lowering)
    return InJax(
        fn,
        params,
        lambda p, *args: fn(p, *args, buffers=fn.buffers),
        lambda p, key, *args: fn(p, *args, rng=key),
    )


def wrap_torch2jax(module: torch.nn.Module, *example: torch.Tensor) -> InJax:
    """rdyro/torch2jax: an XLA handler, compiled by the machine's C++ compiler at first use."""
    wrap = importlib.import_module("wrap_torch2jax").torch2jax

    def call(params: Any, *args: Any) -> Any:
        return torch.func.functional_call(module, params, args)

    tensors = {name: p.detach() for name, p in module.named_parameters()}
    return InJax(wrap(call, tensors, *example), _arrays(module.named_parameters()))


def torch2jax(module: torch.nn.Module, *_: torch.Tensor) -> InJax:
    """samuela/torch2jax: torch's functions, written anew in JAX."""
    translated = importlib.import_module("torch2jax").t2j(module)
    buffers = _arrays(module.named_buffers())
    return InJax(
        lambda p, *args: translated(*args, state_dict={**p, **buffers}),
        _arrays(module.named_parameters()),
        lambda p, *args: translated(*args, state_dict={**p, **buffers}, return_state_dict=True),
        lambda p, key, *args: translated(*args, state_dict={**p, **buffers}, rng=key),
    )


def torch_jax_interop_in_jax(module: torch.nn.Module, *example: torch.Tensor) -> InJax:
    """lebrice/torch_jax_interop: jax.pure_callback."""
    convert = importlib.import_module("torch_jax_interop").torch_module_to_jax
    with torch.no_grad():
        output = module(*example)
    return InJax(*convert(module, example_output=output))


def torchax_in_jax(module: torch.nn.Module, *_: torch.Tensor) -> InJax:
    """google/torchax: torch's operators, translated to JAX."""
    params, fn = importlib.import_module("torchax").extract_jax(module)
    return InJax(lambda p, *args: fn(p, args), params)


IN_JAX: dict[str, Callable[..., InJax]] = {
    "evtorch": evtorch_in_jax,
    "evtorch, by callback": partial(evtorch_in_jax, lowering="callback"),
    "wrap_torch2jax": wrap_torch2jax,
    "torch2jax": torch2jax,
    "torch_jax_interop": torch_jax_interop_in_jax,
    "torchax": torchax_in_jax,
}


def _working(peers: dict[str, Callable[..., Any]], probe: Callable[..., Any]) -> tuple[dict, dict]:
    working: dict[str, Any] = {}
    failing: dict[str, str] = {}
    for name, make in peers.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                working[name] = probe(make)
        except Exception as error:
            failing[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
    return working, failing


def available_in_torch(
    jax_fn: Callable[..., Any], *inputs: Any
) -> tuple[dict[str, TorchFunction], dict[str, str]]:
    """The peers that run forward and backward on these inputs, and why the others do not."""

    def probe(make: Callable[..., Any]) -> TorchFunction:
        function = make(jax_fn)
        output = function(*inputs)
        output.backward(torch.ones(output.shape))
        for tensor in inputs:
            tensor.grad = None
        return function

    return _working(IN_TORCH, probe)


def available_in_jax(
    module: torch.nn.Module, x: torch.Tensor
) -> tuple[dict[str, InJax], dict[str, str]]:
    """The same for a torch module in jitted JAX."""

    def probe(make: Callable[..., Any]) -> InJax:
        found = make(module, x)
        jax.jit(jax.grad(lambda p: found.fn(p, jnp.array(x.numpy())).sum()))(found.params)
        return found

    return _working(IN_JAX, probe)
