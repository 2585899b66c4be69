"""Every example runs from the command line, with settings that keep it short."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from evtorch import torch_api as snn

EXAMPLES = Path(__file__).parent.parent / "examples"
SHORT = {
    "across_frameworks": ["--steps", "9", "--hidden", "20"],
    "compare_hxtorch": [
        *("--epochs", "1", "--hidden", "20", "--train-size", "200", "--dt", "1", "--rounds", "1"),
    ],
    "fine_tune_from_norse": [
        *("--epochs", "1", "--fine-epochs", "1", "--hidden", "20", "--train-size", "200"),
        *("--dt", "2"),
    ],
    "hardware_in_the_loop": [
        *("--chips", "1", "--epochs", "1", "--chip-epochs", "1", "--train-size", "640"),
        *("--hidden", "20", "--small-hidden", "20"),
    ],
    "hx_yinyang": ["--epochs", "1", "--hidden", "20", "--train-size", "500"],
    "yinyang": ["--epochs", "1", "--hidden", "20"],
}


def run(example: str, *arguments: str, cwd: Path) -> str:
    command = [sys.executable, str(EXAMPLES / f"{example}.py"), *arguments]
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_example_has_short_settings_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("[!_]*.py")} == set(SHORT)


@pytest.mark.parametrize("example", SHORT)
def test_example_explains_its_options(example: str, tmp_path: Path) -> None:
    assert "--out" in run(example, "--help", cwd=tmp_path)


@pytest.mark.parametrize(("gradient", "readout"), [("eventprop", "ttfs"), ("fast_and_deep", "li")])
def test_yinyang_writes_what_it_promises(gradient: str, readout: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--gradient", gradient, "--readout", readout, "--out", str(out)]
    printed = run("yinyang", *SHORT["yinyang"], *options, cwd=tmp_path)
    assert printed.strip()
    metrics = json.loads((out / "metrics.json").read_text())
    assert 0.3 < metrics["test_accuracy"] <= 1
    assert metrics["seconds_per_epoch"] > 0
    assert metrics["compile_seconds"] > 0
    assert metrics["settings"]["gradient"] == gradient
    assert metrics["settings"]["readout"] == readout
    assert metrics["settings"]["epochs"] == 1
    state = torch.load(out / "model.pt", weights_only=True)["state_dict"]
    assert any(value.shape == (20, 5) for value in state.values())
    assert all(value.isfinite().all() for value in state.values())
    assert (out / "figure.png").stat().st_size > 10_000
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_hardware_in_the_loop_writes_what_it_promises(tmp_path: Path) -> None:
    out = tmp_path / "out"
    printed = run(
        "hardware_in_the_loop", *SHORT["hardware_in_the_loop"], "--out", str(out), cwd=tmp_path
    )
    metrics = json.loads((out / "metrics.json").read_text())
    assert list(metrics["accuracy"]) == ["5-20-3", "5-20-3, no delays", "5-20-3, delays"]
    for found in metrics["accuracy"].values():
        assert list(found) == ["simulation", "simulated model on the chip", "trained in the loop"]
        for by_state in found.values():
            assert all(0 < value <= 1 for values in by_state.values() for value in values)
    for before, after in metrics["spread"].values():
        assert after < before / 3
    table = (out / "table.md").read_text()
    assert table in printed
    assert len(table.splitlines()) == 2 + 9
    assert (out / "figure.png").stat().st_size > 10_000


def test_yinyang_repeats_itself_with_one_seed(tmp_path: Path) -> None:
    metrics, states = [], []
    for name in ("first", "second"):
        run("yinyang", *SHORT["yinyang"], "--seed", "3", "--out", name, cwd=tmp_path)
        metrics.append(json.loads((tmp_path / name / "metrics.json").read_text()))
        states.append(torch.load(tmp_path / name / "model.pt", weights_only=True)["state_dict"])
    assert metrics[0]["test_accuracy"] == metrics[1]["test_accuracy"]
    assert metrics[0]["settings"]["seed"] == 3
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_code_in_the_readme_runs(tmp_path: Path) -> None:
    readme = (EXAMPLES.parent / "README.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        command = [sys.executable, "-c", block]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, f"{block}\nfailed:\n{done.stderr}"


def test_training_across_frameworks_loses_nothing(tmp_path: Path) -> None:
    run("across_frameworks", *SHORT["across_frameworks"], "--out", str(tmp_path), cwd=tmp_path)
    losses = json.loads((tmp_path / "losses.json").read_text())
    assert losses["difference"] < 1e-4
    assert losses["Conv2d in JAX"][-1] < losses["Conv2d in JAX"][0]


def test_hxtorch_style_script_runs_on_both_engines_and_the_mock(tmp_path: Path) -> None:
    for options in ([], ["--engine", "euler"], ["--hardware"]):
        run("hx_yinyang", *SHORT["hx_yinyang"], *options, "--out", str(tmp_path), cwd=tmp_path)
        metrics = json.loads((tmp_path / "metrics.json").read_text())
        assert 0.2 < metrics["test_accuracy"] <= 1


def test_fine_tuning_writes_what_it_promises(tmp_path: Path) -> None:
    printed = run(
        "fine_tune_from_norse", *SHORT["fine_tune_from_norse"], "--out", ".", cwd=tmp_path
    )
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert [0 < row["test_accuracy"] <= 1 for row in metrics["rows"]] == [True] * 4
    assert metrics["same_answers"] > 0.5
    assert (tmp_path / "table.md").read_text() in printed
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    model = snn.nir.from_nir(tmp_path / "fine_tuned.nir")
    assert [(layer.in_features, layer.out_features) for layer in model] == [(5, 20), (20, 3)]


def test_comparison_with_the_grid_writes_what_it_promises(tmp_path: Path) -> None:
    run("compare_hxtorch", *SHORT["compare_hxtorch"], "--out", str(tmp_path), cwd=tmp_path)
    rows = json.loads((tmp_path / "metrics.json").read_text())["steps"]
    errors = [row["gradient_error"] for row in rows]
    assert errors[0] < 1e-4 < min(errors[1:])
    assert len((tmp_path / "table.md").read_text().splitlines()) == 2 + 3
    assert (tmp_path / "figure.png").stat().st_size > 10_000
