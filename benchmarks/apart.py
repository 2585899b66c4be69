"""Rows of a benchmark that are measured in a process of their own, on one core."""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def options(
    description: str | None, results: str, probe: tuple[str, str], quick: str
) -> argparse.Namespace:
    """Of such a benchmark: ``quick``, ``out``, and what `in_process` passes on as ``probe``."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help=quick)
    out = Path(__file__).parent / "results" / results
    add("--out", type=Path, default=out, help="(%(default)s)")
    add("--probe", nargs=2, metavar=probe, help="one row, as JSON")
    return parser.parse_args()


def installed(package: str) -> bool:
    """Whether a package is there."""
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def in_process(script: str, *arguments: str) -> dict[str, float]:
    """What ``python script --probe *arguments`` prints as JSON in its last line."""
    command = [sys.executable, script, "--probe", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def pin() -> None:
    """Keep to one core. To be called before JAX starts its threads."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def peak_memory() -> float:
    """The peak of the resident set, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def seconds_of(run: Callable[[], Any]) -> float:
    """The processor's seconds of one call: on one core, others' load does not count."""
    begin = time.process_time()
    run()
    return time.process_time() - begin


def median_seconds(run: Callable[[], Any], total: float, least: int = 1) -> float:
    """The median of `seconds_of` over ``total`` seconds and ``least`` calls, after one more."""
    run()
    found: list[float] = []
    while sum(found) < total or len(found) < least:
        found.append(seconds_of(run))
    return statistics.median(found)
