"""Exact event-based spiking layers as JAX functions, without torch."""

from .._network import (  # pyright: ignore[reportMissingImports]  # It lies in top/.
    Network as Network,
)
from .._network import (  # pyright: ignore[reportMissingImports]
    load_network as load_network,
)
from . import hardware as hardware
from . import plasticity as plasticity
from ._events import Events as Events
from .adjoint._method import LayerRun as LayerRun
from .connect._conv import Conv as Conv
from .connect._lists import Sparse as Sparse
from .connect._lists import SynapticDelays as SynapticDelays
from .connect._protocol import Connections as Connections
from .layer._differentiable import Health as Health
from .layer._lif import lif as lif
from .layer._lif_state import LIFState as LIFState
from .layer._observed import lif_observed as lif_observed
from .layer._projections import Projection as Projection
from .layer._projections import lif_projections as lif_projections
from .layer._recurrent_lif import recurrent_lif as recurrent_lif
from .layer._recurrent_lif_state import RecurrentLIFState as RecurrentLIFState
from .layer._recurrent_spiking import RecurrentLayerState as RecurrentLayerState
from .layer._recurrent_spiking import recurrent_spiking as recurrent_spiking
from .layer._recurrent_trace import recurrent_lif_trace as recurrent_lif_trace
from .layer._spiking import LayerState as LayerState
from .layer._spiking import spiking as spiking
from .layer._spiking_peak import spiking_peak as spiking_peak
from .layer._spiking_trace import spiking_trace as spiking_trace
from .layer._trace import lif_observed_trace as lif_observed_trace
from .layer._trace import lif_trace as lif_trace
from .neuron._adaptive_lif import AdaptiveLIF as AdaptiveLIF
from .neuron._alpha_lif import AlphaLIF as AlphaLIF
from .neuron._constants import Form as Form
from .neuron._delta_lif import DeltaLIF as DeltaLIF
from .neuron._if import IF as IF
from .neuron._ode import ODENeuron as ODENeuron
from .neuron._ode_model import ode_neuron as ode_neuron
from .neuron._protocol import Neuron as Neuron
from .neuron._qif import QIF as QIF
from .readout._li import li as li
from .readout._li import li_integral as li_integral
from .readout._li import li_max as li_max
from .readout._li import li_peak as li_peak
from .readout._li import li_value as li_value
from .spikes._convert import events_from_spike_times as events_from_spike_times
from .spikes._convert import spike_times_from_events as spike_times_from_events
from .spikes._raster import dense_from_events as dense_from_events
from .spikes._raster import dense_from_spike_times as dense_from_spike_times
from .spikes._raster import events_from_dense as events_from_dense
from .spikes._raster import spike_times_from_dense as spike_times_from_dense
from .spikes._resolution import LateSpikeWarning as LateSpikeWarning

__all__ = [
    "IF",
    "QIF",
    "AdaptiveLIF",
    "AlphaLIF",
    "Connections",
    "Conv",
    "DeltaLIF",
    "Events",
    "Form",
    "Health",
    "LIFState",
    "LateSpikeWarning",
    "LayerRun",
    "LayerState",
    "Network",
    "Neuron",
    "ODENeuron",
    "Projection",
    "RecurrentLIFState",
    "RecurrentLayerState",
    "Sparse",
    "SynapticDelays",
    "dense_from_events",
    "dense_from_spike_times",
    "events_from_dense",
    "events_from_spike_times",
    "hardware",
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
    "load_network",
    "ode_neuron",
    "plasticity",
    "recurrent_lif",
    "recurrent_lif_trace",
    "recurrent_spiking",
    "spike_times_from_dense",
    "spike_times_from_events",
    "spiking",
    "spiking_peak",
    "spiking_trace",
]


def __dir__() -> list[str]:
    return __all__
