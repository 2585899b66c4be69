"""Values and signals to spikes: latencies, populations, changes; and spikes repeated."""

from typing import Any

from torch import Tensor

from ...jax_core import Events
from .. import functional
from ..functional._delta import check_delta
from ..functional._latency import check_latencies, check_population, check_threshold
from ..functional._spikes import check_repeat
from ..layers._checkpoint import RecordsNumbers
from ..layers._overflow import OnOverflow


class LatencyEncoder(RecordsNumbers):
    """One spike per value, the later the larger the value is, or the earlier.

    **Arguments:**

    - ``t_early``, ``t_late``: earliest and latest spike time, seconds, ``0 <= t_early <= t_late``.
      The value 0 spikes at ``t_early`` and 1 at ``t_late``; with ``large_early`` it is the other
      way round.
    - ``bias``: time of one more spike, seconds, which becomes the last input of every sample;
      ``None`` for none.
    - ``threshold``: values up to this one stay silent, in [0, 1); ``None`` lets all spike. With
      ``large_early`` these are the values that would spike last.
    - ``complement``: append a channel for ``1 - value`` of each value, in their order, before the
      bias. ``threshold`` holds for what a channel stands for: ``1 - value`` here.
    - ``large_early``: whether large values spike early, as one mostly wants of bright pixels.

    **Shapes:** values in [0, 1] ``(..., n)`` give spike times ``(..., n, 1)``, with ``complement``
    ``(..., 2 n, 1)``, with ``bias`` one more input. Differentiable; a silent one has gradient 0.

    **Raises:** ``ValueError`` at the call for a value outside [0, 1] or NaN (see `validation`).
    """

    def __init__(
        self,
        t_early: float,
        t_late: float,
        bias: float | None = None,
        *,
        threshold: float | None = None,
        complement: bool = False,
        large_early: bool = False,
    ) -> None:
        super().__init__()
        check_latencies(t_early, t_late, bias)
        check_threshold(threshold)
        self.t_early, self.t_late, self.bias = t_early, t_late, bias
        self.threshold, self.complement, self.large_early = threshold, complement, large_early

    def forward(self, values: Tensor) -> Tensor:
        return functional.latency_encode(values, **self.numbers())

    def numbers(self) -> dict[str, Any]:
        return {
            "t_early": self.t_early,
            "t_late": self.t_late,
            "bias": self.bias,
            "threshold": self.threshold,
            "complement": self.complement,
            "large_early": self.large_early,
        }

    def extra_repr(self) -> str:
        return listed(self.numbers())


class PopulationEncoder(RecordsNumbers):
    """Each value by several neurons with Gaussian receptive fields; the nearest one speaks first.

    Neuron ``i`` responds by ``r = exp(-(value - c_i)^2 / (2 sigma^2))`` and spikes at ``t_early +
    (1 - r) * (t_late - t_early)``, or not at all if ``r <= threshold``. The centres ``c_i`` divide
    ``[low, high]`` evenly, the first and the last one at its ends; a single one is in the middle.

    **Arguments:**

    - ``neurons``: number of neurons per value.
    - ``t_early``, ``t_late``: spike times of the responses 1 and 0, seconds,
      ``0 <= t_early <= t_late``.
    - ``low``, ``high``: range of the values, ``low < high``.
    - ``sigma``: width of the fields, in the unit of the values; ``None`` for the distance of
      neighbouring centres, for a single neuron ``(high - low) / 2``.
    - ``threshold``: responses up to this one stay silent, in [0, 1).

    **Shapes:** values ``(..., n)`` give spike times ``(..., n * neurons, 1)``: all neurons of the
    first value, then those of the second, and so on. Differentiable; a silent one has gradient 0.

    **Raises:** ``ValueError`` at the call for a value outside ``[low, high]`` or NaN (see
    `validation`).

    **References:** as in `functional.population_encode`.
    """

    def __init__(
        self,
        neurons: int,
        t_early: float,
        t_late: float,
        low: float = 0.0,
        high: float = 1.0,
        sigma: float | None = None,
        threshold: float = 0.1,
    ) -> None:
        super().__init__()
        check_population(neurons, t_early, t_late, low, high, sigma, threshold)
        self.neurons, self.t_early, self.t_late = neurons, t_early, t_late
        self.low, self.high, self.sigma, self.threshold = low, high, sigma, threshold

    def forward(self, values: Tensor) -> Tensor:
        return functional.population_encode(values, **self.numbers())

    def numbers(self) -> dict[str, Any]:
        return {
            "neurons": self.neurons,
            "t_early": self.t_early,
            "t_late": self.t_late,
            "low": self.low,
            "high": self.high,
            "sigma": self.sigma,
            "threshold": self.threshold,
        }

    def extra_repr(self) -> str:
        return listed(self.numbers())


