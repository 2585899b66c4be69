"""Networks and spikes from and to NIR, other frameworks and sensors.

Only `from_nir` of a path, `to_nir` and `to_nir_data` need the package ``nir``
(``pip install 'evtorch[nir]'``).
"""

from ._convention import Convention as Convention
from ._read import from_nir as from_nir
from ._write import to_nir as to_nir
