"""The user-visible interface of hxtorch.spiking, on exact event-based simulation.

``import evtorch.torch_api.hx as hxsnn`` in place of ``import hxtorch.spiking as hxsnn``. Names,
argument order, defaults, units and dense tensors ``(time, batch, neurons)`` are those there;
``Experiment(engine="event")``, the default, simulates in continuous time with exact gradients, and
``engine="euler"`` on the time grid, which scripts do that `compat.install` lets run unmodified.
"""

from . import compat as compat
from . import datasets as datasets
from . import functional as functional
from . import transforms as transforms
from ._experiment import Experiment as Experiment
from ._exponential import NeuronExp as NeuronExp
from ._exponential import ReadoutNeuronExp as ReadoutNeuronExp
from ._handles import AELIFObservables as AELIFObservables
from ._handles import Handle as Handle
from ._handles import LIFObservables as LIFObservables
from ._handles import LIObservables as LIObservables
from ._handles import NeuronHandle as NeuronHandle
from ._handles import SynapseHandle as SynapseHandle
from ._handles import TensorHandle as TensorHandle
from ._hardware import init_hardware as init_hardware
from ._hardware import release_hardware as release_hardware
from ._lif import LIF as LIF
from ._lif import EventPropLIF as EventPropLIF
from ._lif import Neuron as Neuron
from ._modules import BatchDropout as BatchDropout
from ._modules import HXBaseExperimentModule as HXBaseExperimentModule
from ._modules import HXFunctionalModule as HXFunctionalModule
from ._modules import HXModule as HXModule
from ._modules import InputNeuron as InputNeuron
from ._neuron import AELIF as AELIF
from ._nir import ConversionConfig as ConversionConfig
from ._nir import from_nir as from_nir
from ._nir import from_nir_data as from_nir_data
from ._nir import to_nir as to_nir
from ._nir import to_nir_data as to_nir_data
from ._observables import AnalogObservable as AnalogObservable
from ._parameters import HXBaseParameter as HXBaseParameter
from ._parameters import HXParameter as HXParameter
from ._parameters import HXTransformedModelParameter as HXTransformedModelParameter
from ._parameters import MixedHXModelParameter as MixedHXModelParameter
from ._parameters import ModelParameter as ModelParameter
from ._placement import ExecutionInstance as ExecutionInstance
from ._placement import ExecutionInstances as ExecutionInstances
from ._raster import SpikeRaster as SpikeRaster
from ._readout import LI as LI
from ._readout import ReadoutNeuron as ReadoutNeuron
from ._run import run as run
from ._synapse import EventPropSynapse as EventPropSynapse
from ._synapse import SparseSynapse as SparseSynapse
from ._synapse import Synapse as Synapse
from ._wrapper import HXModuleWrapper as HXModuleWrapper

__all__ = [
    "AELIF",
    "LI",
    "LIF",
    "AELIFObservables",
    "AnalogObservable",
    "BatchDropout",
    "ConversionConfig",
    "EventPropLIF",
    "EventPropSynapse",
    "ExecutionInstance",
    "ExecutionInstances",
    "Experiment",
    "HXBaseExperimentModule",
    "HXBaseParameter",
    "HXFunctionalModule",
    "HXModule",
    "HXModuleWrapper",
    "HXParameter",
    "HXTransformedModelParameter",
    "Handle",
    "InputNeuron",
    "LIFObservables",
    "LIObservables",
    "MixedHXModelParameter",
    "ModelParameter",
    "Neuron",
    "NeuronExp",
    "NeuronHandle",
    "ReadoutNeuron",
    "ReadoutNeuronExp",
    "SparseSynapse",
    "SpikeRaster",
    "Synapse",
    "SynapseHandle",
    "TensorHandle",
    "compat",
    "datasets",
    "from_nir",
    "from_nir_data",
    "functional",
    "init_hardware",
    "release_hardware",
    "run",
    "to_nir",
    "to_nir_data",
    "transforms",
]


def __dir__() -> list[str]:
    return __all__
