"""Values to spikes."""

from typing import Any

from torch import Tensor

from . import functional
from ._checkpoint import RecordsNumbers
from .functional._spikes import check_latencies


class LatencyEncoder(RecordsNumbers):
    """One spike per value, the later the larger the value is.

    **Arguments:**

    - ``t_early``, ``t_late``: spike times of the values 0 and 1, seconds,
      ``0 <= t_early <= t_late``.
    - ``bias``: time of one more spike, seconds, which becomes the last input of every sample;
      ``None`` for none.

    **Shapes:** values in [0, 1] ``(..., n)`` give spike times ``(..., n, 1)``, with ``bias``
    ``(..., n + 1, 1)``. Differentiable.

    **Raises:** ``ValueError`` at the call for a value outside [0, 1] or NaN (see `validation`).
    """

    def __init__(self, t_early: float, t_late: float, bias: float | None = None) -> None:
        super().__init__()
        check_latencies(t_early, t_late, bias)
        self.t_early, self.t_late, self.bias = t_early, t_late, bias

    def forward(self, values: Tensor) -> Tensor:
        return functional.latency_encode(values, self.t_early, self.t_late, self.bias)

    def numbers(self) -> dict[str, Any]:
        return {"t_early": self.t_early, "t_late": self.t_late, "bias": self.bias}

    def extra_repr(self) -> str:
        return f"t_early={self.t_early}, t_late={self.t_late}, bias={self.bias}"
