"""Every example runs from the command line, with settings that keep it short.

What they draw can be read, also after an epoch or two.
"""

import importlib
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evtorch import torch_api as snn
from evtorch.torch_api.datasets import YinYang

EXAMPLES = Path(__file__).parent.parent / "examples"
PATH = Path("figure.png")
SHORT = {
    "across_frameworks": ["--steps", "9", "--hidden", "20"],
    "compare_hxtorch": [
        *("--epochs", "1", "--hidden", "20", "--train-size", "200", "--dt", "1", "--rounds", "1"),
    ],
    "delays": ["--epochs", "1", "--hidden", "5", "--train-size", "256"],
    "digits": ["--epochs", "1", "--hidden", "20"],
    "event_stream": ["--epochs", "2", "--hidden", "6", "--train-size", "100", "--test-size", "100"],
    "fine_tune_from_norse": [
        *("--epochs", "1", "--fine-epochs", "1", "--hidden", "20", "--train-size", "200"),
        *("--dt", "2"),
    ],
    "hardware_in_the_loop": [
        *("--chips", "1", "--epochs", "1", "--chip-epochs", "1", "--train-size", "640"),
        *("--hidden", "20", "--small-hidden", "20"),
    ],
    "hx_yinyang": ["--epochs", "1", "--hidden", "20", "--train-size", "500"],
    "reward": ["--updates", "20", "--inputs", "12", "--patterns", "2"],
    "spoken_digits": [
        *("--epochs", "1", "--hidden", "6", "--events", "40", "--train-size", "64"),
        *("--test-size", "32"),
    ],
    "stdp": ["--seconds", "2", "--inputs", "40"],
    "yinyang": ["--epochs", "1", "--hidden", "20"],
}
UNIT_OF_DT = {
    "compare_hxtorch": "microseconds",
    "fine_tune_from_norse": "milliseconds",
    "hx_yinyang": "seconds",
}


def run(example: str, *arguments: str, cwd: Path) -> str:
    command = [sys.executable, str(EXAMPLES / f"{example}.py"), *arguments]
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_example_has_short_settings_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("[!_]*.py")} == set(SHORT)


