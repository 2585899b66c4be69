from ._events import Events as Events
from ._spikes import events_from_spike_times as events_from_spike_times
