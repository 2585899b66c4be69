"""Independent reference: one neuron at a time, event by event, plain Python floats (float64).

Nothing here shares code, formulas for crossings, or data layout with the library: every threshold
crossing and every extremum is found by bisection.
"""

from ._connected import ConnectedNetworks as ConnectedNetworks
from ._connected import Synapses as Synapses
from ._connected import all_to_all as all_to_all
from ._connected import connected_networks as connected_networks
from ._connected import convolution as convolution
from ._gradients import central_difference as central_difference
from ._leaky import leaky_integral as leaky_integral
from ._leaky import leaky_maximum as leaky_maximum
from ._leaky import leaky_value as leaky_value
from ._networks import CONSTANTS as CONSTANTS
from ._networks import Networks as Networks
from ._networks import random_networks as random_networks
from ._neuron import Neuron as Neuron
from ._neuron import Run as Run
from ._neuron import propagate as propagate
from ._neuron import simulate as simulate
from ._observed import state_at as state_at
from ._recurrent import RecurrentRun as RecurrentRun
from ._recurrent import simulate_recurrent as simulate_recurrent
