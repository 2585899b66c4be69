"""The Yin-Yang data set."""

from typing import Any

import numpy as np
from torch import nn
from torch.utils.data import Dataset

from ...datasets import YinYang


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
        self._samples = YinYang(size, seed, r_small, r_big)
        self.transform = transform

    def __getitem__(self, index: int) -> tuple[Any, int]:
        sample: Any = self._samples.values[index].numpy().astype(np.float64)
        if self.transform is not None:
            sample = self.transform(sample)
        return sample, int(self._samples.classes[index])

    def __len__(self) -> int:
        return len(self._samples)
