"""Noise on spikes, in training only.

Like dropout of values, it belongs to how a network is trained and not to what it computes, so
checkpoints hold nothing of it.
"""

import torch
from torch import Tensor, nn

from ...jax_core import Events
from ...jax_core._validate import check_duration
from .. import functional
from .._validate import check_spikes
from ..functional._augment import BelowZero, check_insertion, check_jitter, check_probability
from ..functional._random import check_generator
from ..layers._overflow import OnOverflow
from ._encoders import listed


class _SpikeNoise(nn.Module):
    """Changes spikes while it trains, and returns them as they are otherwise."""

    def __init__(self, generator: torch.Generator | None) -> None:
        super().__init__()
        check_generator(generator)
        self.generator = generator

    def forward(self, spikes: Tensor | Events) -> Tensor | Events:
        if self.training:
            return self._changed(spikes)
        check_spikes(spikes)
        return spikes

    def _changed(self, spikes: Tensor | Events) -> Tensor | Events:
        raise NotImplementedError


class SpikeDropout(_SpikeNoise):
    """Each spike vanishes with probability ``p``; in evaluation all stay.

    Spikes that stay are not amplified, other than values by `torch.nn.Dropout`.

    **Arguments:** ``p``: in [0, 1]; ``generator``: of the random numbers, on the device of the
    spikes, ``None`` for torch's own.

    **Shapes:** spike times ``(..., n, k)`` or ``Events`` give the same, sorted anew.
    Differentiable.
    """

    def __init__(self, p: float = 0.5, *, generator: torch.Generator | None = None) -> None:
        super().__init__(generator)
        check_probability(p)
        self.p = p

    def _changed(self, spikes: Tensor | Events) -> Tensor | Events:
        return functional.spike_dropout(spikes, self.p, generator=self.generator)

    def extra_repr(self) -> str:
        return listed({"p": self.p})


class SpikeJitter(_SpikeNoise):
    """Each spike moves by a normal random time of its own; in evaluation none does.

    **Arguments:**

    - ``std``: standard deviation, seconds, >= 0.
    - ``below_zero``: what becomes of a spike that would come before 0: ``"clamp"`` puts it at 0,
      where it has gradient 0; ``"reflect"`` at the time's absolute value, with gradient -1.
    - ``generator``: of the random numbers, on the device of the spikes, ``None`` for torch's own.

    **Shapes:** spike times ``(..., n, k)`` or ``Events`` give the same, sorted anew; a missing
    spike stays missing. Differentiable.
    """

    def __init__(
        self,
        std: float,
        *,
        below_zero: BelowZero = "clamp",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(generator)
        check_jitter(std, below_zero)
        self.std = std
        self.below_zero: BelowZero = below_zero

    def _changed(self, spikes: Tensor | Events) -> Tensor | Events:
        return functional.spike_jitter(
            spikes, self.std, below_zero=self.below_zero, generator=self.generator
        )

    def extra_repr(self) -> str:
        return listed({"std": self.std, "below_zero": self.below_zero})


class SpikeShift(_SpikeNoise):
    """All spikes of a sample move by one random time; in evaluation none does.

    The time is uniform in ``[-max_shift, max_shift]``. Distances between spikes stay: a shift that
    would bring the first spike of a sample before 0 brings it to 0 instead.

    **Arguments:** ``max_shift``: seconds, >= 0; ``generator``: of the random numbers, on the device
    of the spikes, ``None`` for torch's own.

    **Shapes:** spike times ``(..., n, k)``, ``(n, k)`` of each sample, or ``Events`` give the same.
    Differentiable; in a sample whose shift is limited, times are those since its first spike.
    """

    def __init__(self, max_shift: float, *, generator: torch.Generator | None = None) -> None:
        super().__init__(generator)
        check_duration(max_shift, "max_shift", infinite=False)
        self.max_shift = max_shift

    def _changed(self, spikes: Tensor | Events) -> Tensor | Events:
        return functional.spike_shift(spikes, self.max_shift, generator=self.generator)

    def extra_repr(self) -> str:
        return listed({"max_shift": self.max_shift})


class SpikeInsertion(_SpikeNoise):
    """Further spikes come at random times, Poisson of ``rate`` in each channel; not in evaluation.

    **Arguments:**

    - ``rate``: Hz per channel, >= 0; 0 leaves the spikes as they are.
    - ``t_max``: spikes are added within ``[0, t_max]``, seconds, > 0.
    - ``neurons``: number of channels; needed for ``Events``, which do not say.
    - ``max_inserted``: room for this many further spikes, of each channel in a tensor, of each
      sample in ``Events``. ``None`` takes enough for all but one in 1e9 draws, rounded up to one of
      few sizes, as each size that a layer sees is compiled anew.
    - ``on_overflow``: what to do about spikes beyond a ``max_inserted`` that is given: ``"error"``,
      ``"warn"``, or ``"truncate"``, which keeps the first ones.
    - ``generator``: of the random numbers, on the device of the spikes, ``None`` for torch's own.

    **Shapes:** spike times ``(..., n, k)`` give ``(..., n, k + room)``, and ``Events`` ``(..., M)``
    give ``(..., M + room)``, sorted. In evaluation the shape stays. Differentiable in the times
    given.

    **Raises:** `SpikeOverflowError` for more than ``max_inserted`` further spikes.
    """

    def __init__(
        self,
        rate: float,
        t_max: float,
        neurons: int | None = None,
        *,
        max_inserted: int | None = None,
        on_overflow: OnOverflow = "error",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(generator)
        check_insertion(rate, t_max, neurons, max_inserted, on_overflow)
        self.rate, self.t_max, self.neurons = rate, t_max, neurons
        self.max_inserted = max_inserted
        self.on_overflow: OnOverflow = on_overflow

    def _changed(self, spikes: Tensor | Events) -> Tensor | Events:
        return functional.spike_insertion(
            spikes,
            self.rate,
            self.t_max,
            self.neurons,
            max_inserted=self.max_inserted,
            on_overflow=self.on_overflow,
            generator=self.generator,
        )

    def extra_repr(self) -> str:
        return listed(
            {
                "rate": self.rate,
                "t_max": self.t_max,
                "neurons": self.neurons,
                "max_inserted": self.max_inserted,
                "on_overflow": self.on_overflow,
            }
        )
