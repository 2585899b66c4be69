"""Everything the bridge uses of torch that is not public, each with what happens without it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad
from torch.fx.traceback import preserve_node_meta, set_stack_trace
from torch.utils import dlpack

_C: Any = torch._C
_autograd: Any = getattr(_C, "_autograd", None)


def _unknown(*_: Any) -> bool:
    return True


functorch_active = getattr(_C, "_are_functorch_transforms_active", _unknown)
"""Whether a torch.func transformation is running. Without it every call takes the route that
works under all of them, about twice as slow."""

graph_is_kept = getattr(_autograd, "_get_current_graph_task_keep_graph", _unknown)
"""Whether the running backward pass was started with ``retain_graph``. Without it residuals live
as long as the graph."""

_top_hooks = getattr(_autograd, "_top_saved_tensors_default_hooks", None)


def _copy_each(targets: Sequence[torch.Tensor], sources: Sequence[torch.Tensor]) -> None:
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source)


foreach_copy_: Any = getattr(torch, "_foreach_copy_", _copy_each)
"""Copies a list of tensors into another. Without it one by one."""

from_capsule: Any = getattr(_C, "_from_dlpack", dlpack.from_dlpack)
"""The tensor in a DLPack capsule."""

foreach_add_: Any = getattr(torch, "_foreach_add_", None)
"""Adds a list of tensors to another in place, as torch's own optimisers do."""

_functorch: Any = getattr(_C, "_functorch", None)
legacy_batched = getattr(_functorch, "is_legacy_batchedtensor", lambda _: False)
"""Whether a tensor belongs to the old vmap behind ``is_grads_batched`` and
`torch.autograd.functional`. Without it those raise in torch."""


class LegacyBatch:
    """The innermost level of that old vmap, which knows no rules for operators on lists."""

    def __init__(self) -> None:
        self.level = _C._vmapmode_increment_nesting() - 1
        _C._vmapmode_decrement_nesting()

    def unwrap(
        self, tensors: Sequence[torch.Tensor]
    ) -> tuple[list[torch.Tensor], list[int | None]]:
        """The tensors with the hidden axis in front, and where each has it."""
        flags = [legacy_batched(tensor) for tensor in tensors]
        plain = [
            _C._VariableFunctions._remove_batch_dim(t, self.level, 1, 0) if batched else t
            for t, batched in zip(tensors, flags, strict=True)
        ]
        return plain, [0 if batched else None for batched in flags]

    def wrap(self, tensor: torch.Tensor) -> torch.Tensor:
        """Hide the first axis again."""
        return _C._VariableFunctions._add_batch_dim(tensor, 0, self.level)


def saving_hooks_active() -> bool:
    """Whether saved tensors go through hooks (checkpointing, offloading). Without it residuals
    bypass them."""
    return _top_hooks is not None and _top_hooks(False) is not None


_depth_of_modes = getattr(_C, "_len_torch_dispatch_stack", lambda: 0)
_mode = getattr(_C, "_get_dispatch_mode", lambda _: None)
_recording = getattr(getattr(_C, "_TorchDispatchModeKey", None), "PROXY", None)
_script_trace = getattr(_C, "_get_tracing_state", lambda: None)


def tracing() -> bool:
    """Whether torch records operators on plain tensors here (make_fx, `torch.func.linearize`,
    `torch.jit.trace`). Without it what is recorded holds a bridged result as a constant."""
    if _depth_of_modes() and _mode(_recording) is not None:
        return True
    return _script_trace() is not None


_faking = getattr(getattr(_C, "_TorchDispatchModeKey", None), "FAKE", None)


def tensors_lack_values() -> str:
    """What surrounds this call in which tensors stand for others; empty if nothing does. Without
    the functions above what goes wrong then is an error of torch's."""
    if functorch_active is not _unknown and functorch_active():
        return "torch.func (grad, vmap, ...)"
    if tracing():
        return "torch.jit.trace or make_fx"
    return "FakeTensorMode" if _depth_of_modes() and _mode(_faking) is not None else ""


def forward_mode_active() -> bool:
    """Whether a `torch.autograd.forward_ad.dual_level` is open. Without it forward-mode AD through
    a bridged function raises in torch."""
    return getattr(forward_ad, "_current_level", -1) >= 0


