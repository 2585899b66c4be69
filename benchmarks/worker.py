"""Time the worker protocol against a socket that carries the same bytes and nothing else.

    python benchmarks/worker.py [--quick] [--out benchmarks/results]

writes ``worker.md`` and ``worker.json``. The backend answers at once, so what remains is the
protocol: encoding, checksums, both processes' copies, and the wait for the other process. Worker
and bare socket take turns; compare numbers within one table only.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from timing import load, machine, measure

from evtorch.jax_core.hardware import Layer, Network, WorkerBackend

HERE = Path(__file__).parent
TAU_SYN = 1e-5
DURATION = 4 * TAU_SYN
# Sizes of the layers, spikes per neuron, batch.
CASES = {
    "5-120-3, batch 1": ((5, 120, 3), 1, 1),
    "5-120-3, batch 64": ((5, 120, 3), 1, 64),
    "5-120-3, batch 1000": ((5, 120, 3), 1, 1000),
    "256-350-10, 10 spikes, batch 100": ((256, 350, 10), 10, 100),
}


@contextmanager
def bare_socket() -> Iterator[Callable[[int, int], None]]:
    """A process that receives and returns so many bytes, as fast as a Unix socket does it."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/socket")
        listener.listen()
        process = subprocess.Popen([sys.executable, HERE / "worker_echo.py", f"{folder}/socket"])
        stream, _ = listener.accept()
        buffer = memoryview(bytearray(2**26))

        def exchange(outgoing: int, incoming: int) -> None:
            buffer[:16] = np.array([outgoing, incoming], "<i8").tobytes()
            stream.sendall(buffer[:outgoing])
            stream.recv_into(buffer[:incoming], 0, socket.MSG_WAITALL)

        try:
            yield exchange
        finally:
            stream.close()
            process.wait(10)


def make_case(sizes: tuple[int, ...], spikes: int, batch: int) -> tuple[Network, np.ndarray]:
    """A network and its input, at hardware time scale."""
    random = np.random.default_rng(0)

    def layer(pre: int, post: int) -> Layer:
        constants = (np.full(post, c) for c in (2 * TAU_SYN, TAU_SYN, 1.0, 0.0, 0.0, 0.0))
        return Layer(random.normal(size=(post, pre)), *constants, max_spikes=spikes)

    layers = tuple(layer(pre, post) for pre, post in pairwise(sizes))
    return Network(layers), np.sort(DURATION * random.random((batch, sizes[0], spikes)))


def time_case(
    worker: WorkerBackend, exchange: Callable[[int, int], None], case: Any, rounds: int
) -> dict[str, Any]:
    """Seconds of a run and of the bare exchange, and the bytes of both messages."""
    network, spikes = make_case(*case)
    seen = worker.run(network, spikes, DURATION)
    sent, received = worker.sent_bytes, worker.received_bytes
    timings = measure(
        {
            "worker": lambda _: worker.run(network, spikes, DURATION),
            "bare socket": lambda _: exchange(sent, received),
        },
        1,
        rounds,
    )
    return {
        "batch": len(spikes),
        "bytes sent": sent,
        "bytes received": received,
        "bytes per observed spike": received / sum(layer.size for layer in seen.spikes),
        **{name: timing._asdict() for name, timing in timings.items()},
    }


def table(results: dict[str, Any]) -> list[str]:
    """Markdown rows, one per case."""
    rows = [
        "| | a run, us | bare socket, us | ratio | samples/s | MB/s | bytes per spike |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, case in results.items():
        worker, bare = case["worker"]["median"], case["bare socket"]["median"]
        megabytes = (case["bytes sent"] + case["bytes received"]) / 1e6
        cells = [
            f"{worker * 1e6:.0f}",
            f"{bare * 1e6:.0f}",
            f"{worker / bare:.1f}",
            f"{case['batch'] / worker:.0f}",
            f"{megabytes / worker:.0f}",
            f"{case['bytes per observed spike']:.2f}",
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return rows


def main() -> None:
    """Run everything and write the two files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repeats, to see that it runs")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    rounds = 2 if arguments.quick else 20
    report: dict[str, Any] = {"machine": machine(), "load": load()}
    lines = ["# The worker protocol, timed", ""]
    with bare_socket() as exchange:
        for transport in ("unix", "tcp"):
            backend = f"{HERE / 'worker_echo.py'}:Instant"
            with WorkerBackend.start(backend, transport=transport) as worker:
                cases = {n: time_case(worker, exchange, c, rounds) for n, c in CASES.items()}
            report[transport] = cases
            title = {"unix": "Unix socket", "tcp": "TCP on loopback"}[transport]
            lines += [f"## {title}", "", *table(cases), ""]
    lines += ["## Machine", "", *(f"- {k}: {v}" for k, v in report["machine"].items())]
    lines.append(f"- load: {report['load']}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "worker.md").write_text("\n".join(lines) + "\n")
    (arguments.out / "worker.json").write_text(json.dumps(report, indent=1) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
