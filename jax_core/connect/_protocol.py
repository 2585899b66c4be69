"""What a connectivity is to the layers of neurons.

Neurons that see the same input events through weights of their own form a place; what the kernels
of a layer simulate are places, each with its list of inputs. All-to-all there is one place with all
neurons. In a convolution each position is a place, its neurons are the output channels, its list
is what the kernel covers. With sparse connections, or a delay on each, every neuron is a place.

Cost and memory grow with the lists' lengths, so with the number of connections.
"""

from typing import Protocol

from jax import Array


class Connections(Protocol):
    """A connectivity, and a pytree: what may change at run time, such as delays, are its leaves."""

    @property
    def axes(self) -> int:
        """How many axes the input's neurons have, and the output's: 1 for ``(..., in, k)``."""
        ...

    def check(self, spikes: Array, weight: Array, validate: bool) -> None:
        """Raise an error that names what does not fit.

        **Arguments:** ``spikes``: ``(..., *input neurons, k)``; ``validate``: whether values, too.
        """
        ...

    def neurons(self, weight: Array) -> int:
        """How many neurons have constants of their own; groups times the neurons of a place."""
        ...

    def lists(self, spikes: Array) -> Array:
        """The input spikes that each place sees.

        **Arguments:** ``spikes``: ``(batch, *input neurons, k)``, ``inf`` where there is none.

        **Returns:** ``(groups, batch, *places, inputs, k)``. Places of one group share weights;
        without ``places`` a group is one place.
        """
        ...

    def rows(self, weight: Array) -> Array:
        """Weights of the lists' inputs, ``(groups, neurons of a place, inputs)``."""
        ...
