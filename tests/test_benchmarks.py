"""The benchmark's contenders run and simulate the same network."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"

COMPARE = f"""
import sys
sys.path.insert(0, {str(BENCHMARKS)!r})
import json
import numpy as np
import task as t
from evtorch_contenders import jax_contender, torch_contender
from jaxsnn_contenders import jaxsnn_contender
task = t.make_task(hidden=10, batch=8, batches=1)
builders = (torch_contender, jax_contender, jaxsnn_contender)
print(json.dumps([(build(task).forward(0) / t.TAU_SYN).tolist() for build in builders]))
"""


def test_contenders_compute_the_same_first_spikes() -> None:
    done = subprocess.run([sys.executable, "-c", COMPARE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, *others = json.loads(done.stdout.splitlines()[-1])
    assert all(0 < time < 4 for sample in first for time in sample)
    for other in others:
        assert other == [pytest.approx(sample, rel=1e-5) for sample in first]


def test_a_training_step_is_timed_in_a_fresh_process() -> None:
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--probe", "evtorch", "--hidden", "10"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    probe = json.loads(done.stdout.splitlines()[-1])
    assert probe["compile seconds"] > probe["second step seconds"] > 0
    assert not probe["memory"] <= 0  # NaN where the system does not tell
