"""Layers, codes and losses as functions without state."""

from ._li import li as li
from ._li import li_integral as li_integral
from ._li import li_max as li_max
from ._li import li_value as li_value
from ._lif import lif as lif
from ._lif import lif_trace as lif_trace
from ._losses import spike_time_mse as spike_time_mse
from ._losses import ttfs_cross_entropy as ttfs_cross_entropy
from ._observed import lif_observed as lif_observed
from ._observed import lif_observed_trace as lif_observed_trace
from ._recurrent_lif import recurrent_lif as recurrent_lif
from ._recurrent_lif import recurrent_lif_trace as recurrent_lif_trace
from ._spikes import delay as delay
from ._spikes import first_to_spike as first_to_spike
from ._spikes import latency_encode as latency_encode

__all__ = [
    "delay",
    "first_to_spike",
    "latency_encode",
    "li",
    "li_integral",
    "li_max",
    "li_value",
    "lif",
    "lif_observed",
    "lif_observed_trace",
    "lif_trace",
    "recurrent_lif",
    "recurrent_lif_trace",
    "spike_time_mse",
    "ttfs_cross_entropy",
]


def __dir__() -> list[str]:
    return __all__
