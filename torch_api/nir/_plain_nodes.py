"""NIR nodes of convolutions and pools, which know the shapes between which they stand."""

from typing import Any

import numpy as np

from ._shapes import Shape


def conv_node(
    nir: Any, before: Shape, after: Shape, kernel: np.ndarray, bias: np.ndarray, **settings: Any
) -> Any:
    """A Conv2d of a kernel ``(out, in / groups, height, width)`` and a bias ``(out,)``.

    Or a Conv1d, if there is one size. **Arguments:** ``before``, ``after``: shapes of neurons,
    channels first; ``settings``: ``stride``, ``padding``, ``dilation``, ``groups``.
    """
    if len(before) == 2:
        settings = {name: _one(value) for name, value in settings.items()}
        node = nir.Conv1d(input_shape=before[1], weight=kernel, bias=bias, **settings)
    else:
        node = nir.Conv2d(input_shape=before[1:], weight=kernel, bias=bias, **settings)
    return _typed(node, before, after)


def _one(value: Any) -> Any:
    """The number of a setting for one axis."""
    return value[0] if isinstance(value, tuple) else value


def pool_node(
    kind: Any, kernel_size: Any, stride: Any, padding: Any, before: Shape, after: Shape
) -> Any:
    """A pool between neurons of these shapes; ``kind``: its class."""
    settings = (np.array(value) for value in (kernel_size, stride, padding))
    return _typed(kind(*settings), before, after)


def _typed(node: Any, before: Shape, after: Shape) -> Any:
    # nir takes all kernels for square, and groups for one.
    node.input_type = {"input": np.array(before)}
    node.output_type = {"output": np.array(after)}
    return node
