"""Whether a module computes just what its class does, so that its forward need not be called."""

from torch import nn


def has_own_forward(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a subclass, or the module itself, has another forward than ``kind``."""
    return getattr(module.forward, "__func__", None) is not kind.forward


def has_hooks(module: nn.Module) -> bool:
    """Whether calling the module calls something else, too."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )
