"""The benchmark's contenders run and simulate the same network."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ._simulators import nest_needed

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


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what these libraries import
def test_errors_of_first_spikes_shrink_with_steps_and_are_rounding_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    task_of: Any = importlib.import_module("exactness_task")
    contenders: Any = importlib.import_module("exactness_contenders").CONTENDERS
    errors_of: Any = importlib.import_module("exactness").errors
    task = task_of.make_task()
    true = task_of.reference(task)
    assert np.isfinite(true).mean() > 0.5

    def median(name: str) -> float:
        package, make = contenders[name]
        return errors_of(make(task).first(), true, package != "evtorch", name)["median error"]

    assert median("evtorch, float64") < 1e-15
    assert median("evtorch, float32") < 1e-8
    for library in ("norse", "snntorch"):
        coarse, fine = (median(f"{library}, steps of {dt} ms") for dt in (1, 0.1))
        assert 1e-5 < fine < 0.2 * coarse < 1e-3


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("way", ["loop", "compiled"])
def test_a_soak_notices_what_a_fresh_process_finds_otherwise(
    way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    soak: Any = importlib.import_module("soak")
    rows = soak.train(way, 4, 2, tmp_path)
    assert [row["steps"] for row in rows] == [2, 4]
    assert all(row["finite"] and row["resident"] > 100 < row["maps"] for row in rows)
    assert soak.again(way, tmp_path) == {"1": [], "2": []}
    kept = torch.load(tmp_path / "2.pt", weights_only=True)
    kept["after"]["gradients"]["1.weight"] += 1e-6
    torch.save(kept, tmp_path / "2.pt")
    different = soak.again(way, tmp_path)
    assert different == {"1": [], "2": ["gradients of 1.weight"]}
    answers = {"train": rows, "again": different}
    monkeypatch.setattr(soak, "in_process", lambda _, what, *more: answers[what])
    rows, wrong = soak.measured(way, 4, 2)
    assert wrong == [f"{way}, step 4: other gradients of 1.weight"]
    table = soak.table(rows)
    assert [line.split(" | ")[-1] for line in table[2:4]] == ["yes |", "**no** |"]
    assert table[-1].startswith("From step 2 to 4: ")


def test_parting_compares_steps_from_the_same_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    parting: Any = importlib.import_module("parting")
    found = parting.one_step("compiled", 0, torch.float32, 3)
    assert max(found["loss"]) < 1e-6 > max(found["weights"])
    losses = {"loop": [1.0, 2.0], "moved": [1.5, 1.0], "compiled": [3.0, 1.0], "both": [1.0, 0.9]}
    monkeypatch.setattr(parting, "last_loss", lambda way, seed, steps: losses[way][seed])
    *rows, one, other, between = parting.loss_table(2, 1)
    assert rows[3:5] == [
        "| 1 | 2.0000 | 1.0000 | 1.0000 | 0.9000 |",
        "| median | 1.5000 | 1.2500 | 2.0000 | 0.9500 |",
    ]
    assert "in 1 of 2 seeds; the median difference, without its sign, is 1.500" in one
    assert "in 0 of 2 seeds" in other
    assert "in 1 of 2 seeds" in between


def test_all_differences_between_precisions_are_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    rounding: Any = importlib.import_module("rounding")
    kind = next(kind for kind in rounding.KINDS if kind.grazing)
    found = rounding.compare(kind, 0, 300)
    assert (~found.same).sum() > 100
    assert rounding.unexplained([found], 0) == []
    exact = rounding.simulated

    def late(kind: Any, net: Any, dtype: Any) -> Any:
        times, overflow = exact(kind, net, dtype)
        return times + (1e-3 if dtype == np.float32 else 0), overflow

    monkeypatch.setattr(rounding, "simulated", late)
    wrong = rounding.compare(kind, 0, 300)
    assert len(rounding.unexplained([wrong], 0)) > 100
    assert "float32 is wrong by" in rounding.report([wrong], 0, 1.0)


@nest_needed
def test_simulators_find_the_spikes_of_the_same_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    simulators: Any = importlib.import_module("simulators")
    task = {**simulators.network(40), "t_max": 0.1}
    reference = simulators.run(simulators.ROWS[0], task, tmp_path)
    assert len(reference["time"]) > 30
    brian2 = simulators.in_brian2(0.1)
    brian2.settings["target"] = "numpy"  # compiles nothing

    def error(row: Any) -> Any:
        return simulators.compare(simulators.run(row, task, tmp_path), reference, row.shifts)

    assert error(simulators.in_nest("iaf_psc_exp_ps_lossless", 0.1)).largest < 1e-13
    for on_clock in (simulators.in_nest("iaf_psc_exp", 0.1, on_clock=True), brian2):
        assert 1e-6 < error(on_clock).median < 1e-4
