"""Everything the bridge uses of torch that is not public, each with what happens without it."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import forward_ad

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


def saving_hooks_active() -> bool:
    """Whether saved tensors go through hooks (checkpointing, offloading). Without it residuals
    bypass them."""
    return _top_hooks is not None and _top_hooks(False) is not None


def forward_mode_active() -> bool:
    """Whether a `torch.autograd.forward_ad.dual_level` is open. Without it forward-mode AD through
    a bridged function raises in torch."""
    return getattr(forward_ad, "_current_level", -1) >= 0
