"""Whether spike times obey a neuron's equations, and but for which error of the voltage.

Nothing of the library is in here: NumPy goes from event to event in float64.
"""

from typing import NamedTuple

import numpy as np


class Lanes(NamedTuple):
    """Neurons, one for each entry of the first axis, and all that happens to them."""

    time: np.ndarray
    """When inputs arrive, ``inf`` for none."""
    weight: np.ndarray
    own: np.ndarray
    """When the neuron spikes."""
    slack: np.ndarray
    """By how many units of rounding it may be early, in the shape of ``own``."""
    constants: dict[str, np.ndarray]
    t_max: float


class _State(NamedTuple):
    """Voltage and current, and the sizes of all that they are sums of; voltages from the leak's."""

    v: np.ndarray
    i: np.ndarray
    size_v: np.ndarray
    size_i: np.ndarray


class _Taus:
    """tau_mem dV/dt = -V + I, tau_syn dI/dt = -I."""

    def __init__(self, tau_mem: np.ndarray, tau_syn: np.ndarray) -> None:
        self.mem, self.syn, self.gap = tau_mem, tau_syn, 1 / tau_syn - 1 / tau_mem

    def after(self, state: _State, u: np.ndarray) -> _State:
        membrane, synapse = np.exp(-u / self.mem), np.exp(-u / self.syn)
        same = np.abs(self.gap * u) < 1e-8
        slow = -np.expm1(-np.where(same, 1, self.gap * u)) / np.where(same, 1, self.gap)
        psp = membrane * np.where(same, u * (1 - self.gap * u / 2), slow) / self.mem
        v, i, size_v, size_i = state
        return _State(
            v * membrane + i * psp, i * synapse, size_v * membrane + size_i * psp, size_i * synapse
        )

    def turn(self, state: _State) -> np.ndarray:
        """When the voltage turns: V = I. 0 if not ahead."""
        with np.errstate(divide="ignore", invalid="ignore"):
            x = (state.i - state.v) / (state.v * self.gap * self.mem + state.i)
            y = self.gap * self.mem * x
            u = np.where(np.abs(y) < 1e-8, self.mem * x, np.log1p(y) / self.gap)
        return np.where(np.isfinite(u) & (u > 0), u, 0)


def errors(lanes: Lanes, eps: float) -> np.ndarray:
    """How wrong voltages are if the spikes are right, of each neuron the most, in units of the
    rounding of what they are sums of.

    At a spike the voltage should be at the threshold, and below at any other time. Its rounding is
    ``eps`` times the sum of the sizes of all that the voltage and the threshold are sums of, and
    of what the voltage does, by its steepest possible slope, while time goes on by ``eps`` of it.
    """
    return _walk(lanes, eps)[0]


def highest(lanes: Lanes) -> np.ndarray:
    """The highest voltage of each neuron."""
    return _walk(lanes, 1.0)[1]


def _walk(lanes: Lanes, eps: float) -> tuple[np.ndarray, np.ndarray]:
    c, taus = lanes.constants, _Taus(lanes.constants["tau_mem"], lanes.constants["tau_syn"])
    threshold, reset = (c[name] - c["v_leak"] for name in ("v_threshold", "v_reset"))
    level = np.abs(c["v_threshold"]) + np.abs(c["v_leak"])
    floor = np.abs(c["v_reset"]) + np.abs(c["v_leak"])
    zero = np.zeros(len(threshold))
    begin = np.where(threshold > 0, 0, reset)
    state, now, hold = _State(begin, zero, np.abs(begin), zero), zero, zero
    worst, peak = zero, begin
    for time, weight, spikes, slack in zip(*_events(lanes), strict=True):
        is_held, length = hold > now, time - now
        after = taus.after(state, length)
        top = taus.after(state, np.minimum(taus.turn(state), length))
        for at in (top, after):
            slope = (at.size_v + at.size_i) / taus.mem
            rounding = eps * (at.size_v + level + slope * time)
            error = (at.v - threshold) / rounding
            worst = np.where(is_held, worst, np.maximum(worst, error))
            peak = np.where(is_held, peak, np.maximum(peak, at.v))
        # For a spike in the refractory period there is no excuse.
        low = np.where(is_held, np.inf, -error - slack)
        worst = np.where(spikes, np.maximum(worst, low), worst)
        v, size_v = (
            np.where(is_held, x, y) for x, y in ((state.v, after.v), (state.size_v, after.size_v))
        )
        v, size_v = np.where(spikes, reset, v), np.where(spikes, floor, size_v)
        state = _State(v, after.i + weight, size_v, after.size_i + np.abs(weight))
        now, hold = time, np.where(spikes, time + c["refractory"], hold)
    return worst, peak + c["v_leak"]


def _events(lanes: Lanes) -> list[np.ndarray]:
    """Times, weights, whether the neuron spikes and its slack, one row for each event, the end the
    last."""
    own, end = lanes.own, np.full((len(lanes.own), 1), lanes.t_max)
    release = own + lanes.constants["refractory"][:, None]
    time = np.concatenate([lanes.time, own, release, end], axis=1)
    arrivals, others = lanes.time.shape[1], own.shape[1] + 1
    counts = time <= lanes.t_max
    rows = [
        np.where(counts, time, lanes.t_max),
        counts * np.pad(lanes.weight, ((0, 0), (0, own.shape[1] + others))),
        counts & np.pad(np.isfinite(own), ((0, 0), (arrivals, others))),
        np.pad(lanes.slack, ((0, 0), (arrivals, others))),
    ]
    order = np.argsort(rows[0], axis=1, kind="stable")
    return [np.take_along_axis(x, order, axis=1).T for x in rows]
