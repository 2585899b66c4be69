"""Random feed-forward layers that mix everything a neuron can be."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import DTypeLike

from ._neuron import Neuron, Run, simulate

CONSTANTS = ("tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset", "refractory")
# tau_mem / tau_syn, besides ratios drawn from [0.2, 8].
SPECIAL_RATIOS = (1.0, 2.0, 1 + 1e-9, 1 - 1e-9, 1 + 1e-6, 1 - 1e-4, 1 + 1e-3, 2 * (1 + 1e-7))


@dataclass(frozen=True)
class Networks:
    """Layers of one shape, each with its own input, weights and neuron constants."""

    spikes: np.ndarray
    """``(networks, in, input spikes)``, ``inf`` where there is no spike."""
    weight: np.ndarray
    """``(networks, out, in)``."""
    constants: dict[str, np.ndarray]
    """``(networks, out)`` for each name in ``CONSTANTS``."""
    t_max: float
    max_spikes: int

    def neuron(self, network: int, post: int) -> Neuron:
        return Neuron(**{name: float(self.constants[name][network, post]) for name in CONSTANTS})

    def run(self, network: int, post: int) -> Run:
        times = self.spikes[network].astype(np.float64)
        weights = np.repeat(self.weight[network, post].astype(np.float64), times.shape[-1])
        return simulate(
            self.neuron(network, post),
            times.ravel().tolist(),
            weights.tolist(),
            self.max_spikes,
            self.t_max,
        )

    @cached_property
    def runs(self) -> list[list[Run]]:
        networks, post, _ = self.weight.shape
        return [[self.run(b, n) for n in range(post)] for b in range(networks)]

    @cached_property
    def spike_times(self) -> np.ndarray:
        """``(networks, out, max_spikes)``, padded with ``inf``."""
        return np.array(
            [
                [run.spikes + [math.inf] * (self.max_spikes - len(run.spikes)) for run in network]
                for network in self.runs
            ]
        )

    def measure(self, name: str) -> np.ndarray:
        """``(networks, out)``: "margin", "gap", least "slope" or largest "condition" of a run."""
        of_run = {
            "margin": lambda run: run.margin,
            "gap": lambda run: run.gap,
            "slope": lambda run: min(run.slopes, default=math.inf),
            "condition": lambda run: max(run.condition, default=0.0),
        }[name]
        return np.array([[of_run(run) for run in network] for network in self.runs])

    def select(self, keep: np.ndarray) -> "Networks":
        """The networks at which ``keep (networks,)`` holds."""
        constants = {name: value[keep] for name, value in self.constants.items()}
        return Networks(
            self.spikes[keep], self.weight[keep], constants, self.t_max, self.max_spikes
        )

    def astype(self, dtype: DTypeLike) -> "Networks":
        constants = {name: value.astype(dtype) for name, value in self.constants.items()}
        return Networks(
            self.spikes.astype(dtype),
            self.weight.astype(dtype),
            constants,
            self.t_max,
            self.max_spikes,
        )

    def scaled(self, unit: float) -> "Networks":
        """The same networks with all times multiplied by ``unit``, in the same precision."""
        dtype = self.spikes.dtype.type
        constants = dict(self.constants)
        for name in ("tau_mem", "tau_syn", "refractory"):
            constants[name] = constants[name] * dtype(unit)
        return Networks(
            self.spikes * dtype(unit), self.weight, constants, self.t_max * unit, self.max_spikes
        )


def random_constants(rng: np.random.Generator, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Neuron constants of that shape, by name."""
    tau_syn = rng.uniform(0.5, 1.5, shape)
    ratio = np.exp(rng.uniform(math.log(0.2), math.log(8), shape))
    ratio = np.where(rng.random(shape) < 0.4, rng.choice(SPECIAL_RATIOS, shape), ratio)
    v_reset = np.where(rng.random(shape) < 0.4, 0.0, rng.uniform(-1, 1, shape))
    v_threshold = v_reset + rng.uniform(0.5, 1.5, shape)
    # Most neurons rest below threshold; every sixth leaks over it and fires without input.
    fraction = np.where(rng.random(shape) < 1 / 6, 1.05, -0.5) + rng.uniform(0, 1.2, shape)
    v_leak = v_reset + np.minimum(fraction, np.where(fraction < 1.05, 0.7, math.inf)) * (
        v_threshold - v_reset
    )
    v_leak = np.where((v_reset == 0) & (rng.random(shape) < 0.5), 0.0, v_leak)
    kind = rng.random(shape)
    refractory = np.where(kind < 0.5, 0.0, 0.01 + rng.exponential(0.7, shape))
    refractory = np.where(kind > 0.85, math.inf, refractory)
    return {
        "tau_mem": tau_syn * ratio,
        "tau_syn": tau_syn,
        "v_threshold": v_threshold,
        "v_leak": v_leak,
        "v_reset": v_reset,
        "refractory": refractory,
    }


def random_networks(
    seed: int,
    networks: int,
    pre: int = 6,
    input_spikes: int = 2,
    post: int = 4,
    max_spikes: int = 4,
    t_max: float = math.inf,
    duration: float = 6.0,
    fixed: dict[str, float] | None = None,
    dtype: DTypeLike = np.float64,
) -> Networks:
    """Draw ``networks`` layers ``(pre -> post)``; times in units of about one ``tau_syn``.

    Inputs lie in ``[0.05, duration]``, a fifth of their slots is ``inf``, and every fourth network
    has two coincident ones. Constants in ``fixed`` have that value in all neurons. The reference
    sees all values as rounded to ``dtype``.
    """
    rng = np.random.default_rng(seed)
    spikes = np.sort(rng.uniform(0.05, duration, (networks, pre, input_spikes)), axis=-1)
    coincident = rng.random(networks) < 0.25
    spikes[coincident, 1] = spikes[coincident, 0]
    missing = rng.random(spikes.shape) < 0.2
    spikes = np.sort(np.where(missing, math.inf, spikes), axis=-1)
    constants = random_constants(rng, (networks, post))
    for name, value in (fixed or {}).items():
        constants[name] = np.full((networks, post), value)
    # A postsynaptic potential's height falls with tau_mem / tau_syn.
    height = (constants["v_threshold"] - constants["v_reset"]) * (
        0.5 + constants["tau_mem"] / constants["tau_syn"]
    )
    weight = rng.normal(0.45, 1.1, (networks, post, pre)) * height[..., None]
    return Networks(spikes, weight, constants, t_max, max_spikes).astype(dtype)
