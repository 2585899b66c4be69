"""Spikes of one quadratic integrate-and-fire neuron, by an integrator of differential equations.

It shares nothing with the library: where the voltage is large its inverse is integrated, which goes
through 0 at a spike.
"""

from dataclasses import dataclass

from scipy.integrate import solve_ivp

_LARGE = 3.0


@dataclass
class QuadraticNeuron:
    tau_mem: float
    current: float
    v_start: float

    def spikes(
        self, events: list[tuple[float, float]], end: float, pseudospikes: int = 0
    ) -> list[float]:
        """Times of spikes up to ``end``, and so many altogether with those after it, ascending.

        **Arguments:** ``events``: times and weights of input, ascending.
        """
        found: list[float] = []
        now, v, inverse = 0.0, self.v_start, False
        later = [event for event in events if event[0] > end]
        before = [event for event in events if event[0] <= end]
        for time, weight in [*before, (end, 0.0)]:
            v, inverse = self.move(v, inverse, now, time, self.current, found)
            # 1 / (1/y + w)
            v, now = (v / (1 + weight * v) if inverse else v + weight), time
        if pseudospikes:
            for time, weight in [*later, (now + (pseudospikes + 5) * 4 * self.tau_mem, 0.0)]:
                v, inverse = self.move(v, inverse, now, time, 1.25, found)
                v, now = (v / (1 + weight * v) if inverse else v + weight), time
        return found[:pseudospikes] if pseudospikes else found

    def move(
        self, x: float, inverse: bool, now: float, until: float, current: float, found: list[float]
    ) -> tuple[float, bool]:
        """The voltage, or its inverse, at ``until``; notes spikes."""
        while until - now > 1e-18:
            if not inverse and abs(x) > _LARGE:
                x, inverse = 1 / x, True
            elif inverse and abs(x) > 1.5 / _LARGE:
                x, inverse = 1 / x, False
            x, now = self.piece(x, inverse, now, until, current, found)
        return x, inverse

    def piece(
        self, x: float, inverse: bool, now: float, until: float, current: float, found: list[float]
    ) -> tuple[float, float]:
        def voltage(_, v):
            return (v * (v - 1) + current) / self.tau_mem

        def inverted(_, y):
            return -(1 - y + current * y * y) / self.tau_mem

        def leaves(_, x):
            return abs(x[0]) - (1.6 / _LARGE if inverse else _LARGE * 1.1)

        def infinite(_, x):
            return x[0]

        leaves.terminal = True  # pyright: ignore[reportFunctionMemberAccess]
        infinite.direction = -1  # pyright: ignore[reportFunctionMemberAccess]
        watched = [leaves, infinite] if inverse else [leaves]
        run = solve_ivp(
            inverted if inverse else voltage,
            (now, until),
            [x],
            method="DOP853",
            rtol=1e-12,
            atol=1e-14,
            events=watched,
        )
        if inverse:
            found.extend(float(t) for t in run.t_events[1] if t > now)
        return float(run.y[0, -1]), float(run.t[-1])
