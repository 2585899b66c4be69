"""Event-based spiking layers as torch modules."""

from ..jax_core import Events as Events
from ..jax_core import LateSpikeWarning as LateSpikeWarning
from . import datasets as datasets
from . import functional as functional
from . import hardware as hardware
from . import hx as hx
from . import nir as nir
from ._augmentation import SpikeDropout as SpikeDropout
from ._augmentation import SpikeInsertion as SpikeInsertion
from ._augmentation import SpikeJitter as SpikeJitter
from ._augmentation import SpikeShift as SpikeShift
from ._checkpoint import CheckpointWarning as CheckpointWarning
from ._clip import clip_grad_ as clip_grad_
from ._count_losses import SpikeCountCrossEntropyLoss as SpikeCountCrossEntropyLoss
from ._count_losses import SpikeCountMSELoss as SpikeCountMSELoss
from ._decoders import FirstSpike as FirstSpike
from ._decoders import SpikeCount as SpikeCount
from ._decoders import SpikeRate as SpikeRate
from ._delay import Delay as Delay
from ._encoder import DeltaEncoder as DeltaEncoder
from ._encoder import LatencyEncoder as LatencyEncoder
from ._encoder import PopulationEncoder as PopulationEncoder
from ._encoder import Repeat as Repeat
from ._events import dense_from_events as dense_from_events
from ._events import dense_from_spike_times as dense_from_spike_times
from ._events import events_from_dense as events_from_dense
from ._events import events_from_spike_times as events_from_spike_times
from ._events import spike_times_from_dense as spike_times_from_dense
from ._events import spike_times_from_events as spike_times_from_events
from ._health import Health as Health
from ._health import HealthReport as HealthReport
from ._health import LayerHealth as LayerHealth
from ._health import SpikingLayer as SpikingLayer
from ._health import health_report as health_report
from ._initialise import initialise_ as initialise_
from ._li import LI as LI
from ._lif import LIF as LIF
from ._losses import SpikeTimeMSELoss as SpikeTimeMSELoss
from ._losses import TTFSCrossEntropyLoss as TTFSCrossEntropyLoss
from ._overflow import SpikeOverflowError as SpikeOverflowError
from ._overflow import SpikeOverflowWarning as SpikeOverflowWarning
from ._parameter_groups import parameter_groups as parameter_groups
from ._penalties import weight_penalty as weight_penalty
from ._rate_encoders import PoissonEncoder as PoissonEncoder
from ._rate_encoders import RegularEncoder as RegularEncoder
from ._recurrent_lif import RecurrentLIF as RecurrentLIF
from ._rescue import rescue_silent_ as rescue_silent_
from ._silent import silent_loss as silent_loss
from ._validate import validation as validation
from ._van_rossum import VanRossumLoss as VanRossumLoss
from ._voltage_losses import VoltageCrossEntropyLoss as VoltageCrossEntropyLoss
from .functional import first_to_spike as first_to_spike
from .functional import latency_penalty as latency_penalty
from .functional import rate_penalty as rate_penalty

__all__ = [
    "LI",
    "LIF",
    "CheckpointWarning",
    "Delay",
    "DeltaEncoder",
    "Events",
    "FirstSpike",
    "Health",
    "HealthReport",
    "LateSpikeWarning",
    "LatencyEncoder",
    "LayerHealth",
    "PoissonEncoder",
    "PopulationEncoder",
    "RecurrentLIF",
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
    "TTFSCrossEntropyLoss",
    "VanRossumLoss",
    "VoltageCrossEntropyLoss",
    "clip_grad_",
    "datasets",
    "dense_from_events",
    "dense_from_spike_times",
    "events_from_dense",
    "events_from_spike_times",
    "first_to_spike",
    "functional",
    "hardware",
    "health_report",
    "hx",
    "initialise_",
    "latency_penalty",
    "nir",
    "parameter_groups",
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
