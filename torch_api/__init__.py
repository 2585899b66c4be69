"""Event-based spiking layers as torch modules."""

from ..jax_core import Events as Events
from ..jax_core import LateSpikeWarning as LateSpikeWarning
from ..jax_core import LayerState as LayerState
from ..jax_core import RecurrentLayerState as RecurrentLayerState
from . import datasets as datasets
from . import functional as functional
from . import hardware as hardware
from . import hx as hx
from . import nir as nir
from . import plasticity as plasticity
from . import plot as plot
from ._validate import validation as validation
from .functional import first_to_spike as first_to_spike
from .functional import latency_penalty as latency_penalty
from .functional import rate_penalty as rate_penalty
from .functional._batch import pad_batches as pad_batches
from .functional._lif_state import LIFState as LIFState
from .functional._recurrent_lif_state import RecurrentLIFState as RecurrentLIFState
from .layers._adaptive_lif import AdaptiveLIF as AdaptiveLIF
from .layers._alpha_lif import AlphaLIF as AlphaLIF
from .layers._checkpoint import CheckpointWarning as CheckpointWarning
from .layers._cost import Cost as Cost
from .layers._cost import LayerCost as LayerCost
from .layers._cost import cost as cost
from .layers._delay import Delay as Delay
from .layers._delta_lif import DeltaLIF as DeltaLIF
from .layers._fuse import fuse as fuse
from .layers._health import Health as Health
from .layers._health import HealthReport as HealthReport
from .layers._health import LayerHealth as LayerHealth
from .layers._health import SpikingLayer as SpikingLayer
from .layers._health import health_report as health_report
from .layers._if import IF as IF
from .layers._li import LI as LI
from .layers._lif import LIF as LIF
from .layers._lif_conv import LIFConv1d as LIFConv1d
from .layers._lif_conv import LIFConv2d as LIFConv2d
from .layers._model_conv import DeltaLIFConv1d as DeltaLIFConv1d
from .layers._model_conv import DeltaLIFConv2d as DeltaLIFConv2d
from .layers._model_conv import IFConv1d as IFConv1d
from .layers._model_conv import IFConv2d as IFConv2d
from .layers._ode import neuron as neuron
from .layers._overflow import SpikeOverflowError as SpikeOverflowError
from .layers._overflow import SpikeOverflowWarning as SpikeOverflowWarning
from .layers._pieces import DelayedState as DelayedState
from .layers._pooling import FirstSpikePool2d as FirstSpikePool2d
from .layers._pooling import FlattenSpikes as FlattenSpikes
from .layers._pooling import SumPool2d as SumPool2d
from .layers._pooling import UnflattenSpikes as UnflattenSpikes
from .layers._projections import Projection as Projection
from .layers._projections import Projections as Projections
from .layers._qif import QIF as QIF
from .layers._recurrent_lif import RecurrentLIF as RecurrentLIF
from .layers._recurrent_model import RecurrentAdaptiveLIF as RecurrentAdaptiveLIF
from .layers._recurrent_model import RecurrentAlphaLIF as RecurrentAlphaLIF
from .layers._recurrent_model import RecurrentDeltaLIF as RecurrentDeltaLIF
from .layers._recurrent_model import RecurrentIF as RecurrentIF
from .layers._recurrent_model import RecurrentQIF as RecurrentQIF
from .losses._counts import SpikeCountCrossEntropyLoss as SpikeCountCrossEntropyLoss
from .losses._counts import SpikeCountMSELoss as SpikeCountMSELoss
from .losses._spike_times import SpikeTimeMSELoss as SpikeTimeMSELoss
from .losses._spike_times import TTFSCrossEntropyLoss as TTFSCrossEntropyLoss
from .losses._van_rossum import VanRossumLoss as VanRossumLoss
from .losses._voltages import VoltageCrossEntropyLoss as VoltageCrossEntropyLoss
from .spikes._augmentation import SpikeDropout as SpikeDropout
from .spikes._augmentation import SpikeInsertion as SpikeInsertion
from .spikes._augmentation import SpikeJitter as SpikeJitter
from .spikes._augmentation import SpikeShift as SpikeShift
from .spikes._decoders import FirstSpike as FirstSpike
from .spikes._decoders import SpikeCount as SpikeCount
from .spikes._decoders import SpikeRate as SpikeRate
from .spikes._encoders import DeltaEncoder as DeltaEncoder
from .spikes._encoders import LatencyEncoder as LatencyEncoder
from .spikes._encoders import PopulationEncoder as PopulationEncoder
from .spikes._encoders import Repeat as Repeat
from .spikes._events import dense_from_events as dense_from_events
from .spikes._events import dense_from_spike_times as dense_from_spike_times
from .spikes._events import events_from_dense as events_from_dense
from .spikes._events import events_from_spike_times as events_from_spike_times
from .spikes._events import spike_times_from_dense as spike_times_from_dense
from .spikes._events import spike_times_from_events as spike_times_from_events
from .spikes._rate_encoders import PoissonEncoder as PoissonEncoder
from .spikes._rate_encoders import RegularEncoder as RegularEncoder
from .training._clip import clip_grad_ as clip_grad_
from .training._initialise import initialise_ as initialise_
from .training._log import log_training as log_training
from .training._parameter_groups import parameter_groups as parameter_groups
from .training._penalties import weight_penalty as weight_penalty
from .training._rescue import rescue_silent_ as rescue_silent_
from .training._silent import silent_loss as silent_loss

