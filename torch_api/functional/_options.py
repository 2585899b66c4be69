"""The options of functions of layers of neurons, for their types."""

from typing import TypedDict

from ...jax_core import Connections, Sparse
from ...jax_core.layer._differentiable import Gradient
from ...jax_core.simulate._solver import RecurrentSolver, Solver
from ..layers._constants import Constant
from ..layers._overflow import OnOverflow
from ..layers._room import Room
from ._lif_state import LIFState
from ._recurrent_lif_state import RecurrentLIFState


class CommonOptions(TypedDict, total=False):
    """Neuron constants, and how far a simulation goes."""

    tau_mem: Constant
    tau_syn: Constant
    v_threshold: Constant
    v_leak: Constant
    v_reset: Constant
    refractory: Constant
    t_max: float
    min_slope: float
    on_overflow: OnOverflow


class NeuronOptions(CommonOptions, total=False):
    """The same, with room for spikes."""

    max_spikes: Room


class LIFOptions(NeuronOptions, total=False):
    """The options of `lif`."""

    gradient: Gradient
    solver: Solver
    connections: Connections | None
    current: Constant | None
    state: LIFState | None


class RecurrentOptions(NeuronOptions, total=False):
    """Those of `recurrent_lif`."""

    recurrent_delay: Constant | None
    solver: RecurrentSolver
    connections: Connections | None
    recurrent_connections: Sparse | None
    current: Constant | None
    state: RecurrentLIFState | None
