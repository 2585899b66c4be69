"""The examples on plasticity learn, and write what they say."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(example: str, *arguments: str, cwd: Path) -> tuple[str, dict[str, Any]]:
    """What an example prints, and its metrics."""
    command = [sys.executable, str(EXAMPLES / f"{example}.py"), *arguments, "--out", "out"]
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stderr
    assert (cwd / "out/figure.png").stat().st_size > 10_000
    assert [path.name for path in cwd.iterdir()] == ["out"]
    return done.stdout, json.loads((cwd / "out/metrics.json").read_text())


def test_a_stream_is_gone_through(tmp_path: Path) -> None:
    printed, metrics = run("stdp", "--seconds", "12", "--inputs", "40", cwd=tmp_path)
    assert [one["until_seconds"] for one in metrics["windows"]] == [5, 10, 12]
    assert all(0 <= one["answered"] <= 1 for one in metrics["windows"])
    assert "pattern answered" in printed
    weight = torch.load(tmp_path / "out/model.pt", weights_only=True)["state_dict"]["weight"]
    assert weight.shape == (1, 40)
    assert weight.min() >= 0
    assert weight.max() <= 1
    assert weight.std() > 0.05


def test_rewards_are_enough_to_learn(tmp_path: Path) -> None:
    printed, metrics = run("reward", "--updates", "150", "--patterns", "2", cwd=tmp_path)
    assert metrics["test_accuracy"] > 0.9
    assert metrics["chance"] == 0.5
    assert f"test accuracy  {metrics['test_accuracy']:.1%}" in printed


@pytest.fixture
def hidden(imported: Any) -> Any:
    torch.manual_seed(0)
    return imported("_hidden_pattern").HiddenPattern


def test_the_pattern_does_not_show_in_rates(hidden: Any) -> None:
    stream = hidden.draw(200, 60)
    assert stream.pieces.shape[:2] == (600, 200)
    present = stream.pieces < math.inf
    assert (stream.pieces.sort(dim=-1).values == stream.pieces).all()
    assert stream.pieces[present].max() <= hidden.PIECE
    counts = present.sum(dim=(0, 2))
    rates = counts / 60
    expected = hidden.RATE + hidden.SPONTANEOUS
    assert abs(rates.mean() - expected) < 0.05 * expected
    origins = torch.arange(600)[:, None, None] * hidden.PIECE
    times = (stream.pieces.double() + origins)[present]
    since = times - stream.starts[:, None]
    inside = ((since >= 0) & (since < hidden.LENGTH)).sum() / (len(stream.starts) * hidden.LENGTH)
    assert abs(inside / 200 - expected) < 0.15 * expected
    assert 0.2 < len(stream.starts) * hidden.LENGTH / 60 < 0.33


def test_answers_are_told_from_false_alarms(hidden: Any) -> None:
    stream = hidden(torch.zeros(1, 1, 1), torch.tensor([0.1, 0.3, 0.5]))
    latency, outside = stream.answers(torch.tensor([0.05, 0.11, 0.12, 0.36, 0.52]))
    torch.testing.assert_close(latency, torch.tensor([0.01, math.inf, 0.02]))
    assert outside.tolist() == [True, False, False, True, False]
