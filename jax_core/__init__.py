from ._dense import dense_from_events as dense_from_events
from ._dense import dense_from_spike_times as dense_from_spike_times
from ._dense import events_from_dense as events_from_dense
from ._dense import spike_times_from_dense as spike_times_from_dense
from ._events import Events as Events
from ._spikes import events_from_spike_times as events_from_spike_times
from ._spikes import spike_times_from_events as spike_times_from_events
