"""Learnable axonal delays."""

import torch
from torch import Tensor, nn

from ...jax_core import Events
from .. import functional
from ._delay_parameter import delay_parameter, nonnegative


class Delay(nn.Module):
    """Delay the spikes of every neuron by a learnable time: ``t + delay``.

    The delay used is ``max(delay, 0)``. Its gradient is exact for ``delay >= 0`` (at 0, the
    derivative from the right). Where an optimiser step went below 0, only a gradient that raises
    the delay passes (projected gradient), so that a delay can leave 0 again but does not drift off.

    **Arguments:**

    - ``features``: number of neurons.
    - ``init``: initial delay, seconds, a number or a tensor ``(features,)``, >= 0.
    - ``device``, ``dtype``: of the parameter.

    **Parameters:** ``delay``, seconds, shape ``(features,)``.

    **Shapes:** spike times ``(..., features, k)`` give spike times of the same shape; ``inf`` (no
    spike) stays ``inf`` and has gradient 0. Events give events, sorted anew.
    """

    def __init__(
        self,
        features: int,
        init: float | Tensor = 0.0,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.features = features
        self.delay = delay_parameter(init, features, device=device, dtype=dtype)

    def forward(self, spikes: Tensor | Events) -> Tensor | Events:
        return functional.delay(spikes, nonnegative(self.delay))

    def extra_repr(self) -> str:
        return f"features={self.features}"
