"""Pictures of spikes, voltages, weights and training by matplotlib, and a page for a browser.

Every function takes what layers return, of one sample where it says so, draws into the axes ``ax``
(``None``: into new ones), and returns them. Times are in seconds where they go in, and in the
unit ``unit`` in the picture. All need the package matplotlib (``pip install 'evtorch[plots]'``);
importing this package does not. `view` writes a page that needs nothing.
"""

from ._decisions import decisions as decisions
from ._health import health as health
from ._parameters import delays as delays
from ._parameters import weights as weights
from ._spikes import intervals as intervals
from ._spikes import raster as raster
from ._spikes import rates as rates
from ._view import view as view
from ._voltage import voltage as voltage

__all__ = [
    "decisions",
    "delays",
    "health",
    "intervals",
    "raster",
    "rates",
    "view",
    "voltage",
    "weights",
]


def __dir__() -> list[str]:
    return __all__
