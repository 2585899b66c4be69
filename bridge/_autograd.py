"""torch's autograd around a `FlatFunction`."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import Function

from ._arrays import as_tensor, check_tensor
from ._custom_op import call, operation
from ._dtypes import TORCH_DTYPE
from ._flat import Extras, FlatFunction, Tensors
from ._guards import NOT_EXPORTED, BridgeError, check_call
from ._torch_internals import (
    LegacyBatch,
    forward_mode_active,
    functorch_active,
    graph_is_kept,
    legacy_batched,
    saving_hooks_active,
    tracing,
)
from ._trace import Mask, Plan


class Call:
    """One call's static part, handed through ``Function.apply``; ``plan`` is filled in there."""

    __slots__ = ("extras", "function", "mask", "plan")
    plan: Plan

    def __init__(self, function: FlatFunction, extras: Extras, mask: Mask) -> None:
        self.function = function
        self.extras = extras
        self.mask = mask


def _differentiable_gradients(
    call: Call, needed: Mask, tensors: Tensors, gradients: Any
) -> list[torch.Tensor | None]:
    """Gradients as a function of inputs and cotangents that torch can differentiate again."""
    given = tuple(g is not None for g in gradients)
    function = call.function.vjp(call.plan.out_tree, needed, given)
    _, found = run(function, [*tensors, *(g for g in gradients if g is not None)], call.extras)
    rest = iter(found)
    return [next(rest) if n else None for n in needed]


class _Eager(Function):
    """Plain autograd. ``forward`` takes ``ctx``: `setup_context` costs 20 µs more per call."""

    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        config, plan, outputs, kept = call.function.forward(call.mask, tensors, call.extras)
        call.plan = plan
        if kept and saving_hooks_active():
            # Checkpointing and offloading decide about saved tensors, so residuals must be some.
            as_tensors = [
                as_tensor(k, config.on_host) if k.dtype in TORCH_DTYPE else None for k in kept
            ]
            ctx.save_for_backward(*tensors, *as_tensors)
            kept = tuple(k for k in kept if k.dtype not in TORCH_DTYPE)
            ctx.hooked = True
        else:
            ctx.save_for_backward(*tensors)
            ctx.hooked = False
        ctx.call, ctx.config, ctx.kept = call, config, kept
        ctx.set_materialize_grads(False)
        if False in plan.differentiable:
            ctx.mark_non_differentiable(
                *(o for o, d in zip(outputs, plan.differentiable, strict=True) if not d)
            )
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        # Not only before the forward pass: a graph survives a fork.
        check_call(ctx.call.function.name)
        saved = ctx.saved_tensors
        call, config, kept = ctx.call, ctx.config, ctx.kept
        needed = ctx.needs_input_grad[1:]
        count = len(needed)
        tensors = saved[:count]
        if torch.is_grad_enabled() or any(g is not None and legacy_batched(g) for g in gradients):
            found = config.call(_differentiable_gradients, call, needed, tensors, gradients)
            return None, *found
        if ctx.hooked:
            others = iter(kept)
            kept = [
                next(others) if s is None else call.function.operand(s, config)
                for s in saved[count:]
            ]
        found = call.function.backward(
            config, call.plan, needed, tensors, call.extras, kept, gradients
        )
        if not graph_is_kept():
            ctx.kept = None
        return None, *found


class _Transformable(Function):
    """For torch.func, vmap and forward-mode AD: every rule is itself a bridged JAX function."""

    @staticmethod
    def forward(call: Call, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        recorded = tracing() or any(type(t) not in _PLAIN for t in tensors)
        evaluate = _run_operator if recorded else FlatFunction.evaluate
        call.plan, outputs = evaluate(call.function, tensors, call.extras)
        return outputs

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.call, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)
        ctx.set_materialize_grads(False)
        flags = ctx.call.plan.differentiable
        if not all(flags):
            ctx.mark_non_differentiable(*(o for o, d in zip(output, flags, strict=True) if not d))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        needed = ctx.needs_input_grad[1:]
        found = _differentiable_gradients(ctx.call, needed, ctx.saved_tensors, gradients)
        return None, *found

    @staticmethod
    def jvp(ctx: Any, *all_tangents: Any) -> tuple[torch.Tensor | None, ...]:
        tangents = all_tangents[1:]
        given = tuple(t is not None for t in tangents)
        operands = [*ctx.saved_tensors, *(t for t in tangents if t is not None)]
        _, found = run(ctx.call.function.jvp(given), operands, ctx.call.extras)
        rest = iter(found)
        return tuple(next(rest) if d else None for d in ctx.call.plan.differentiable)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *args: Any) -> Any:
        call, *tensors = args
        function = call.function.vmap(tuple(in_dims[1:]))
        call.plan, outputs = run(function, tensors, call.extras)
        return outputs, (0,) * len(outputs)


_PLAIN = (torch.Tensor, torch.nn.Parameter)


def _run_operator(
    function: FlatFunction, tensors: Tensors, extras: Extras
) -> tuple[Plan, tuple[torch.Tensor, ...]]:
    if torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export():
        raise BridgeError(f"{function.name} {NOT_EXPORTED}")
    if extras:
        raise TypeError(
            f"{function.name} got a JAX array while torch traces the call (torch.compile, make_fx, "
            "linearize, fake tensors), which would freeze its value; pass a tensor (for PRNG keys: "
            "the tensor of jax.random.key_data, and jax.random.wrap_key_data inside the function)"
        )
    for name, tensor in zip(function.names, tensors, strict=True):
        check_tensor(name, tensor)
    own = operation(function, function.configure(tensors, ()))
    return own.describe(tensors), tuple(call(list(tensors), own.number))


def run(
    function: FlatFunction, tensors: Tensors, extras: Extras
) -> tuple[Plan, tuple[torch.Tensor, ...]]:
    """``function`` on tensors, differentiable in every way that torch asks for here."""
    for tensor in tensors:
        if type(tensor) not in _PLAIN:
            return _run_operator(function, tensors, extras)
        if legacy_batched(tensor):
            batch = LegacyBatch()
            plain, dims = batch.unwrap(tensors)
            plan, outputs = run(function.vmap(tuple(dims)), plain, extras)
            return plan, tuple(batch.wrap(output) for output in outputs)
    if functorch_active() or forward_mode_active():
        call = Call(function, extras, ())
        outputs = _Transformable.apply(call, *tensors)
        return call.plan, outputs
    if tracing():
        return _run_operator(function, tensors, extras)
    if torch.is_grad_enabled():
        mask = tuple([t.requires_grad for t in tensors])
        if True in mask:
            call = Call(function, extras, mask)
            outputs = _Eager.apply(call, *tensors)
            return call.plan, outputs
    return function.evaluate(tensors, extras)
