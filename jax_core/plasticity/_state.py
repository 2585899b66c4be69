"""What a plasticity rule is in the middle of."""

from typing import Any, NamedTuple


class PlasticityState(NamedTuple):
    """Where one piece of a stream ends and the next begins, for a rule.

    All values are those at the end of the piece, ``t_max``, after what happens at that very time;
    ``None`` is what the rule does not have.
    """

    pre: Any = None
    """Traces of the presynaptic spikes, ``(..., in, traces)``: how many, the rule says."""
    post: Any = None
    """Traces of the postsynaptic spikes, ``(..., out, traces)``."""
    eligibility: Any = None
    """Eligibility of each connection, ``(..., out, in)``; of rules that wait for signals."""
    reward: Any = None
    """What is left of earlier rewards, ``(...)``, where they act for a time."""
