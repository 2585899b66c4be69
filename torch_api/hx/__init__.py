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
from ._execution_instance import ExecutionInstance as ExecutionInstance
from ._execution_instance import ExecutionInstances as ExecutionInstances
from ._experiment import Experiment as Experiment
from ._handle import AELIFObservables as AELIFObservables
from ._handle import Handle as Handle
from ._handle import LIFObservables as LIFObservables
from ._handle import LIObservables as LIObservables
from ._handle import NeuronHandle as NeuronHandle
from ._handle import SynapseHandle as SynapseHandle
from ._handle import TensorHandle as TensorHandle
from ._observables import AnalogObservable as AnalogObservable
from ._parameter import HXBaseParameter as HXBaseParameter
from ._parameter import HXParameter as HXParameter
from ._parameter import HXTransformedModelParameter as HXTransformedModelParameter
from ._parameter import MixedHXModelParameter as MixedHXModelParameter
from ._parameter import ModelParameter as ModelParameter
from ._run import run as run
from .engines._default_backend import init_hardware as init_hardware
from .engines._default_backend import release_hardware as release_hardware
from .engines._raster import SpikeRaster as SpikeRaster
from .modules._batch_dropout import BatchDropout as BatchDropout
from .modules._hx_module import HXBaseExperimentModule as HXBaseExperimentModule
from .modules._hx_module import HXFunctionalModule as HXFunctionalModule
from .modules._hx_module import HXModule as HXModule
from .modules._hx_module_wrapper import HXModuleWrapper as HXModuleWrapper
from .modules._input_neuron import InputNeuron as InputNeuron
from .modules._sparse_synapse import SparseSynapse as SparseSynapse
from .modules._synapse import EventPropSynapse as EventPropSynapse
from .modules._synapse import Synapse as Synapse
from .modules.neuron._aelif import AELIF as AELIF
from .modules.neuron._exponential import NeuronExp as NeuronExp
from .modules.neuron._exponential import ReadoutNeuronExp as ReadoutNeuronExp
from .modules.neuron._li import LI as LI
from .modules.neuron._li import ReadoutNeuron as ReadoutNeuron
from .modules.neuron._lif import LIF as LIF
from .modules.neuron._lif import EventPropLIF as EventPropLIF
from .modules.neuron._lif import Neuron as Neuron
from .utils._from_nir import ConversionConfig as ConversionConfig
from .utils._from_nir import from_nir as from_nir
from .utils._from_nir_data import from_nir_data as from_nir_data
from .utils._to_nir import to_nir as to_nir
from .utils._to_nir_data import to_nir_data as to_nir_data

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
