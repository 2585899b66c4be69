"""Spikes of one neuron whose motion is linear, found by looking at a dense grid of times.

``x' = A x``, of which ``x[0]`` is the voltage, measured from where it rests. It shares nothing with
the library: motion by matrix exponentials, crossings by looking everywhere and Brent's method.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.linalg import expm
from scipy.optimize import brentq


@dataclass
class LinearNeuron:
    motion: np.ndarray
    """``A``, ``(n, n)``, per second."""
    arriving: np.ndarray
    """What an input of weight 1 adds to ``x``."""
    threshold: float
    reset: float
    refractory: float = 0.0
    at_spike: np.ndarray | None = None
    """What a spike adds to all but the voltage."""
    start: np.ndarray | None = None
    state: np.ndarray = field(init=False)

    def spikes(
        self, events: list[tuple[float, float]], end: float, points: int = 20000
    ) -> list[float]:
        """Times of spikes up to ``end``, given times and weights of input, ascending."""
        self.state = np.zeros(len(self.motion)) if self.start is None else self.start.copy()
        found, now, free = [], 0.0, 0.0
        pending = [*events, (end, 0.0)]
        while pending:
            time, _ = pending[0]
            if free > now:
                until = min(free, time)
                self.state = expm(self.held() * (until - now)) @ self.state
                now = until
                if now < free or now == time:
                    now = self.receive(pending)
                continue
            if self.state[0] >= self.threshold and time > now:
                at = 0.0
            else:
                at = self.crossing(time - now, max(int(points * (time - now) / end), 4))
            if at is None:
                self.state = expm(self.motion * (time - now)) @ self.state
                now = self.receive(pending)
                continue
            self.state = expm(self.motion * at) @ self.state
            now += at
            found.append(now)
            self.state[0] = self.reset
            if self.at_spike is not None:
                self.state[1:] += self.at_spike[1:]
            free = now + self.refractory
        return [time for time in found if time < end]

    def receive(self, pending: list[tuple[float, float]]) -> float:
        time, weight = pending.pop(0)
        self.state = self.state + weight * self.arriving
        return time

    def held(self) -> np.ndarray:
        """Motion with the voltage held where it is."""
        motion = self.motion.copy()
        motion[0] = 0
        self.state[0] = self.reset
        return motion

    def crossing(self, length: float, points: int) -> float | None:
        """When the voltage first rises through the threshold within a time."""
        u = np.linspace(0, length, points + 1)
        step, x, v = expm(self.motion * (u[1] - u[0])), self.state, [self.state[0]]
        for _ in range(points):
            x = step @ x
            v.append(x[0])
        above = np.asarray(v) >= self.threshold
        rises = np.nonzero(above[1:] & ~above[:-1])[0]
        if len(rises) == 0:
            return None

        def excess(u: float) -> float:
            return (expm(self.motion * u) @ self.state)[0] - self.threshold

        low, high = u[rises[0]], u[rises[0] + 1]
        if excess(high) <= 0:
            return float(high)
        return float(brentq(excess, low, high, xtol=1e-17, rtol=1e-14))  # pyright: ignore
