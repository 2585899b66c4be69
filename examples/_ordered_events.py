"""Streams of address events whose classes differ only in the order in which channels speak."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from evtorch import torch_api as snn

MS = 1e-3


@dataclass(frozen=True)
class OrderedEvents:
    """Samples of a stream from ``CHANNELS`` channels, each with ``EVENTS`` events.

    In the first ``LEAD`` seconds all events are noise, from random channels. Later, of each
    sample's events the share ``1 - noise`` comes from channels that speak one after the other, each
    of them once in ``ROUND`` seconds. In class ``c``, the next channel is the one ``STEPS[c]``
    further, on a ring. Where a sample's ring begins is random, and each event strays from its turn
    by a normal number of turns of standard deviation 1.

    So each event comes at a uniform time and, over whole rounds, from a uniform channel. Counts are
    those of fair dice in every class, and as all steps visit each channel equally often and
    regularly, a channel by itself does the same in all of them: only the order between channels
    tells. By the end of the lead nearly all channels have spoken, so first times tell nothing.

    **Attributes:** ``events``, ``Events (size, EVENTS)``, times in seconds; ``classes``,
    int64 ``(size,)``.
    """

    CHANNELS: ClassVar = 20
    EVENTS: ClassVar = 520
    STEPS: ClassVar = (1, -1, 3, -3)
    ROUND: ClassVar = 40 * MS
    ROUNDS: ClassVar = 4
    LEAD: ClassVar = 40 * MS
    T_MAX: ClassVar = LEAD + ROUNDS * ROUND

    events: snn.Events
    classes: Tensor

    @classmethod
    def draw(cls, size: int, seed: int, noise: float = 0.3) -> "OrderedEvents":
        """Draw samples; one ``seed`` always gives the same ones."""
        random = torch.Generator().manual_seed(seed)
        shape = (size, cls.EVENTS)
        classes = torch.randint(len(cls.STEPS), (size,), generator=random)
        time = cls.T_MAX * torch.rand(shape, generator=random, dtype=torch.float64)
        time = time.sort(-1).values
        begin = torch.rand(size, 1, generator=random, dtype=torch.float64)
        stray = torch.randn(shape, generator=random, dtype=torch.float64)
        turn = cls.CHANNELS * (begin + (time - cls.LEAD) / cls.ROUND) + stray
        step = torch.tensor(cls.STEPS)[classes, None]
        ordered = (step * turn.floor().long()) % cls.CHANNELS
        is_noise = (torch.rand(shape, generator=random) < noise) | (time < cls.LEAD)
        anywhere = torch.randint(cls.CHANNELS, shape, generator=random)
        index = torch.where(is_noise, anywhere, ordered)
        return cls(snn.Events(time=time.float(), index=index), classes)

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, which: slice | Tensor) -> "OrderedEvents":
        time, index = self.events
        return OrderedEvents(snn.Events(time[which], index[which]), self.classes[which])

    def counts(self) -> Tensor:
        """The number of events of each channel, ``(size, CHANNELS)``: what a rate says."""
        zeros = torch.zeros(len(self), self.CHANNELS)
        return zeros.scatter_add(1, self.events.index, torch.ones_like(self.events.time))

    def first_times(self) -> Tensor:
        """The first event of each channel, seconds, ``(size, CHANNELS)``; T_MAX without one."""
        never = torch.full((len(self), self.CHANNELS), self.T_MAX)
        return never.scatter_reduce(1, self.events.index, self.events.time, "amin")
