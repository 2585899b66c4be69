"""Losses on spike times as modules."""

from torch import Tensor, nn

from .. import functional
from ..functional._losses import check_mse_settings, check_ttfs_settings
from ..functional._reduction import Reduction


class TTFSCrossEntropyLoss(nn.Module):
    """Cross-entropy of first-spike times: the correct output should spike first.

    With the first-spike times ``t_n`` of a sample and its correct output ``*``,

        loss = log sum_n exp(-(t_n - t_*) / (xi tau_syn)) + alpha (exp(t_* / (beta tau_syn)) - 1)

    that is the usual cross-entropy with the logits ``-t_n / (xi tau_syn)``; the second term
    rewards early spikes. It stops to grow at ``t_* = 50 beta tau_syn``, before it would overflow.

    An output without a spike counts as one at ``silent_time``, a constant: the loss stays finite,
    and this output has gradient 0. If the correct output is silent, the others still learn to
    spike later; `rescue_silent_` makes it spike again. The second term is 0 for such a sample.

    **Arguments:**

    - ``tau_syn``: synaptic time constant of the output layer, seconds.
    - ``xi``: width of the softmax, in units of ``tau_syn``.
    - ``alpha``, ``beta``: weight and time scale (in units of ``tau_syn``) of the second term.
    - ``silent_time``: seconds; ``None`` for ``10 tau_syn``. Choose it after the latest spike.
    - ``reduction``: ``"mean"`` (0 for an empty batch) or ``"sum"`` over the samples, or ``"none"``.

    **Shapes:** spike times ``(..., classes, k)``, of which the first ones count, and integer
    classes ``(...)``, give a scalar, with ``reduction="none"`` ``(...)``.

    **References:** Göltz et al. 2021, *Fast and energy-efficient neuromorphic deep learning with
    first-spike times*, Methods, doi:10.1038/s42256-021-00388-x.
    """

    def __init__(
        self,
        tau_syn: float = 1e-2,
        *,
        xi: float = 0.2,
        alpha: float = 0.0,
        beta: float = 1.0,
        silent_time: float | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        check_ttfs_settings(tau_syn, xi, alpha, beta, silent_time, reduction)
        self.tau_syn, self.xi, self.alpha, self.beta = tau_syn, xi, alpha, beta
        self.silent_time = silent_time
        self.reduction: Reduction = reduction

    def forward(self, spikes: Tensor, target: Tensor) -> Tensor:
        return functional.ttfs_cross_entropy(
            spikes,
            target,
            tau_syn=self.tau_syn,
            xi=self.xi,
            alpha=self.alpha,
            beta=self.beta,
            silent_time=self.silent_time,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        return (
            f"tau_syn={self.tau_syn}, xi={self.xi}, alpha={self.alpha}, beta={self.beta}, "
            f"silent_time={self.silent_time}, reduction={self.reduction!r}"
        )


class SpikeTimeMSELoss(nn.Module):
    """Squared error between spike times and target times.

    The target is either a class per sample, whose output should spike first at ``t_correct`` and
    all others at ``t_wrong``, or a tensor of target times.

    No spike (``inf``), in the output or in the target, counts as ``silent_time``, a constant. So a
    silent output adds to the loss but has gradient 0 (`rescue_silent_` makes it spike again), and
    an output that should be silent is drawn to ``silent_time``.

    **Arguments:**

    - ``t_correct``, ``t_wrong``: target times for classes, seconds.
    - ``silent_time``: seconds; ``None`` for twice the latest target time of the call, which needs
      a finite one. Choose it after the latest spike: an earlier one pulls spikes forward.
    - ``time_unit``: seconds in which errors are measured before they are squared. With the
      default the loss is in s^2; ``tau_syn`` is a good choice, it makes the loss independent of
      the time scale.
    - ``reduction``: ``"mean"`` (0 for an empty batch) or ``"sum"`` over all spike times, or
      ``"none"``.

    **Shapes:** spike times ``(..., neurons, k)`` and either integer classes ``(...)`` or target
    times ``(..., neurons)`` (for first spikes) or ``(..., neurons, k)``, of the dtype of the spike
    times. Gives a scalar, with ``reduction="none"`` ``(..., neurons)`` or ``(..., neurons, k)``.
    """

    def __init__(
        self,
        t_correct: float | None = None,
        t_wrong: float | None = None,
        *,
        silent_time: float | None = None,
        time_unit: float = 1.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        check_mse_settings(t_correct, t_wrong, silent_time, time_unit, reduction)
        self.t_correct, self.t_wrong = t_correct, t_wrong
        self.silent_time, self.time_unit = silent_time, time_unit
        self.reduction: Reduction = reduction

    def forward(self, spikes: Tensor, target: Tensor) -> Tensor:
        return functional.spike_time_mse(
            spikes,
            target,
            t_correct=self.t_correct,
            t_wrong=self.t_wrong,
            silent_time=self.silent_time,
            time_unit=self.time_unit,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        return (
            f"t_correct={self.t_correct}, t_wrong={self.t_wrong}, "
            f"silent_time={self.silent_time}, time_unit={self.time_unit}, "
            f"reduction={self.reduction!r}"
        )
