"""Losses on voltages that leaky integrators are read out by, as modules."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from .. import functional
from .._validate import is_transformed
from ..functional._loss_checks import check_number
from ..functional._reduction import Reduction
from ..functional._voltage_losses import check_voltage_settings, check_voltages


class VoltageCrossEntropyLoss(nn.Module):
    """Cross-entropy of read-outs of `LI`: the correct output should have the highest voltage.

    With the read-outs ``v_n`` of a sample and its correct output ``*``,

        loss = log sum_n exp(scale (v_n - v_*)) + penalty mean_n v_n^2
               + 0.5 max(0, level - mean_n v_n / spread)^2

    The logits ``scale v_n`` should differ by about 1 to begin with: with much smaller ones all
    classes stay equally likely for long, with much larger ones a wrong sample counts far more than
    the others. Read-outs by ``"max"`` and ``"value"`` are voltages, which begin of order 1. Those
    by ``"integral"`` are volt seconds: one potential of weight ``w`` has ``tau_syn w``, at a peak
    of ``w / 4`` if ``tau_mem`` is ``2 tau_syn``, so that ``scale = 1 / (4 tau_syn)`` makes the two
    comparable; with ``tau_weight`` times ``(1 + tau_mem / tau_weight) (1 + tau_syn / tau_weight)``.

    The cross-entropy itself leaves open where the mean of a sample's read-outs is, and noise in
    training lets it sink, since lower voltages vary less. Maxima (``LI(readout="max")``) cannot
    sink below ``v_leak``, and have no gradient there: a network whose read-outs have got that far
    forgets what it has learned. The last term keeps the mean at ``level`` times the ``spread``, the
    root mean square of the batch's read-outs about each sample's mean, which counts as a constant.
    It is there only for batches without a negative read-out, as those of maxima are with ``v_leak``
    at 0; so it leaves alone read-outs of either sign, which have no such floor.

    ``scale="auto"`` looks instead of assuming: it is one over the spread of the read-outs, their
    root mean square about each sample's mean, in the first batch in which they differ, and constant
    from then on, so that gradients are those of the formula. It is kept in the buffer
    ``found_scale`` (NaN before). To go on with a training, load it with the loss's ``state_dict``,
    or pass it as ``scale``: a trained network's read-outs are spread more.

    **Arguments:**

    - ``scale``: per volt or per volt second, > 0; or ``"auto"``.
    - ``penalty``: weight of the squared read-outs, unscaled, which keeps maxima from growing.
    - ``level``: where the mean of read-outs that are all >= 0 is kept, in spreads; 0 for anywhere.
    - ``label_smoothing``: share of the target, in [0, 1], that is spread over all classes.
    - ``reduction``: ``"mean"`` (0 for an empty batch) or ``"sum"`` over the samples, or ``"none"``.

    **Shapes:** read-outs ``(..., classes)`` and integer classes ``(...)`` give a scalar, with
    ``reduction="none"`` ``(...)``.

    **Raises:** ``ValueError`` for a class out of range, ``RuntimeError`` where ``"auto"`` has found
    no scale yet inside a transformation of ``torch.func``.
    """

    found_scale: Tensor | None

    def __init__(
        self,
        scale: float | Literal["auto"] = 1.0,
        *,
        penalty: float = 0.0,
        level: float = 2.0,
        label_smoothing: float = 0.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        if isinstance(scale, str) and scale != "auto":
            raise ValueError(f"scale must be a number or 'auto', got {scale!r}")
        if not isinstance(scale, str):
            check_number(scale, "scale", positive=True)
        check_voltage_settings(penalty, level, label_smoothing, reduction)
        self.scale: float | Literal["auto"] = scale
        self.penalty, self.level, self.label_smoothing = penalty, level, label_smoothing
        self.reduction: Reduction = reduction
        self.register_buffer("found_scale", torch.tensor(math.nan) if scale == "auto" else None)

    def forward(self, voltages: Tensor, target: Tensor) -> Tensor:
        scale = self.scale
        return functional.voltage_cross_entropy(
            voltages,
            target,
            scale=self._find(voltages) if isinstance(scale, str) else scale,
            penalty=self.penalty,
            level=self.level,
            label_smoothing=self.label_smoothing,
            reduction=self.reduction,
        )

    @torch.no_grad()
    def _find(self, voltages: Tensor) -> Tensor:
        """The scale that was found, now or earlier; 1 where read-outs do not differ yet."""
        check_voltages(voltages)
        assert self.found_scale is not None
        found = self.found_scale.to(voltages)
        if is_transformed():
            if bool(found.isnan()):
                raise RuntimeError(
                    "VoltageCrossEntropyLoss(scale='auto') must see a batch outside of torch.func "
                    "first; call it once, or give scale a number"
                )
            return found
        about_mean = voltages - voltages.mean(dim=-1, keepdim=True)
        scale = 1 / about_mean.square().mean().sqrt()
        scale = torch.where(scale < math.inf, scale, math.nan)
        found = torch.where(found.isnan(), scale, found)
        self.found_scale.copy_(found)
        return torch.where(found.isnan(), 1.0, found)

    def extra_repr(self) -> str:
        return (
            f"scale={self.scale!r}, penalty={self.penalty}, level={self.level}, "
            f"label_smoothing={self.label_smoothing}, reduction={self.reduction!r}"
        )