__all__ = [
    "IF",
    "LI",
    "LIF",
    "QIF",
    "AdaptiveLIF",
    "AlphaLIF",
    "CheckpointWarning",
    "Cost",
    "Delay",
    "DelayedState",
    "DeltaEncoder",
    "DeltaLIF",
    "DeltaLIFConv1d",
    "DeltaLIFConv2d",
    "Events",
    "FirstSpike",
    "FirstSpikePool2d",
    "FlattenSpikes",
    "Health",
    "HealthReport",
    "IFConv1d",
    "IFConv2d",
    "LIFConv1d",
    "LIFConv2d",
    "LIFState",
    "LateSpikeWarning",
    "LatencyEncoder",
    "LayerCost",
    "LayerHealth",
    "LayerState",
    "PoissonEncoder",
    "PopulationEncoder",
    "Projection",
    "Projections",
    "RecurrentAdaptiveLIF",
    "RecurrentAlphaLIF",
    "RecurrentDeltaLIF",
    "RecurrentIF",
    "RecurrentLIF",
    "RecurrentLIFState",
    "RecurrentLayerState",
    "RecurrentQIF",
    "RegularEncoder",
    "Repeat",
    "SpikeCount",
    "SpikeCountCrossEntropyLoss",
    "SpikeCountMSELoss",
    "SpikeDropout",
    "SpikeInsertion",
    "SpikeJitter",
    "SpikeOverflowError",
    "SpikeOverflowWarning",
    "SpikeRate",
    "SpikeShift",
    "SpikeTimeMSELoss",
    "SpikingLayer",
    "SumPool2d",
    "TTFSCrossEntropyLoss",
    "UnflattenSpikes",
    "VanRossumLoss",
    "VoltageCrossEntropyLoss",
    "clip_grad_",
    "cost",
    "datasets",
    "dense_from_events",
    "dense_from_spike_times",
    "events_from_dense",
    "events_from_spike_times",
    "first_to_spike",
    "functional",
    "fuse",
    "hardware",
    "health_report",
    "hx",
    "initialise_",
    "latency_penalty",
    "log_training",
    "neuron",
    "nir",
    "pad_batches",
    "parameter_groups",
    "plasticity",
    "plot",
    "rate_penalty",
    "rescue_silent_",
    "silent_loss",
    "spike_times_from_dense",
    "spike_times_from_events",
    "validation",
    "weight_penalty",
]


def __dir__() -> list[str]:
    return __all__
