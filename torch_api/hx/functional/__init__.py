"""Functions on dense tensors ``(time, batch, neurons)``."""

from ._aelif import Integrated as Integrated
from ._aelif import cuba_aelif_integration as cuba_aelif_integration
from ._dropout import batch_dropout as batch_dropout
from ._eventprop import EventPropLIFFunction as EventPropLIFFunction
from ._eventprop import EventPropSynapseFunction as EventPropSynapseFunction
from ._li import cuba_li_integration as cuba_li_integration
from ._li import exp_cuba_li_integration as exp_cuba_li_integration
from ._lif import cuba_lif_integration as cuba_lif_integration
from ._lif import exp_cuba_lif_integration as exp_cuba_lif_integration
from ._linear import linear as linear
from ._linear import linear_exponential_clamp as linear_exponential_clamp
from ._linear import linear_sparse as linear_sparse
from ._refractory import refractory_update as refractory_update
from ._spike_source import input_neuron as input_neuron
from ._step_integration_code_factory import CuBaStepCode as CuBaStepCode
from ._superspike import SuperSpike as SuperSpike
from ._superspike import superspike as superspike
from ._threshold import threshold as threshold
from ._unterjubel import Unterjubel as Unterjubel

__all__ = [
    "CuBaStepCode",
    "EventPropLIFFunction",
    "EventPropSynapseFunction",
    "Integrated",
    "SuperSpike",
    "Unterjubel",
    "batch_dropout",
    "cuba_aelif_integration",
    "cuba_li_integration",
    "cuba_lif_integration",
    "exp_cuba_li_integration",
    "exp_cuba_lif_integration",
    "input_neuron",
    "linear",
    "linear_exponential_clamp",
    "linear_sparse",
    "refractory_update",
    "superspike",
    "threshold",
]


def __dir__() -> list[str]:
    return __all__
