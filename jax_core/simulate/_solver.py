"""Which of two solvers a layer is simulated with: in lockstep, or in chunks of events."""

from typing import Any, Literal, get_args

from ..neuron._constants import Form

# Layers with fewer slots for events, or fewer pairs of lanes and slots, are as fast in lockstep and
# compile sooner, and those with room for a spike in every few intervals are faster; where neurons
# spike once, larger ones are, too (benchmarks/results/scale.md).
_LEAST_SLOTS, _SLOTS_PER_SPIKE = 64, 8
_LEAST_PAIRS, _LEAST_PAIRS_ONCE = 1 << 17, 1 << 21

Solver = Literal["auto", "lockstep", "chunked"]
RecurrentSolver = Literal["auto", "lockstep", "chunked", "lists"]


def check_solver(solver: str, kind: Any = Solver) -> None:
    """Check the name of a solver; ``kind``: one of the types above."""
    *names, last = (f'"{name}"' for name in get_args(kind))
    if solver not in get_args(kind):
        raise ValueError(f"solver must be {', '.join(names)} or {last}, got {solver!r}")


def goes_in_chunks(solver: Solver, slots: int, lanes: int, room: int) -> bool:
    """Whether to go through events in chunks, for a layer with so many slots for a sample's events,
    so many lanes, and ``room`` for so many spikes of each."""
    if solver != "auto" or lanes == 0:
        return solver == "chunked" and lanes > 0
    enough = max(_LEAST_SLOTS, _SLOTS_PER_SPIKE * room)
    return slots >= enough and slots * lanes >= _LEAST_PAIRS


def simulates_in_chunks(solver: Solver, slots: int, lanes: int, room: int, form: Form) -> bool:
    """Whether to do so in the simulation; first spikes have ways of their own to be fast."""
    if not form.spikes_once:
        return goes_in_chunks(solver, slots, lanes, room)
    is_fast = form.ratio == 2 or slots * lanes < _LEAST_PAIRS_ONCE
    return goes_in_chunks(solver, slots, lanes, 1) and not (solver == "auto" and is_fast)
