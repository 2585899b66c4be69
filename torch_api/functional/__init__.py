"""Layers, codes and losses as functions without state."""

from ._augment import spike_dropout as spike_dropout
from ._augment import spike_insertion as spike_insertion
from ._augment import spike_jitter as spike_jitter
from ._augment import spike_shift as spike_shift
from ._counts import soft_count as soft_count
from ._counts import spike_count_cross_entropy as spike_count_cross_entropy
from ._counts import spike_count_mse as spike_count_mse
from ._delta import delta_encode as delta_encode
from ._latency import latency_encode as latency_encode
from ._latency import population_encode as population_encode
from ._li import li as li
from ._li import li_integral as li_integral
from ._li import li_max as li_max
from ._li import li_peak as li_peak
from ._li import li_value as li_value
from ._lif import lif as lif
from ._lif import lif_trace as lif_trace
from ._losses import spike_time_mse as spike_time_mse
from ._losses import ttfs_cross_entropy as ttfs_cross_entropy
from ._observed import lif_observed as lif_observed
from ._observed import lif_observed_trace as lif_observed_trace
from ._penalties import latency_penalty as latency_penalty
from ._penalties import rate_penalty as rate_penalty
from ._projections import lif_projections as lif_projections
from ._rates import poisson_encode as poisson_encode
from ._rates import regular_encode as regular_encode
from ._recurrent_lif import recurrent_lif as recurrent_lif
from ._recurrent_lif import recurrent_lif_trace as recurrent_lif_trace
from ._recurrent_spiking import recurrent_spiking as recurrent_spiking
from ._spikes import delay as delay
from ._spikes import first_to_spike as first_to_spike
from ._spikes import repeat as repeat
from ._spikes import spike_count as spike_count
from ._spikes import spike_rate as spike_rate
from ._spiking import spiking as spiking
from ._spiking import spiking_trace as spiking_trace
from ._spiking_peak import spiking_peak as spiking_peak
from ._van_rossum import van_rossum as van_rossum
from ._voltage_losses import voltage_cross_entropy as voltage_cross_entropy

__all__ = [
    "delay",
    "delta_encode",
    "first_to_spike",
    "latency_encode",
    "latency_penalty",
    "li",
    "li_integral",
    "li_max",
    "li_peak",
    "li_value",
    "lif",
    "lif_observed",
    "lif_observed_trace",
    "lif_projections",
    "lif_trace",
    "poisson_encode",
    "population_encode",
    "rate_penalty",
    "recurrent_lif",
    "recurrent_lif_trace",
    "recurrent_spiking",
    "regular_encode",
    "repeat",
    "soft_count",
    "spike_count",
    "spike_count_cross_entropy",
    "spike_count_mse",
    "spike_dropout",
    "spike_insertion",
    "spike_jitter",
    "spike_rate",
    "spike_shift",
    "spike_time_mse",
    "spiking",
    "spiking_peak",
    "spiking_trace",
    "ttfs_cross_entropy",
    "van_rossum",
    "voltage_cross_entropy",
]


def __dir__() -> list[str]:
    return __all__