Check = Callable[[np.ndarray], None]
"""Looks at the values of a tensor, and raises or warns."""


class _Captured(threading.local):
    checks: list[tuple[torch.Tensor, Check]] | None = None


_captured = _Captured()


@contextmanager
def marked_as_captured() -> Iterator[list[tuple[torch.Tensor, Check]]]:
    """Inside, `is_captured` holds; the list gets what is to be checked when values are there."""
    previous, checks = _captured.checks, []
    _captured.checks = checks
    try:
        yield checks
    finally:
        _captured.checks = previous


def is_captured() -> bool:
    """Whether this thread runs torch code to make a JAX program of it."""
    return _captured.checks is not None


def check_later(tensor: torch.Tensor, check: Check) -> None:
    """Have ``check`` look at this tensor whenever the captured program runs."""
    assert _captured.checks is not None
    _captured.checks.append((tensor, check))


def values_are_unknown() -> bool:
    """Whether tensors have no values here, because torch's compiler or the bridge's lowering
    records what is done with them."""
    return torch.compiler.is_compiling() or _captured.checks is not None


@contextmanager
def custom_functions(replacement: Callable[..., Any]) -> Iterator[None]:
    """Inside, and in this thread only, ``replacement(kind, *args)`` runs in place of
    ``kind.apply(*args)`` for each `torch.autograd.Function`.

    What ``apply`` calls is replaced, as code may hold an ``apply`` from before.
    """
    module: Any = torch.autograd.function
    kind, level = module.Function, module._SingleLevelFunction
    transformed, below = module.custom_function_call, _C._FunctionBase.__dict__["apply"]
    thread = threading.get_ident()

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        # torch's own transformations make kinds below `Function`.
        if threading.get_ident() == thread and issubclass(cls, kind):
            return replacement(cls, *args, **kwargs)
        return below.__get__(None, cls)(*args, **kwargs)

    def call(cls: Any, *args: Any, **kwargs: Any) -> Any:
        here = threading.get_ident() == thread
        return (replacement if here else transformed)(cls, *args, **kwargs)

    level.apply, module.custom_function_call = classmethod(apply), call
    try:
        yield
    finally:
        del level.apply
        module.custom_function_call = transformed


def record(
    fn: Callable[..., Any], examples: Sequence[torch.Tensor], rules: dict[Any, Any]
) -> torch.fx.GraphModule:
    """The graph of ``fn(*tensors) -> [tensor]``, without mutations, for tensors like these fake
    ones. ``rules`` are functions that compute operators by simpler ones."""
    # Loading these takes a second.
    from torch._subclasses.functional_tensor import FunctionalTensorMode, dispatch_functionalize
    from torch.fx.experimental.proxy_tensor import make_fx

    trace = make_fx(
        dispatch_functionalize(fn, FunctionalTensorMode()),
        decomposition_table=rules,
        tracing_mode="fake",
        _allow_non_fake_inputs=True,
    )
    # With them nodes have the lines that `note_line` sets.
    with preserve_node_meta(), quiet_about_fakes():
        return trace(*examples)


@contextmanager
def quiet_about_fakes() -> Iterator[None]:
    """Inside, and in this thread only, torch does not log a page of traceback for what fails on
    fake tensors, which is raised anyway."""
    thread = threading.get_ident()

    def keep(record: logging.LogRecord) -> bool:
        return record.thread != thread

    logger = logging.getLogger("torch._subclasses.fake_tensor")
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


def note_line(line: str) -> None:
    """What nodes that are recorded from now on have as their ``stack_trace``."""
    set_stack_trace([line])


def simpler_operators() -> dict[Any, Any]:
    """For operators that are not among torch's core ones, how these compute them."""
    from torch._decomp import core_aten_decompositions, get_decompositions

    return {**core_aten_decompositions(), **get_decompositions(_BEYOND_CORE)}


_aten: Any = torch.ops.aten
# What torch counts among its core operators, or leaves out, and yet has simpler forms of.
_BEYOND_CORE = [
    _aten.dist,
    _aten.grid_sampler_2d,
    _aten.ldexp,
    _aten.native_group_norm_backward,
    _aten.native_layer_norm_backward,
    _aten.upsample_bicubic2d,
    _aten.upsample_bilinear2d,
    _aten.upsample_nearest2d,
    _aten.upsample_trilinear3d,
]
