"""Streams of Poisson spikes in which one pattern returns, which rates do not show."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

MS = 1e-3


@dataclass(frozen=True)
class HiddenPattern:
    """A stream of spikes of many inputs, in pieces.

    All inputs spike at random with ``RATE`` and, at any time, spontaneously with ``SPONTANEOUS``.
    But they repeat their spikes of ``LENGTH`` seconds again and again, each shifted at random by
    ``JITTER``. Where that happens is random too; it takes about a quarter of the time, and the rate
    is the same in it as elsewhere.

    **Attributes:** ``pieces``, spike times within pieces of ``PIECE`` seconds, ``(pieces, inputs,
    k)``; ``starts``, where the pattern begins in the stream, seconds, ``(times,)``.
    """

    RATE: ClassVar = 54.0
    SPONTANEOUS: ClassVar = 10.0
    LENGTH: ClassVar = 50 * MS
    JITTER: ClassVar = 1 * MS
    PIECE: ClassVar = 100 * MS

    pieces: Tensor
    starts: Tensor

    @classmethod
    def draw(cls, inputs: int, seconds: int) -> "HiddenPattern":
        """A stream of so many seconds, from torch's global random generator."""
        starts = cls._draw_starts(seconds)
        time, index = _poisson(cls.RATE, inputs, float(seconds))
        pattern_time, pattern_index = _poisson(cls.RATE, inputs, cls.LENGTH)
        in_pattern = torch.isin((time / cls.LENGTH).long(), (starts / cls.LENGTH).round().long())
        shown = starts[:, None] + pattern_time
        shown = shown + cls.JITTER * torch.randn(shown.shape, dtype=shown.dtype)
        more_time, more_index = _poisson(cls.SPONTANEOUS, inputs, float(seconds))
        time = torch.cat([time[~in_pattern], shown.flatten(), more_time]).clamp(min=0)
        index = torch.cat([index[~in_pattern], pattern_index.repeat(len(starts)), more_index])
        return cls(cls._in_pieces(time, index, inputs, round(seconds / cls.PIECE)), starts)

    @classmethod
    def _draw_starts(cls, seconds: int) -> Tensor:
        """Begins of the pattern, on a clock of its length, and never one right after another."""
        starts, last = [], 0
        for place, chance in enumerate(torch.rand(round(seconds / cls.LENGTH)).tolist()):
            if chance < 1 / 3 and place > last + 1:
                starts.append(place * cls.LENGTH)
                last = place
        return torch.tensor(starts, dtype=torch.float64)

    @classmethod
    def _in_pieces(cls, time: Tensor, index: Tensor, inputs: int, pieces: int) -> Tensor:
        """Spikes of a stream as float32 times within its pieces."""
        there = time < pieces * cls.PIECE
        time, index, within = (x[there] for x in (time, index, time % cls.PIECE))
        place = ((time - within) / cls.PIECE).round().long() * inputs + index
        order = torch.argsort(place + within)
        place, within = place[order], within[order]
        counts = torch.bincount(place, minlength=pieces * inputs)
        slot = torch.arange(len(place)) - (counts.cumsum(0) - counts)[place]
        spikes = torch.full((pieces * inputs, int(counts.max())), math.inf)
        spikes[place, slot] = within.float()
        return spikes.reshape(pieces, inputs, -1)

    def answers(self, spikes: Tensor) -> tuple[Tensor, Tensor]:
        """How a neuron with these ``spikes``, ``(n,)``, answers to the pattern.

        **Returns:** latencies, seconds after each begin, ``inf`` without a spike; and which of the
        spikes are outside of the pattern.
        """
        since = spikes - self.starts[:, None]
        inside = (since >= 0) & (since < self.LENGTH)
        latency = torch.where(inside, since, math.inf)
        if not len(spikes):
            return torch.full_like(self.starts, math.inf), torch.zeros(0, dtype=torch.bool)
        return latency.amin(dim=1), ~inside.any(dim=0)


def _poisson(rate: float, inputs: int, duration: float) -> tuple[Tensor, Tensor]:
    """Times and inputs of random spikes."""
    count = torch.poisson(torch.tensor(rate * inputs * duration))
    time = duration * torch.rand(int(count), dtype=torch.float64)
    return time, torch.randint(inputs, time.shape)