class DeltaEncoder(RecordsNumbers):
    """A spike whenever a signal has moved by ``threshold`` since its last one (send-on-delta).

    The signal runs straight from each sample to the next. It starts with its first value as the
    reference. Where it reaches the reference plus ``threshold``, the channel "up" of the signal
    spikes, where it reaches the reference minus ``threshold``, the channel "down"; the level
    reached is the next reference. A step that passes several levels gives as many spikes.

    **Arguments:**

    - ``threshold``: in the unit of the values, > 0.
    - ``dt``: from one sample to the next, seconds, > 0; the first is of time 0.
    - ``max_spikes``: room for this many spikes of a channel. ``None`` rounds the most that there
      are up to one of few sizes, as each size that a layer sees is compiled anew.
    - ``on_overflow``: what to do about spikes beyond a ``max_spikes`` that is given: ``"error"``,
      ``"warn"``, or ``"truncate"``, which keeps the first ones.

    **Shapes:** values ``(..., channels, T)`` give spike times ``(..., 2 * channels, room)``: "up"
    of all signals, then "down" of all. Differentiable in the values between which a level is
    passed, and in the first one, which the levels count from.

    **Raises:** as `functional.delta_encode`.
    """

    def __init__(
        self,
        threshold: float,
        dt: float,
        max_spikes: int | None = None,
        *,
        on_overflow: OnOverflow = "error",
    ) -> None:
        super().__init__()
        check_delta(threshold, dt, max_spikes, on_overflow)
        self.threshold, self.dt, self.max_spikes = threshold, dt, max_spikes
        self.on_overflow: OnOverflow = on_overflow

    def forward(self, values: Tensor) -> Tensor:
        return functional.delta_encode(
            values, self.threshold, self.dt, self.max_spikes, on_overflow=self.on_overflow
        )

    def numbers(self) -> dict[str, Any]:
        return {"threshold": self.threshold, "dt": self.dt, "max_spikes": self.max_spikes}

    def extra_repr(self) -> str:
        return listed(self.numbers()) + f", on_overflow={self.on_overflow!r}"


class Repeat(RecordsNumbers):
    """Each spike several times, one ``interval`` after the other.

    **Arguments:**

    - ``count``: how often each spike comes, >= 1; 1 leaves the spikes as they are.
    - ``interval``: from each one to the next, seconds, > 0.

    **Shapes:** spike times ``(..., n, k)`` give ``(..., n, k * count)``, ``Events`` ``(..., M)``
    give ``(..., M * count)``, sorted anew. Differentiable.
    """

    def __init__(self, count: int, interval: float) -> None:
        super().__init__()
        check_repeat(count, interval)
        self.count, self.interval = count, interval

    def forward(self, spikes: Tensor | Events) -> Tensor | Events:
        return functional.repeat(spikes, self.count, self.interval)

    def numbers(self) -> dict[str, Any]:
        return {"count": self.count, "interval": self.interval}

    def extra_repr(self) -> str:
        return listed(self.numbers())


def listed(settings: dict[str, Any]) -> str:
    """Settings as in a call."""
    return ", ".join(f"{name}={value!r}" for name, value in settings.items())