def ended(example: str, options: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run an example that ends over its options, here; **returns** its exit status."""
    monkeypatch.setattr(sys, "argv", [f"{example}.py", *options])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(EXAMPLES / f"{example}.py"), run_name="__main__")
    return int(end.value.code or 0)


@pytest.mark.usefixtures("imported")
@pytest.mark.parametrize("example", SHORT)
def test_example_explains_its_options(
    example: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(example, ["--help"], monkeypatch) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert (EXAMPLES / f"{example}.py").read_text().splitlines()[0].strip('"') in printed
    assert f"--out OUT folder for results (runs/{example})" in printed
    if example in UNIT_OF_DT:
        assert f" --dt {UNIT_OF_DT[example].upper()}" in printed


@pytest.mark.usefixtures("imported")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--dt 1", "--dt: must be a number of seconds > 0 and at most 5e-06, got '1'"),
        ("--train-size 49", "--train-size: must be at least a batch, 50, got 49"),
    ],
)
def test_options_are_checked_where_they_are_given(
    options: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ended("hx_yinyang", options.split(), monkeypatch) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("gradient", "readout"), [("eventprop", "ttfs"), ("fast_and_deep", "li")])
def test_yinyang_writes_what_it_promises(gradient: str, readout: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--gradient", gradient, "--readout", readout, "--out", str(out)]
    printed = run("yinyang", *SHORT["yinyang"], *options, cwd=tmp_path)
    for what in ("compiling", "measuring accuracies", "drawing the figure"):
        assert f"{what}" in printed
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
    assert (out / "sample.html").exists()
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
    assert printed.index("measuring the circuits") < printed.index("drawing the figure")
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


@pytest.mark.parametrize("model", ["lif", "spikes", "conv", "hybrid"])
def test_digits_are_learned_by_all_kinds_of_networks(model: str, tmp_path: Path) -> None:
    hidden = 16 if model == "conv" else 40
    options = ["--epochs", "3", "--hidden", f"{hidden}", "--model", model, "--out", str(tmp_path)]
    printed = run("digits", *options, cwd=tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert 0.7 < metrics["test_accuracy"] <= 1
    assert metrics["seconds"] > 0
    assert metrics["settings"]["model"] == model
    assert f"test accuracy      {metrics['test_accuracy']:.2%}" in printed
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_training_across_frameworks_loses_nothing(tmp_path: Path) -> None:
    options = [*SHORT["across_frameworks"], "--out", str(tmp_path)]
    printed = run("across_frameworks", *options, cwd=tmp_path)
    assert printed.count("(means of the first and last 2 steps)") == 2
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    losses = json.loads((tmp_path / "losses.json").read_text())
    assert losses["difference"] < 1e-4
    assert losses["Conv2d in JAX"][-1] < losses["Conv2d in JAX"][0]


def test_hxtorch_style_script_runs_on_both_engines_and_the_mock(tmp_path: Path) -> None:
    for options in ([], ["--engine", "euler"], ["--hardware"]):
        run("hx_yinyang", *SHORT["hx_yinyang"], *options, "--out", str(tmp_path), cwd=tmp_path)
        metrics = json.loads((tmp_path / "metrics.json").read_text())
        assert 0.2 < metrics["test_accuracy"] <= 1
        assert min(metrics["seconds_per_epoch"], metrics["compile_seconds"]) > 0
        assert (tmp_path / "figure.png").stat().st_size > 10_000
        (tmp_path / "figure.png").unlink()


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
    rows = json.loads((tmp_path / "metrics.json").read_text())["rows"]
    assert [len(row["accuracy"]) for row in rows] == [1] * 3
    errors = [row["gradient_error"] for row in rows]
    assert errors[0] < 1e-4 < min(errors[1:])
    assert len((tmp_path / "table.md").read_text().splitlines()) == 2 * (2 + 3) + 1
    assert (tmp_path / "figure.png").stat().st_size > 10_000


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[Figure]]:
    """The figures that the examples would save; their modules can be imported meanwhile."""
    figures = []

    def keep(figure: Figure, *_: object, **__: object) -> None:
        figure.draw_without_rendering()
        figures.append(figure)

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr(Figure, "savefig", keep)
    before = set(sys.modules)
    yield figures
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent == EXAMPLES:
            del sys.modules[name]


def ticks(axes: Axes) -> list[str]:
    """Labels of the ticks in sight on the horizontal axis."""
    low, high = axes.get_xlim()
    at = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    return [label.get_text() for place, label in at if low <= place <= high]


def legend(of: Axes | Figure) -> list[str]:
    shown = of.get_legend() if isinstance(of, Axes) else of.legends[0]
    assert shown is not None
    return [text.get_text() for text in shown.get_texts()]


def test_curves_of_one_epoch_are_points_at_a_whole_epoch(drawn: list[Figure]) -> None:
    importlib.import_module("_curves").save_training(PATH, "title", [1.4], [0.328])
    (figure,) = drawn
    loss, accuracy = figure.axes
    assert [line.get_marker() for axes in (loss, accuracy) for line in axes.lines] == [".", "."]
    assert ticks(accuracy) == ["1"]
    assert accuracy.get_ylim()[0] < 32.8 - 2


def test_losses_over_decades_have_plain_ticks(drawn: list[Figure]) -> None:
    importlib.import_module("_curves").save_training(PATH, "title", [0.6, 0.1, 0.02], [0.5] * 3)
    axis = drawn[0].axes[0].yaxis
    texts = [label.get_text() for label in axis.get_ticklabels(which="both")]
    assert {"0.02", "0.05", "0.1", "0.2", "0.5"} <= set(texts)
    assert not any("10^" in text for text in texts)


@pytest.mark.parametrize("readout", ["ttfs", "li"])
def test_yinyang_figure_explains_itself(readout: str, drawn: list[Figure]) -> None:
    yinyang = importlib.import_module("yinyang")
    settings = importlib.import_module("_settings").Settings(hidden=5, readout=readout)
    torch.manual_seed(0)
    model = yinyang.build_model(settings)
    classes = torch.arange(40_000) % 3
    yinyang.plot(
        PATH, model, lambda _, values: classes[: len(values)], [1.0], [0.3], YinYang(9, seed=0)
    )
    loss, spikes, accuracy, decisions, voltages = drawn[0].axes
    assert loss.get_title() == "training"
    assert accuracy.get_ylabel() == "test accuracy, %"
    assert legend(decisions) == ["yin", "yang", "dot"]
    assert "true class" in decisions.get_title()
    assert spikes.get_xlim() == voltages.get_xlim()
    rows = " ".join(label.get_text() for label in spikes.get_yticklabels())
    assert "inputs" in rows
    assert ("outputs" in rows) == (readout == "ttfs")
    if readout == "ttfs":
        assert legend(voltages) == ["yin", "yang", "dot", "threshold"]
        peaks = [np.max(line.get_ydata()) for line in voltages.lines[:3]]
        np.testing.assert_allclose(peaks, 1, atol=1e-3)
    else:
        assert legend(voltages) == ["yin", "yang", "dot", "highest"]


def test_fine_tuned_curves_start_at_the_transfer(drawn: list[Figure]) -> None:
    example = importlib.import_module("fine_tune_from_norse")
    example.plot(PATH, [0.4, 0.5], [0.45, 0.6], [0.5, 0.5])
    (axes,) = drawn[0].axes
    assert [list(line.get_xdata()) for line in axes.lines] == [[1, 2], [2, 3], [2, 3], [2, 2]]
    assert "transfer" in legend(axes)[-1]
    assert ticks(axes) == ["1", "2", "3"]


def test_comparison_tells_apart_what_coincides(drawn: list[Figure]) -> None:
    measure = importlib.import_module("_hx_measure")
    grid = [name for name in measure.METHODS if name != measure.EXACT]
    cases = [(measure.EXACT, 1e-6), *((name, dt) for name in grid for dt in (1e-6, 1e-7))]
    same = {"accuracy": [0.4], "elapsed": [3.0], "seconds": 0.1, "gradient_error": 1.0}
    rows = [{"method": name, "dt": dt, **same} for name, dt in cases]
    importlib.import_module("_hx_plots").plot(PATH, rows)
    epochs, seconds, cost, error = drawn[0].axes
    names = [measure.name_of(case) for case in cases]
    assert legend(drawn[0]) == names
    assert {name.partition(", ")[2] for name in names[1:3]} == {
        "surrogate gradient, 1 µs",
        "surrogate gradient, 0.1 µs",
    }
    assert ticks(epochs) == ["1"]
    assert "compilation included" in seconds.get_xlabel()
    assert ticks(cost) == ticks(error) == ["0.1", "1"]
    for curves, different in ((epochs.lines, 5), (error.lines[1:], 2)):
        looks = [(line.get_color(), line.get_marker(), line.get_linestyle()) for line in curves]
        assert len(set(looks)) == different
    assert len({line.get_fillstyle() for line in error.lines[1:]}) == 2


def test_bars_of_accuracies_start_at_zero(drawn: list[Figure]) -> None:
    figure = Figure()
    accuracies = {"simulation": {"": [0.9]}, "on": {"as it is": [0.6], "calibrated": [0.8]}}
    plots = importlib.import_module("_chip_plots")
    plots._plot_accuracies(axes := figure.subplots(), {"5-20-3": accuracies})
    assert axes.get_xlim() == (0, 100)
    assert axes.get_xlabel() == "test accuracy, %"
    assert legend(axes) == ["simulation", "chip as it is", "calibrated", "chance level"]


def test_losses_across_frameworks_show_who_trained(drawn: list[Figure]) -> None:
    plots = importlib.import_module("_across_plots")
    plots.plot(PATH, [3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [1, 2], [1.0, 0.5, 0.2])
    network, _ = drawn[0].axes
    assert [text.get_text() for text in network.texts] == ["torch", "JAX", "torch"]
    assert legend(network) == ["torch, JAX, torch", "torch alone"]
    assert [np.asarray(line.get_xdata())[0] for line in network.lines[2:]] == [1.5, 2.5]
