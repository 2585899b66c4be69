"""Networks and workers that the worker tests share."""

from pathlib import Path

import numpy as np

from evtorch.jax_core.hardware import Layer, Network, WorkerBackend

BACKENDS = Path(__file__).with_name("_worker_backends.py")
INPUT = np.full((1, 2, 1), 0.25)


def network(neurons: int = 3, max_spikes: int = 2) -> Network:
    return Network((Layer(np.ones((neurons, 2)), 2e-5, 1e-5, 1.0, 0.0, 0.0, 0.0, max_spikes),))


def start(backend: str, **arguments) -> WorkerBackend:
    return WorkerBackend.start(f"{BACKENDS}:{backend}", **{"timeout": 30.0, **arguments})


def assert_answers(worker: WorkerBackend) -> None:
    (spikes,) = worker.run(network(), INPUT, 0.5).spikes
    np.testing.assert_array_equal(spikes, np.broadcast_to([0.25, 1.25], (1, 3, 2)))
