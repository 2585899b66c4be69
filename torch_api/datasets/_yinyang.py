"""The Yin-Yang data set."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .._validate import check_dtype, check_size


class YinYang(Dataset[tuple[Tensor, int]]):
    """Points of the plane in three classes that form the Yin-Yang symbol.

    The symbol fills the disk of radius ``r_big`` around ``(r_big, r_big)``. As in the published
    code, the class of every sample is drawn first, uniformly, and points of the disk are then
    drawn until one belongs to it; one seed gives the same points as there. Use two seeds for a
    training and a test set.

    **Arguments:**

    - ``size``: number of samples.
    - ``seed``: seed of the random numbers, >= 0; nothing else has an influence on them.
    - ``r_small``: radius of the two dots, ``0 < r_small < r_big / 2``.
    - ``r_big``: radius of the symbol, at most 0.5 so that all values lie in [0, 1].
    - ``dtype``: of the values, float32 or float64; ``None`` for torch's default.

    **Item:** ``((x, y, 1 - x, 1 - y), class)``, a tensor ``(4,)`` and an ``int``.

    **Attributes:** all samples at once: ``values`` ``(size, 4)``, and ``classes``,
    int64 ``(size,)``.

    **References:** Kriener, Göltz & Petrovici 2022, *The Yin-Yang dataset*,
    doi:10.1145/3517343.3517380 (arXiv:2102.08211).
    """

    class_names = ("yin", "yang", "dot")
    """Names of the classes 0, 1, 2."""

    def __init__(
        self,
        size: int,
        seed: int,
        r_small: float = 0.1,
        r_big: float = 0.5,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        size, seed = check_size(size, "size"), check_size(seed, "seed")
        if seed >= 2**32:
            raise ValueError(f"seed must be < 2**32, got {seed}")
        dtype = check_dtype(dtype)
        if not 0 < r_big <= 0.5:
            raise ValueError(f"r_big must be > 0 and <= 0.5, got {r_big}")
        if not 0 < r_small < r_big / 2:
            raise ValueError(f"r_small must be > 0 and < r_big / 2 = {r_big / 2}, got {r_small}")
        self.r_small, self.r_big = float(r_small), float(r_big)
        # The legacy generator, because the published data were drawn from it.
        random = np.random.RandomState(seed)
        samples = [self._draw(random) for _ in range(size)]
        points = np.asarray([point for point, _ in samples], np.float64).reshape(size, 2)
        self.values = torch.from_numpy(np.hstack([points, 1 - points])).to(dtype)
        self.classes = torch.tensor([label for _, label in samples], dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.values[index], int(self.classes[index])

    def class_of(self, x: Any, y: Any) -> Any:
        """The class of points of the symbol, for example for a map of the plane.

        **Arguments:** ``x`` and ``y``, both numbers, NumPy arrays or tensors of one shape; outside
        of the symbol the answer has no meaning.

        **Returns:** 0, 1 or 2, an integer of the same kind and shape.
        """
        to_right_dot = ((x - 1.5 * self.r_big) ** 2 + (y - self.r_big) ** 2) ** 0.5
        to_left_dot = ((x - 0.5 * self.r_big) ** 2 + (y - self.r_big) ** 2) ** 0.5
        in_dot = (to_right_dot < self.r_small) | (to_left_dot < self.r_small)
        in_left_head = to_left_dot <= 0.5 * self.r_big
        above_right_head = (y > self.r_big) & (to_right_dot > 0.5 * self.r_big)
        # For truth values, a > b reads "a and not b", whatever kind of arrays they are.
        return 2 * in_dot + ((in_left_head | above_right_head) > in_dot)

    def _draw(self, random: np.random.RandomState) -> tuple[tuple[float, float], int]:
        goal = random.randint(3)
        while True:
            x, y = (random.rand(2) * 2 * self.r_big).tolist()
            inside = (x - self.r_big) ** 2 + (y - self.r_big) ** 2 <= self.r_big**2
            if inside and self.class_of(x, y) == goal:
                return (x, y), goal
