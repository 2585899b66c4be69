"""Functions on dense tensors ``(time, batch, neurons)``."""

from ._eventprop import EventPropLIFFunction as EventPropLIFFunction
from ._eventprop import EventPropSynapseFunction as EventPropSynapseFunction
from ._integration import Integrated as Integrated
from ._integration import cuba_aelif_integration as cuba_aelif_integration
from ._integration import cuba_li_integration as cuba_li_integration
from ._integration import cuba_lif_integration as cuba_lif_integration
from ._integration import exp_cuba_li_integration as exp_cuba_li_integration
from ._integration import exp_cuba_lif_integration as exp_cuba_lif_integration
from ._linear import batch_dropout as batch_dropout
from ._linear import input_neuron as input_neuron
from ._linear import linear as linear
from ._linear import linear_exponential_clamp as linear_exponential_clamp
from ._linear import linear_sparse as linear_sparse
from ._refractory import refractory_update as refractory_update
from ._step_integration_code_factory import CuBaStepCode as CuBaStepCode
from ._threshold import SuperSpike as SuperSpike
from ._threshold import Unterjubel as Unterjubel
from ._threshold import superspike as superspike
from ._threshold import threshold as threshold

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
