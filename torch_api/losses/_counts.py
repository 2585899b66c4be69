"""Losses on numbers of spikes as modules."""

from torch import Tensor, nn

from .. import functional
from ..functional._counts import check_count_entropy_settings, check_count_mse_settings
from ..functional._reduction import Reduction


class SpikeCountCrossEntropyLoss(nn.Module):
    """Cross-entropy of spike counts: the correct output should spike most.

    Counts of spikes have no gradient, so the logits are ``scale`` times soft counts,

        c_n = sum_k clamp((t_max - t_nk) / width, 0, 1)

    and gradients are exactly those of this loss. It draws the spikes of the correct output forward
    and delays the others'; one that is delayed beyond ``t_max`` leaves without a jump. New spikes
    appear by jumps, which no gradient sees: an output that is silent has gradient 0, and
    `rescue_silent_` makes it spike.

    **Arguments:**

    - ``t_max``: end of the window in which spikes are counted, seconds, > 0.
    - ``width``: seconds over which a spike fades before ``t_max``; ``None`` for ``t_max``, with
      which all spikes have a gradient. With a shorter one those before ``t_max - width`` have none.
    - ``scale``: logit of one spike; the larger, the sooner wrong outputs are pushed to silence.
    - ``label_smoothing``: share of the target, in [0, 1], that is spread over all classes.
    - ``reduction``: ``"mean"`` (0 for an empty batch) or ``"sum"`` over the samples, or ``"none"``.

    **Shapes:** spike times ``(..., classes, k)`` and integer classes ``(...)`` give a scalar, with
    ``reduction="none"`` ``(...)``.
    """

    def __init__(
        self,
        t_max: float,
        *,
        width: float | None = None,
        scale: float = 1.0,
        label_smoothing: float = 0.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        check_count_entropy_settings(t_max, width, scale, label_smoothing, reduction)
        self.t_max, self.width, self.scale = t_max, width, scale
        self.label_smoothing = label_smoothing
        self.reduction: Reduction = reduction

    def forward(self, spikes: Tensor, target: Tensor) -> Tensor:
        return functional.spike_count_cross_entropy(
            spikes,
            target,
            self.t_max,
            width=self.width,
            scale=self.scale,
            label_smoothing=self.label_smoothing,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        return (
            f"t_max={self.t_max}, width={self.width}, scale={self.scale}, "
            f"label_smoothing={self.label_smoothing}, reduction={self.reduction!r}"
        )


class SpikeCountMSELoss(nn.Module):
    """Squared error between soft spike counts and target counts.

    Counts are those of `functional.soft_count`, as in `SpikeCountCrossEntropyLoss`. The target is
    either a class per sample, whose output should count ``correct`` spikes and all others
    ``wrong``, or a tensor of target counts.

    With the default ``width`` a spike in the middle of the window counts one half: choose counts
    that spikes at the times you want would give. A silent output has gradient 0.

    **Arguments:**

    - ``t_max``: end of the window in which spikes are counted, seconds, > 0.
    - ``correct``, ``wrong``: target counts for classes, >= 0.
    - ``width``: seconds over which a spike fades before ``t_max``; ``None`` for ``t_max``.
    - ``reduction``: ``"mean"`` (0 for an empty batch) or ``"sum"`` over samples and neurons, or
      ``"none"``.

    **Shapes:** spike times ``(..., neurons, k)`` and either integer classes ``(...)`` or target
    counts ``(..., neurons)`` of the dtype of the spike times. Gives a scalar, with
    ``reduction="none"`` ``(..., neurons)``.
    """

    def __init__(
        self,
        t_max: float,
        correct: float | None = None,
        wrong: float | None = None,
        *,
        width: float | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        check_count_mse_settings(t_max, correct, wrong, width, reduction)
        self.t_max, self.width = t_max, width
        self.correct, self.wrong = correct, wrong
        self.reduction: Reduction = reduction

    def forward(self, spikes: Tensor, target: Tensor) -> Tensor:
        return functional.spike_count_mse(
            spikes,
            target,
            self.t_max,
            correct=self.correct,
            wrong=self.wrong,
            width=self.width,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        return (
            f"t_max={self.t_max}, correct={self.correct}, wrong={self.wrong}, "
            f"width={self.width}, reduction={self.reduction!r}"
        )
