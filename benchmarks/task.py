"""The task all contenders time: the Yin-Yang training step of jaxsnn's own example.

Settings are those of ``jaxsnn/examples/event/yinyang_layered_event_prop.py`` in jaxsnn 0.3.0. Times
in seconds. The output weights shrink with the hidden size, so that the drive of the output neurons,
and with it the number of events that matter to them, stays what it is with 100 hidden neurons.
"""

from dataclasses import dataclass

import numpy as np

from evtorch import torch_api as snn

TAU_SYN = 6e-6
TAU_MEM = 12e-6
T_MAX = 4 * TAU_SYN
T_LATE = 2 * TAU_SYN
TARGET_CORRECT = 0.8 * TAU_SYN
TARGET_WRONG = 1.2 * TAU_SYN
LEARNING_RATE = 0.005
GRADIENT_CLIP = 0.01
INPUTS = 5
CLASSES = 3
DUPLICATION = 5  # the example sends every input spike five times


@dataclass(frozen=True)
class Task:
    """Inputs, targets and initial weights, the same for every contender.

    ``inputs``: ``(batches, batch, 5)`` values in [0, 1], spike times in units of ``T_LATE``.
    ``targets``: ``(batches, batch, 3)`` target times of the output neurons, seconds.
    ``weights``: ``(out, in)`` for the two layers, for input spikes that come five times each.
    """

    hidden: int
    inputs: np.ndarray
    targets: np.ndarray
    weights: tuple[np.ndarray, np.ndarray]

    @property
    def batches(self) -> int:
        return len(self.inputs)


def make_task(hidden: int = 100, batch: int = 64, batches: int = 20, seed: int = 0) -> Task:
    """Draw a task; equal arguments give equal tasks."""
    samples = snn.datasets.YinYang(batches * batch, seed)
    points = np.pad(samples.values.numpy(), ((0, 0), (0, 1)))  # the bias spike comes at time 0
    is_target = samples.classes.numpy()[:, None] == np.arange(CLASSES)
    targets = np.where(is_target, TARGET_CORRECT, TARGET_WRONG).astype(np.float32)
    rng = np.random.default_rng(seed)
    first = rng.normal(3.0 / 5, 1.6 / 5, (hidden, INPUTS))
    second = rng.normal(0.5, 0.8, (CLASSES, hidden)) * 100 / hidden
    return Task(
        hidden=hidden,
        inputs=points.reshape(batches, batch, INPUTS),
        targets=targets.reshape(batches, batch, CLASSES),
        weights=(first.astype(np.float32), second.astype(np.float32)),
    )
