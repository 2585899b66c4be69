"""Networks and spikes from and to NIR, other frameworks and sensors.

What writes NIR objects or reads files of networks needs the package ``nir``
(``pip install nir``); importing this package does not.
"""

from ._aer import aer_from_events as aer_from_events
from ._aer import events_from_aer as events_from_aer
from ._aer import events_from_tonic as events_from_tonic
from ._aer import tonic_from_events as tonic_from_events
from ._compare import Comparison as Comparison
from ._compare import NodeComparison as NodeComparison
from ._compare import compare as compare
from ._convention import Convention as Convention
from ._data import from_nir_data as from_nir_data
from ._data import to_nir_data as to_nir_data
from ._modules import from_torch as from_torch
from ._read import from_nir as from_nir
from ._write import to_nir as to_nir

__all__ = [
    "Comparison",
    "Convention",
    "NodeComparison",
    "aer_from_events",
    "compare",
    "events_from_aer",
    "events_from_tonic",
    "from_nir",
    "from_nir_data",
    "from_torch",
    "to_nir",
    "to_nir_data",
    "tonic_from_events",
]


def __dir__() -> list[str]:
    return __all__
