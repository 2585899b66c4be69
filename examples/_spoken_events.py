"""Recordings of spoken words as address events: the samples, and made-up ones."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from evtorch import torch_api as snn

_FORMANTS = 3
_POINTS = 256
"""Of a word, at which its formants are known."""
_WIDTH = 12.0
"""Standard deviation of channels around a formant."""
_SHIFT = 10.0
"""Standard deviation, between samples, of a shift of all channels: voices."""
_LOUDNESS = 0.4
"""Numbers of events are within this share of the mean."""
_NOISE = 0.15
_SHORTEST = 0.5
"""Seconds."""


@dataclass(frozen=True)
class SpokenEvents:
    """Recordings of ``CLASSES`` words, events of ``CHANNELS`` channels, low to high frequencies.

    **Attributes:** ``events``, ``Events (size, room)``, ascending times in seconds, padded;
    ``classes``, int64 ``(size,)``; ``t_max``, seconds, where recordings have ended.
    """

    CLASSES: ClassVar = 20
    CHANNELS: ClassVar = 700

    events: snn.Events
    classes: Tensor
    t_max: float

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, which: slice | Tensor) -> "SpokenEvents":
        time, index = self.events
        return SpokenEvents(snn.Events(time[which], index[which]), self.classes[which], self.t_max)

    def counts(self, channels: int = 1) -> Tensor:
        """The number of events of so many neighbouring channels, ``(size, CHANNELS / channels)``.

        This is what a rate says.
        """
        time, index = self.events
        zeros = torch.zeros(len(self), self.CHANNELS // channels)
        there = time.isfinite()
        band = torch.where(there, index, 0) // channels
        return zeros.scatter_add(1, band, there.to(zeros.dtype))


def draw_spoken_events(size: int, seed: int, events: int) -> SpokenEvents:
    """Make up recordings with the statistics of Spiking Heidelberg Digits.

    A word is three formants: lines of channels over time, smooth, each with a loudness that comes
    and goes. Events scatter around them; a share of ``_NOISE`` comes at any time from any channel.
    Samples of a word differ in duration, 0.5 to 1 s, in which part is spoken faster, in the voice,
    which shifts all channels, and in the number of events.

    There are ten words. Class ``2 n + 1`` is class ``2 n`` backwards: each channel has as many
    events in both, and only their order tells which it is.

    **Arguments:** ``size``: number of samples; ``seed``: the same one gives the same samples, of
    words that are always the same; ``events``: mean number per sample.
    """
    random = torch.Generator().manual_seed(seed)
    room = math.ceil((1 + _LOUDNESS) * events)
    shape = (size, room)
    classes = torch.randint(SpokenEvents.CLASSES, (size,), generator=random)
    place, channel = _scatter(classes // 2, room, random)
    place = torch.where((classes % 2 == 1)[:, None], 1 - place, place)
    # Monotonic: the slope is 1 + haste cos(2 pi place).
    haste = 1.2 * (torch.rand(size, 1, generator=random) - 0.5)
    place = place + haste * torch.sin(2 * math.pi * place) / (2 * math.pi)
    channel = channel + _SHIFT * torch.randn(size, 1, generator=random)
    is_noise = torch.rand(shape, generator=random) < _NOISE
    place = torch.where(is_noise, torch.rand(shape, generator=random), place)
    anywhere = SpokenEvents.CHANNELS * torch.rand(shape, generator=random)
    channel = torch.where(is_noise, anywhere, channel).floor()
    index = channel.long().clamp(0, SpokenEvents.CHANNELS - 1)
    duration = _SHORTEST + (1 - _SHORTEST) * torch.rand(size, 1, generator=random)
    loudness = 1 + _LOUDNESS * (2 * torch.rand(size, 1, generator=random) - 1)
    absent = torch.arange(room) >= (events * loudness).round()
    time, order = (duration * place).clamp(min=0).masked_fill(absent, math.inf).sort(-1)
    index = index.masked_fill(absent, -1).gather(1, order)
    return SpokenEvents(snn.Events(time=time, index=index), classes, t_max=1.0)


def _scatter(word: Tensor, room: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Where in its word each event is, in [0, 1), and at which channel, ``(size, room)``."""
    track, loudness = _formants(SpokenEvents.CLASSES // 2)
    share = (loudness / loudness.sum((1, 2), keepdim=True)).flatten(1).cumsum(1)
    shape = (len(word), room)
    at = torch.searchsorted(share[word], torch.rand(shape, generator=random))
    at = at.clamp(max=share.shape[1] - 1)
    middle = track.flatten(1)[word].gather(1, at)
    place = (at % _POINTS + torch.rand(shape, generator=random)) / _POINTS
    return place, middle + _WIDTH * torch.randn(shape, generator=random)


def _formants(words: int) -> tuple[Tensor, Tensor]:
    """Channels and loudness of the formants of all words, ``(words, _FORMANTS, _POINTS)``."""
    random = torch.Generator().manual_seed(0)
    shape = (words, _FORMANTS, 1)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=random)

    at = torch.linspace(0, 1, _POINTS)
    middle = torch.tensor([150.0, 350.0, 550.0])[:, None] + uniform(-40, 40)
    # The first wave goes up or down and so the other way when backwards, the second does not.
    up = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0) * uniform(30, 70)
    track = middle + up * torch.cos(math.pi * at) + uniform(-40, 40) * torch.cos(2 * math.pi * at)
    peak, width = uniform(0.2, 0.8), uniform(0.15, 0.35)
    return track, 0.1 + torch.exp(-((at - peak) ** 2) / (2 * width**2))
