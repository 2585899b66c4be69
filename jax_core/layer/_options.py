"""The options of layers: their names, types and defaults."""

import math
from typing import Any, TypedDict

from jax import Array

from .._overflow import OnOverflow
from ..connect._lists import Sparse
from ..connect._protocol import Connections
from ..neuron._constants import Constant, Form
from ..simulate._solver import RecurrentSolver, Solver
from ._differentiable import Gradient
from ._lif_state import LIFState
from ._recurrent_lif_state import RecurrentLIFState

DEFAULTS: dict[str, Any] = {
    "tau_mem": 2e-2,
    "tau_syn": 1e-2,
    "v_threshold": 1.0,
    "v_leak": 0.0,
    "v_reset": 0.0,
    "refractory": 0.0,
    "max_spikes": 1,
    "t_max": math.inf,
    "gradient": "eventprop",
    "min_slope": 1e-3,
    "on_overflow": "error",
    "solver": "auto",
    "connections": None,
    "recurrent_connections": None,
    "current": None,
    "state": None,
    "return_state": False,
    "samples": None,
}
"""What signatures repeat for their readers; a test holds that they agree with this list."""


class NeuronOptions(TypedDict, total=False):
    """Neuron constants, and what is known of them."""

    tau_mem: Constant
    tau_syn: Constant
    v_threshold: Constant
    v_leak: Constant
    v_reset: Constant
    refractory: Constant
    t_max: float | Array
    min_slope: float | Array
    form: Form | None
    samples: int | Array | None
    validate: bool


class RecurrentOptions(NeuronOptions, total=False):
    """The options of `recurrent_lif`, for the types of its two forms."""

    recurrent_delay: Constant | None
    max_spikes: int
    on_overflow: OnOverflow
    solver: RecurrentSolver
    connections: Connections | None
    recurrent_connections: Sparse | None
    current: Constant | None
    state: RecurrentLIFState | None


class LIFOptions(NeuronOptions, total=False):
    """Those of `lif`."""

    max_spikes: int
    gradient: Gradient
    on_overflow: OnOverflow
    solver: Solver
    connections: Connections | None
    current: Constant | None
    state: LIFState | None


class ObservedOptions(NeuronOptions, total=False):
    """Those of `lif_observed`."""

    gradient: Gradient
    solver: Solver
    count_missing: bool
    connections: Connections | None
