"""Input that arrives through delays and over fixed connections."""

from torch import Tensor

from ...jax_core import Connections, Events, SynapticDelays
from .. import functional
from ._connection_list import times_of_events
from ._delay_parameter import nonnegative
from ._neuron_layer import ConnectedLayer


class DelayedInput(ConnectedLayer):
    """Base of the layers whose input may have delays, of inputs or of connections."""

    delay: Tensor | None
    delay_type: str | None

    def connections(self) -> Connections | None:
        synaptic = self.delay is not None and self.delay_type == "synaptic"
        delay = nonnegative(self.delay) if synaptic and self.delay is not None else None
        if self.sparse is not None:
            return self.sparse.with_delay(delay)
        return None if delay is None else SynapticDelays(delay)  # pyright: ignore[reportArgumentType]

    def delay_input(self, spikes: Tensor | Events) -> Tensor | Events:
        """Input spikes as they arrive, later by axonal delays, in the form for connections."""
        if self.delay is not None and self.delay_type == "axonal":
            spikes = functional.delay(spikes, nonnegative(self.delay))
        if isinstance(spikes, Events) and (self.sparse or self.delay_type == "synaptic"):
            return times_of_events(spikes, self.in_features, self.t_max)
        return spikes
