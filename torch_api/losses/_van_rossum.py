"""The distance of van Rossum between spike trains as a module."""

from torch import Tensor, nn

from .. import functional
from ..functional._reduction import Reduction
from ..functional._van_rossum import check_van_rossum_settings


class VanRossumLoss(nn.Module):
    """Squared distance of van Rossum between output and target spike trains.

    Each train becomes a trace, ``f(t)`` or ``g(t)``, that a spike raises by 1 and that decays with
    ``tau``:

        D^2 = 1/tau int_0^inf (f(t) - g(t))^2 dt = 1/2 sum_ij s_i s_j exp(-|t_i - t_j| / tau)

    over all spikes of both trains, with ``s = 1`` for those of the output and -1 for those of the
    target. One spike too many adds 1/2, one that is shifted by much less than ``tau`` its shift in
    units of ``tau``. No spike (``inf``) adds nothing and has gradient 0, so that an output without
    spikes learns nothing (see `rescue_silent_`). Spikes have a gradient if there is a spike of the
    other train, or of their own, within some ``tau``: begin with a large one.

    Where spikes coincide the distance has a kink; the mean of both sides' derivatives is returned,
    which is 0 for equal trains. The cost grows with the square of the number of spikes.

    **Arguments:**

    - ``tau``: time constant of the traces, seconds, > 0.
    - ``reduction``: ``"mean"`` (0 for an empty batch) or ``"sum"`` over samples and neurons, or
      ``"none"``.

    **Shapes:** spike times ``(..., neurons, k)`` and target times ``(..., neurons, k2)``,
    ascending, of one dtype. Gives a scalar, with ``reduction="none"`` ``(..., neurons)``.

    **References:** van Rossum 2001, *A novel spike distance*, Neural Computation,
    doi:10.1162/089976601300014321.
    """

    def __init__(self, tau: float, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        check_van_rossum_settings(tau, reduction)
        self.tau = tau
        self.reduction: Reduction = reduction

    def forward(self, spikes: Tensor, target: Tensor) -> Tensor:
        return functional.van_rossum(spikes, target, self.tau, reduction=self.reduction)

    def extra_repr(self) -> str:
        return f"tau={self.tau}, reduction={self.reduction!r}"
