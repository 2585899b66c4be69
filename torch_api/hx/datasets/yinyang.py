"""The Yin-Yang data set."""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from ...datasets import YinYang

__all__ = ["YinYangDataset"]


class YinYangDataset(Dataset[Any]):
    """`YinYang` with NumPy samples, an optional ``transform``, and a default seed.

    **Item:** ``((x, y, 1 - x, 1 - y), class)``, float64 and ``int``.
    """

    class_names = YinYang.class_names

    def __init__(
        self,
        r_small: float = 0.1,
        r_big: float = 0.5,
        size: int = 1000,
        seed: int = 42,
        transform: nn.Module | None = None,
    ) -> None:
        self._samples = YinYang(size, seed, r_small, r_big, dtype=torch.float64)
        self.r_small, self.r_big = r_small, r_big
        self.transform = transform

    def which_class(self, x: float, y: float) -> int:
        """The class of a point of the symbol."""
        return int(self._samples.class_of(x, y))

    def dist_to_right_dot(self, x: float, y: float) -> float:
        """Distance of a point to the centre of the right dot."""
        return float(np.hypot(x - 1.5 * self.r_big, y - self.r_big))

    def dist_to_left_dot(self, x: float, y: float) -> float:
        """Distance of a point to the centre of the left dot."""
        return float(np.hypot(x - 0.5 * self.r_big, y - self.r_big))

    def __getitem__(self, index: int) -> tuple[Any, int]:
        sample: Any = self._samples.values[index].numpy().copy()
        if self.transform is not None:
            sample = self.transform(sample)
        return sample, int(self._samples.classes[index])

    def __len__(self) -> int:
        return len(self._samples)
