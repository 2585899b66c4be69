"""Convolution: neurons at positions of a grid, with weights that all positions share."""

import dataclasses
import itertools
import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._validate import check_integer


@partial(
    jax.tree_util.register_dataclass,
    data_fields=[],
    meta_fields=["kernel_size", "stride", "padding", "dilation", "groups"],
)
@dataclasses.dataclass(frozen=True)
class Conv:
    """Connections of a convolution over one or more axes, in the terms of ``torch.nn.Conv2d``.

    Spikes have the shape ``(..., channels, *size, k)``, weights ``(out channels, channels /
    groups, *kernel_size)``; the layer's spikes ``(..., out channels, *positions, max_spikes)``.

    **Arguments:** tuples with one number per axis: ``kernel_size``; ``stride``; ``padding``,
    positions without spikes at both ends; ``dilation``, the distance of what the kernel covers.
    ``groups``: so many parts into which channels are divided, each connected within itself.
    """

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1

    def __post_init__(self) -> None:
        dims = len(self.kernel_size)
        for name, default, least in (
            ("kernel_size", None, 1),
            ("stride", 1, 1),
            ("padding", 0, 0),
            ("dilation", 1, 1),
        ):
            values = getattr(self, name) or (default,) * dims
            object.__setattr__(self, name, tuple(values))
            if len(values) != dims or not dims:
                raise ValueError(
                    f"{name} must have one number for each of the {dims} axes of kernel_size, got "
                    f"{values}"
                )
            for value in values:
                check_integer(value, name, least)
        check_integer(self.groups, "groups", 1)

    @property
    def axes(self) -> int:
        return 1 + len(self.kernel_size)

    def check(self, spikes: Array, weight: Array, validate: bool) -> None:
        channels, *size = spikes.shape[-1 - self.axes : -1]
        if channels % self.groups:
            raise ValueError(
                f"spikes of shape {tuple(spikes.shape)} have {channels} channels, which groups = "
                f"{self.groups} does not divide"
            )
        expected = channels // self.groups, *self.kernel_size
        if weight.ndim != 1 + len(expected) or weight.shape[1:] != expected:
            raise ValueError(
                f"weight must have shape (out channels, {', '.join(map(str, expected))}) for "
                f"{channels} channels, groups = {self.groups} and kernel_size = "
                f"{self.kernel_size}, got {tuple(weight.shape)}"
            )
        if weight.shape[0] % self.groups:
            raise ValueError(
                f"weight of shape {tuple(weight.shape)} has {weight.shape[0]} output channels, "
                f"which groups = {self.groups} does not divide"
            )
        self.positions(tuple(size))

    def neurons(self, weight: Array) -> int:
        return weight.shape[0]

    def positions(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Along each axis of that size, at how many positions there are neurons."""
        found = []
        for n, kernel, stride, padding, dilation in zip(
            size, self.kernel_size, self.stride, self.padding, self.dilation, strict=True
        ):
            covered, room = dilation * (kernel - 1) + 1, n + 2 * padding
            if covered > room:
                raise ValueError(
                    f"kernel_size = {self.kernel_size} with dilation = {self.dilation} covers "
                    f"{covered} positions of an input of size {size} that has {room} with padding "
                    f"= {self.padding}; choose a smaller kernel or more padding"
                )
            found.append((room - covered) // stride + 1)
        return tuple(found)

    def lists(self, spikes: Array) -> Array:
        batch, channels, *size, k = spikes.shape
        positions = self.positions(tuple(size))
        widths = ((0, 0), (0, 0), *((p, p) for p in self.padding), (0, 0))
        padded = jnp.pad(spikes, widths, constant_values=math.inf)

        def covered(offset: tuple[int, ...]) -> Array:
            begin = [o * d for o, d in zip(offset, self.dilation, strict=True)]
            end = [
                b + (n - 1) * s + 1 for b, n, s in zip(begin, positions, self.stride, strict=True)
            ]
            return lax.slice(
                padded,
                (0, 0, *begin, 0),
                (batch, channels, *end, k),
                (1, 1, *self.stride, 1),
            )

        offsets = itertools.product(*(range(kernel) for kernel in self.kernel_size))
        # (batch, channels, *positions, offsets, k)
        found = jnp.stack([covered(offset) for offset in offsets], axis=-2)
        found = found.reshape(batch, self.groups, channels // self.groups, *found.shape[2:])
        # Channels go next to what the kernel covers, groups to the front.
        found = jnp.moveaxis(jnp.moveaxis(found, 1, 0), 2, -3)
        return found.reshape(*found.shape[:-3], math.prod(found.shape[-3:-1]), k)

    def rows(self, weight: Array) -> Array:
        out = weight.shape[0]
        return weight.reshape(self.groups, out // self.groups, math.prod(weight.shape[1:]))
