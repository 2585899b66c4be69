"""Layers, codes and losses as functions without state."""

from ._counts import soft_count as soft_count
from ._counts import spike_count_cross_entropy as spike_count_cross_entropy
from ._counts import spike_count_mse as spike_count_mse
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
from ._penalties import latency_penalty as latency_penalty
from ._penalties import rate_penalty as rate_penalty
from ._recurrent_lif import recurrent_lif as recurrent_lif
from ._recurrent_lif import recurrent_lif_trace as recurrent_lif_trace
from ._spikes import delay as delay
from ._spikes import first_to_spike as first_to_spike
from ._spikes import latency_encode as latency_encode
from ._van_rossum import van_rossum as van_rossum
from ._voltage_losses import voltage_cross_entropy as voltage_cross_entropy

__all__ = [
    "delay",
    "first_to_spike",
    "latency_encode",
    "latency_penalty",
    "li",
    "li_integral",
    "li_max",
    "li_value",
    "lif",
    "lif_observed",
    "lif_observed_trace",
    "lif_trace",
    "rate_penalty",
    "recurrent_lif",
    "recurrent_lif_trace",
    "soft_count",
    "spike_count_cross_entropy",
    "spike_count_mse",
    "spike_time_mse",
    "ttfs_cross_entropy",
    "van_rossum",
    "voltage_cross_entropy",
]


def __dir__() -> list[str]:
    return __all__
