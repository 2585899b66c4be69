"""A NIR graph by its own equations, in NumPy and apart from the layers that are made of it.

`Population.run` solves them from event to event, `Population.step` takes the fixed steps of
time-stepped simulators. Times are in seconds.
"""

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from ._convention import Convention
from ._graph import Block
from ._neurons import flat
from ._node import CONVOLUTIONS, SPIKING, Named
from ._shapes import conv_setting, conv_shapes, pool_settings, pool_shapes

Trains = list[list[float]]
_BISECTIONS = 60


@dataclass
class Population:
    """The neurons of a block; arrays ``(neurons,)``.

    ``tau_syn`` is ``None`` for neurons without synapse, ``threshold`` for those without spikes.
    ``kick``: what a spike over a weight of 1 adds to the current, without synapse to the voltage.
    ``drive``: the constant input that a bias makes. ``weights``: from an input, by its number, to
    all neurons. ``delay`` is that of all inputs of a neuron,
    ``loop_delay`` that of its spikes on their way back over ``recurrent``.
    """

    tau_mem: np.ndarray
    tau_syn: np.ndarray | None
    r: np.ndarray
    v_leak: np.ndarray
    threshold: np.ndarray | None
    reset: np.ndarray
    kick: np.ndarray
    drive: np.ndarray
    weights: Callable[[int], np.ndarray]
    delay: np.ndarray
    recurrent: np.ndarray | None
    loop_delay: np.ndarray

    def run(self, inputs: Trains, times: np.ndarray) -> tuple[Trains, np.ndarray]:
        """Solve for the spikes of one sample, and the voltages at ``times``, which ascend from 0.

        A threshold that is passed and left again between two of ``times`` and events is not seen.
        """
        ties = itertools.count()
        agenda = [
            (time, 0, next(ties), kick) for time, kick in self._arrivals(inputs, times[-1]).items()
        ]
        agenda += [(time, 1, next(ties), None) for time in times.tolist()]
        heapq.heapify(agenda)
        spikes: Trains = [[] for _ in self.v_leak]
        state, now = self._initial(), 0.0
        seen = []
        while agenda:
            time, _, _, kick = agenda[0]
            duration, above = self._first_crossing(state, time - now)
            state = self._after(state, duration)
            if above.any():
                now += duration
            else:
                now = time
                heapq.heappop(agenda)
                if kick is None:
                    seen.append(state[0])
                    continue
                state = self._receive(state, kick)
                above = self._above(state[0]) & (self.tau_syn is None)
            state = self._fire(state, above, now, spikes)
            for delay, later in self._returning(above):
                if now + delay <= times[-1]:
                    heapq.heappush(agenda, (now + delay, 0, next(ties), later))
        return spikes, np.array(seen).T

    def step(self, inputs: Trains, dt: float, steps: int) -> tuple[Trains, np.ndarray]:
        """Forward Euler in steps of ``dt``; a spike counts in the step nearest to its time."""
        arrivals: dict[int, np.ndarray] = {}
        for time, kick in self._arrivals(inputs, steps * dt).items():
            step = round(time / dt)
            arrivals[step] = arrivals.get(step, 0.0) + kick
        spikes: Trains = [[] for _ in self.v_leak]
        v, i = self._initial()
        seen = []
        for step in range(steps):
            v, i = self._receive((v, i), arrivals.get(step, 0.0))
            if self.tau_syn is None:
                v = v + dt / self.tau_mem * (self.v_leak + self.r * self.drive - v)
            else:
                v = v + dt / self.tau_mem * (self.v_leak - v + self.r * i)
                i = i + dt / self.tau_syn * (self.drive - i)
            above = self._above(v)
            v, i = self._fire((v, i), above, step * dt, spikes)
            for delay, kick in self._returning(above):
                later = step + max(round(delay / dt), 1)
                arrivals[later] = arrivals.get(later, 0.0) + kick
            seen.append(v)
        return spikes, np.array(seen).T

    def _initial(self) -> tuple[np.ndarray, np.ndarray]:
        v = self.v_leak.copy()
        if self.threshold is not None:
            v = np.where(v < self.threshold, v, self.reset)
        return v, np.zeros_like(v)

    def _arrivals(self, inputs: Trains, end: float) -> dict[float, np.ndarray]:
        """What arrives at which time."""
        found: dict[float, np.ndarray] = {}
        for source, train in enumerate(inputs):
            kicks = self.weights(source) * self.kick if train else self.kick
            for time in train:
                for delay in np.unique(self.delay):
                    if time + delay <= end:
                        mine = self.delay == delay
                        kick = np.where(mine, kicks, 0.0)
                        found[time + delay] = found.get(time + delay, 0.0) + kick
        return found

    def _receive(
        self, state: tuple[np.ndarray, np.ndarray], kick: np.ndarray | float
    ) -> tuple[np.ndarray, np.ndarray]:
        v, i = state
        return (v + kick, i) if self.tau_syn is None else (v, i + kick)

    def _above(self, v: np.ndarray) -> np.ndarray:
        return np.zeros(v.shape, bool) if self.threshold is None else v > self.threshold

    def _fire(
        self,
        state: tuple[np.ndarray, np.ndarray],
        above: np.ndarray,
        time: float,
        spikes: Trains,
    ) -> tuple[np.ndarray, np.ndarray]:
        for neuron in np.flatnonzero(above):
            spikes[neuron].append(float(time))
        state = np.where(above, self.reset, state[0]), state[1]
        if self.recurrent is not None:
            at_once = above & (self.loop_delay == 0)
            state = self._receive(state, self.recurrent @ at_once * self.kick)
        return state

    def _returning(self, above: np.ndarray) -> list[tuple[float, np.ndarray]]:
        """Delays of the neurons that fire, and what then comes back from them."""
        if self.recurrent is None:
            return []
        late = np.flatnonzero(above & (self.loop_delay > 0))
        return [(self.loop_delay[n], self.recurrent[:, n] * self.kick) for n in late]

    def _after(
        self, state: tuple[np.ndarray, np.ndarray], u: float | np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The state a time ``u`` later, without spikes: the equations' closed solution."""
        v, i = state
        rest = self.v_leak + self.r * self.drive
        decay_mem = np.exp(-u / self.tau_mem)
        relaxed = rest + (v - rest) * decay_mem
        if self.tau_syn is None:
            return relaxed, i
        decay = np.exp(-u / self.tau_syn)
        # tau_syn / (tau_mem - tau_syn) (decay_mem - decay), without cancellation for equal ones.
        x = u * np.abs(1 / self.tau_syn - 1 / self.tau_mem)
        ratio = np.where(x > 0, -np.expm1(-x) / np.where(x > 0, x, 1.0), 1.0)
        response = u / self.tau_mem * np.maximum(decay_mem, decay) * ratio
        return relaxed + self.r * (i - self.drive) * response, self.drive + (i - self.drive) * decay

    def _first_crossing(
        self, state: tuple[np.ndarray, np.ndarray], duration: float
    ) -> tuple[float, np.ndarray]:
        """Until when nothing happens, at most ``duration``, and which neurons fire then."""
        above = self._above(self._after(state, duration)[0])
        if not above.any():
            return duration, above
        low, high = np.zeros(above.shape), np.full(above.shape, duration)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            over = self._above(self._after(state, middle)[0])
            low, high = np.where(over, low, middle), np.where(over, middle, high)
        high = np.where(above, high, np.inf)
        return float(high.min()), high == high.min()


def population(block: Block, convention: Convention) -> Population:
    """The neurons of a block, with the parameters of the graph as its writer means them."""
    neuron = block.neuron
    assert neuron is not None
    count = int(np.prod(block.out_shape))
    # Without leak a neuron starts where a spike leaves it.
    leak = "v_reset" if neuron.kind == "IF" else "v_leak"
    get = {"r": flat(neuron, "r", count), "v_leak": flat(neuron, leak, count)}
    unit, area = convention.time_unit, convention.area
    threshold, reset = None, np.zeros(count)
    if neuron.kind in SPIKING:
        threshold, reset = flat(neuron, "v_threshold", count), flat(neuron, "v_reset", count)
    bias = _bias(block.projection, count) + _bias(block.recurrent, count)
    if neuron.kind in ("CubaLIF", "CubaLI"):
        tau_mem = flat(neuron, "tau_mem", count) * unit
        tau_syn = flat(neuron, "tau_syn", count) * unit
        w_in = flat(neuron, "w_in", count)
        literal = convention.current_jump == "area"
        kick = w_in * area / tau_syn if literal else w_in
        drive = w_in * bias if literal else w_in * bias * tau_syn / area
    elif neuron.kind == "IF":
        tau_mem, tau_syn = np.full(count, np.inf), None
        kick, drive = get["r"] * convention.integrated, bias
    else:
        tau_mem, tau_syn = flat(neuron, "tau", count) * unit, None
        kick, drive = get["r"] * area / tau_mem, bias
    delay = np.zeros(count)
    if block.delay is not None:
        delay = flat(block.delay, "delay", count) * unit
    recurrent, loop_delay = None, np.zeros(count)
    if block.recurrent is not None:
        recurrent = block.recurrent.array("weight").astype(np.float64)
    if block.recurrent_delay is not None:
        loop_delay = flat(block.recurrent_delay, "delay", count) * unit
    return Population(
        tau_mem=tau_mem,
        tau_syn=tau_syn,
        threshold=threshold,
        reset=reset,
        kick=kick,
        drive=drive,
        weights=_weights(block),
        delay=delay,
        recurrent=recurrent,
        loop_delay=loop_delay,
        **get,
    )


def _bias(projection: Named | None, count: int) -> np.ndarray:
    if projection is None or getattr(projection.node, "bias", None) is None:
        return np.zeros(count)
    bias = projection.array("bias").astype(np.float64)
    return np.repeat(bias, count // bias.size)


def _weights(block: Block) -> Callable[[int], np.ndarray]:
    """The weights of a projection from one input to all neurons, ``(out,)``."""
    projection = block.projection
    weight = projection.array("weight").astype(np.float64) * block.gain
    if projection.kind not in CONVOLUTIONS:
        return lambda source: weight[:, source]
    shape = conv_shapes(projection, block.arriving)[0]
    settings = {name: conv_setting(projection, name) for name in ("stride", "padding", "dilation")}
    settings["groups"] = int(projection.node.groups)
    convolve = F.conv1d if len(shape) == 2 else F.conv2d

    def seen(source: int) -> np.ndarray:
        pixels = torch.zeros(math.prod(shape), dtype=torch.float64)
        pixels[source] = 1.0
        return (
            convolve(pixels.reshape(1, *shape), torch.as_tensor(weight), **settings).numpy().ravel()
        )

    return seen


def pooled(sample: Trains, block: Block) -> Trains:
    """All spikes of each region of a pool."""
    assert block.pool is not None
    (_, height, width), after = pool_shapes(block.pool, block.arriving)
    size, stride, padding = pool_settings(block.pool)
    found: Trains = []
    for channel, y, x in itertools.product(*(range(n) for n in after)):
        top, left = y * stride[0] - padding[0], x * stride[1] - padding[1]
        rows = range(max(top, 0), min(top + size[0], height))
        columns = range(max(left, 0), min(left + size[1], width))
        region = ((channel * height + row) * width + column for row in rows for column in columns)
        found.append(sorted(time for place in region for time in sample[place]))
    return found
