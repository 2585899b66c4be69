"""A single current-based leaky integrate-and-fire neuron, simulated from event to event.

Voltages are measured from the leak potential inside this file (``v``), absolute outside (``V``).
"""

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Neuron:
    """Constants of one neuron; any consistent units."""

    tau_mem: float
    tau_syn: float
    v_threshold: float = 1.0
    v_leak: float = 0.0
    v_reset: float = 0.0
    refractory: float = 0.0

    @property
    def threshold(self) -> float:
        return self.v_threshold - self.v_leak

    @property
    def reset(self) -> float:
        return self.v_reset - self.v_leak

    @property
    def horizon(self) -> float:
        """After this long without input everything that decays has left float64's range."""
        return 700 * max(self.tau_mem, self.tau_syn)


@dataclass
class Run:
    """What one neuron did."""

    spikes: list[float] = field(default_factory=list)
    """Ascending spike times, at most ``max_spikes`` of them."""
    slopes: list[float] = field(default_factory=list)
    """``tau_mem dV/dt / (v_threshold - v_reset)`` just before each spike."""
    condition: list[float] = field(default_factory=list)
    """Shift of each spike, in units of ``tau_mem``, per relative perturbation of all voltages."""
    margin: float = math.inf
    """Distance to another spike pattern, in units of ``v_threshold - v_reset``: how far every
    silent stretch stayed below threshold and every firing one would have risen above it."""
    gap: float = math.inf
    """Distance in units of ``tau_mem`` between an input and a spike or an end of refractoriness,
    where gradients jump."""
    overflow: bool = False
    """Whether there was a further spike up to ``t_max``."""
    segments: list[tuple[float, float, float, bool]] = field(default_factory=list)
    """(start, v, current, held at reset) of every stretch between events."""
    neuron: Neuron | None = None

    def add_spike(self, t: float, slope: float, moved: float, inputs: Sequence[float]) -> None:
        """Note a spike at which voltages move by ``moved`` times their relative perturbation."""
        assert self.neuron is not None
        tau_mem = self.neuron.tau_mem
        self.spikes.append(t)
        self.slopes.append(slope)
        self.condition.append((moved / slope if slope > 0 else math.inf) + t / tau_mem)
        for event in (t, t + self.neuron.refractory):
            nearest = min((abs(event - at) for at in inputs if at < math.inf), default=math.inf)
            self.gap = min(self.gap, nearest / tau_mem)

    def voltage(self, time: float) -> float:
        """The membrane voltage at ``time``, which is no event's and no spike's."""
        assert self.neuron is not None
        at = bisect.bisect_right(self.segments, time, key=lambda segment: segment[0]) - 1
        start, v, current, held = self.segments[at]
        if not held:
            v, _ = propagate(self.neuron, v, current, time - start)
        return v + self.neuron.v_leak


def propagate(neuron: Neuron, v: float, current: float, u: float) -> tuple[float, float]:
    """Voltage from leak and current after the time ``u`` without events."""
    tau_mem, tau_syn = neuron.tau_mem, neuron.tau_syn
    gap = tau_mem - tau_syn
    if gap == 0:
        psp = u / tau_mem * math.exp(-u / tau_mem)
    else:
        # The difference of the exponentials, the slower one factored out: expm1 keeps near
        # equality accurate and its argument negative.
        rate = abs(gap) / (tau_mem * tau_syn)
        slow = math.exp(-u / max(tau_mem, tau_syn))
        psp = tau_syn / abs(gap) * slow * -math.expm1(-rate * u)
    return v * math.exp(-u / tau_mem) + current * psp, current * math.exp(-u / tau_syn)


def first_true(predicate: Callable[[float], bool], low: float, high: float) -> float:
    """The smallest float in ``(low, high]`` at which a predicate that turns true once is true."""
    while True:
        middle = low + (high - low) / 2
        if not low < middle < high:
            return high
        if predicate(middle):
            high = middle
        else:
            low = middle


def maximum_before(neuron: Neuron, v: float, current: float, duration: float) -> float:
    """Where in ``[0, duration]`` the voltage peaks; ``duration`` if there is no interior peak.

    ``dV/dt`` is a sum of two exponentials, so that it changes sign at most once.
    """

    def falling(u: float) -> bool:
        v_u, current_u = propagate(neuron, v, current, u)
        return current_u < v_u

    if current > v and falling(duration):
        return first_true(falling, 0.0, duration)
    return duration


def first_crossing(
    neuron: Neuron, v: float, current: float, duration: float
) -> tuple[float | None, float]:
    """When within ``duration`` the voltage reaches the threshold, and how far its peak is above."""
    peak = maximum_before(neuron, v, current, duration)
    height = propagate(neuron, v, current, peak)[0] - neuron.threshold
    if height < 0:
        return None, height

    def reached(u: float) -> bool:
        return propagate(neuron, v, current, u)[0] >= neuron.threshold

    return first_true(reached, 0.0, peak), height


def simulate(
    neuron: Neuron,
    times: Sequence[float],
    weights: Sequence[float],
    max_spikes: int = 1,
    t_max: float = math.inf,
) -> Run:
    """Run one neuron on input spikes ``times``, in any order, and their synapses' ``weights``."""
    arrivals = sorted((t, w) for t, w in zip(times, weights, strict=True) if t < math.inf)
    run = Run(neuron=neuron)
    jump = neuron.threshold - neuron.reset
    v = neuron.reset if neuron.threshold <= 0 else 0.0
    t, current, held_until = 0.0, 0.0, 0.0
    scale = abs(neuron.v_leak) + abs(neuron.v_threshold) + abs(neuron.v_reset)
    # Sensitivity of the present voltage to earlier spikes' shifts, measured at the last restart.
    restart, shift = 0.0, 0.0
    while True:
        while arrivals and arrivals[0][0] <= t:
            current += arrivals.pop(0)[1]
            scale = max(scale, abs(current))
        if run.spikes and t == held_until:
            restart, shift = t, run.condition[-1] * abs(current - v) / jump
        held = t < held_until
        run.segments.append((t, v, current, held))
        end = min(arrivals[0][0] if arrivals else math.inf, t_max)
        if held:
            end = min(end, held_until)
            if end == t_max:
                break
            current *= math.exp(-(end - t) / neuron.tau_syn)
            t = end
            continue
        u, height = first_crossing(neuron, v, current, min(end - t, neuron.horizon))
        run.margin = min(run.margin, abs(height) / jump)
        if u is None:
            if end == t_max:
                break
            v, current = propagate(neuron, v, current, end - t)
            t = end
            continue
        t += u
        if len(run.spikes) == max_spikes:
            run.overflow = True
            break
        v, current = propagate(neuron, v, current, u)
        carried = shift * math.exp(-(t - restart) / neuron.tau_mem)
        run.add_spike(t, max((current - v) / jump, 0.0), scale / jump + carried, times)
        v, held_until = neuron.reset, t + neuron.refractory
    return run
