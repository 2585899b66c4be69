"""A neuron whose spikes are given: nothing is searched for, each of them resets it."""

from collections.abc import Sequence

from ._neuron import Neuron, propagate


def state_at(
    neuron: Neuron, arrivals: Sequence[tuple[float, float]], resets: Sequence[float], look: float
) -> tuple[float, float]:
    """Voltage and current at ``look``; what happens at that very time has happened.

    **Arguments:** ``arrivals``: times and weights of input spikes; ``resets``: the own spikes.
    """
    happening = [(t, False, w) for t, w in arrivals] + [(t, True, 0.0) for t in resets]
    v, current = neuron.reset if neuron.threshold <= 0 else 0.0, 0.0
    now, held = 0.0, 0.0
    for t, is_reset, weight in [*sorted(x for x in happening if x[0] <= look), (look, False, 0.0)]:
        free = min(max(held, now), t)
        _, current = propagate(neuron, v, current, free - now)
        v, current = propagate(neuron, v, current, t - free)
        now = t
        current += weight
        if is_reset:
            v, held = neuron.reset, t + neuron.refractory
    return neuron.v_leak + v, current
