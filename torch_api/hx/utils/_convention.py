"""hxtorch's convention of NIR.

Time constants are in milliseconds, a spike lets the current jump by the weight, and ``r`` is the
membrane's time constant over its capacitance.
"""

from ...nir._convention import Convention

CONVENTION = Convention.named("hxtorch")
