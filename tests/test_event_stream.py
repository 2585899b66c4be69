"""The example on event streams: its classes differ in order alone, and it writes what it says."""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from torch import Tensor

FAR = 5.0
"""Standard errors: beyond, no statistic of the hundred below lies by chance."""


@pytest.fixture(scope="module")
def streams(imported: Any) -> Any:
    return imported("_ordered_events").OrderedEvents


@pytest.fixture(scope="module")
def data(streams: Any) -> Any:
    return streams.draw(4000, seed=1)


def by_class(data: Any, values: Tensor) -> list[Tensor]:
    return [values[data.classes == label] for label in range(len(data.STEPS))]


def by_order(data: Any, counted: Tensor) -> Tensor:
    """The class in whose order those events come that are counted, (size,)."""
    turn = data.events.time.double() / data.ROUND
    rhythms = []
    for step in data.STEPS:
        place = data.events.index * pow(step, -1, data.CHANNELS) / data.CHANNELS
        off_beat = torch.exp(2j * math.pi * (place - turn))
        rhythms.append(torch.where(counted, off_beat, 0).sum(-1).abs())
    return torch.stack(rhythms).argmax(0)


def test_samples_are_streams_of_more_than_500_sorted_events(data: Any) -> None:
    time, index = data.events
    assert time.shape == index.shape == (4000, data.EVENTS)
    assert data.EVENTS > 500
    assert time.dtype == torch.float32
    assert (time.diff(dim=-1) >= 0).all()
    assert time.min() >= 0
    assert time.max() <= data.T_MAX
    assert sorted(set(index.flatten().tolist())) == list(range(20))
    assert min(len(found) for found in by_class(data, index)) > 900


def test_one_seed_gives_the_same_samples(streams: Any) -> None:
    first, second, other = (streams.draw(20, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.classes, second.classes)
    assert all(map(torch.equal, first.events, second.events))
    assert not torch.equal(first.events.index, other.events.index)


def test_summaries_are_those_of_the_events(data: Any) -> None:
    few = data[5:7]
    time, index = (field[1].tolist() for field in few.events)
    for channel in range(20):
        times = [t for t, i in zip(time, index, strict=True) if i == channel]
        assert few.counts()[1, channel] == len(times)
        assert few.first_times()[1, channel] == pytest.approx(min(times))


def test_counts_are_those_of_fair_dice_in_every_class(data: Any) -> None:
    number, share = data.EVENTS, 1 / data.CHANNELS
    expected = number * (share * torch.eye(data.CHANNELS) - share**2)
    spread = (number * share * (1 - share)) ** 0.5
    for counts in by_class(data, data.counts()):
        error = spread / len(counts) ** 0.5
        assert (counts.mean(0) - number * share).abs().max() < FAR * error
        # Each of variance and covariances, of which those of nearly normal numbers err so.
        error = 2**0.5 * spread**2 / len(counts) ** 0.5
        assert (counts.T.cov() - expected).abs().max() < FAR * error


def test_a_channel_by_itself_does_the_same_in_every_class(data: Any) -> None:
    time, index = data.events
    turning = torch.exp(2j * math.pi * time.double() / data.ROUND)
    for channel in (0, 7):
        own = (index == channel) & (time >= data.LEAD)
        # How much of a rhythm the channel has; some 20 events at random times would give 4.
        beat = torch.where(own, turning, 0).sum(-1)
        strength = beat.abs()
        means = torch.stack([found.mean() for found in by_class(data, strength)])
        assert means.min() > 10
        assert means.max() - means.min() < FAR * strength.std() * (2 / 1000) ** 0.5
        # When it is its turn is as random in each class.
        for phase in by_class(data, beat / strength):
            assert phase.mean().abs() < FAR / len(phase) ** 0.5


def test_order_tells_the_class_but_not_before_nearly_all_channels_have_spoken(data: Any) -> None:
    ordered = data.events.time >= data.LEAD
    assert (by_order(data, ordered) == data.classes).double().mean() > 0.995
    by_chance = (by_order(data, ~ordered) == data.classes).double().mean()
    assert abs(by_chance - 0.25) < FAR * (0.25 * 0.75 / len(data)) ** 0.5
    assert (data.first_times() > data.LEAD).double().mean() < 0.01


def test_figure_shows_a_sample_of_each_class_that_there_is(
    imported: Any, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    one = data[:1]
    imported("_stream_plots").plot(Path("figure.png"), one, [1.2], [0.9], 0.26)
    figures[0].draw_without_rendering()
    panels = {axes.get_title(): axes for axes in figures[0].axes}
    for label, step in enumerate(("+1", "-1", "+3", "-3")):
        panel = panels[f"class {label}: the next channel is {step} further"]
        events = [found for found in panel.collections if isinstance(found, PathCollection)]
        drawn = sum(len(found.get_offsets()) for found in events)
        assert drawn == (520 if label == one.classes[0] else 0)
    lines = figures[0].axes[3].lines
    assert [(line.get_label(), line.get_ydata()[0]) for line in lines] == [
        ("events", 90),
        ("counts only", 26),
    ]


@pytest.fixture
def threads() -> Iterator[None]:
    """The example chooses one for torch; what runs afterwards may want more."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_example_writes_what_it_promises_and_goes_on_after_ctrl_c(
    imported: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    example = imported("event_stream")
    short = ["--epochs", "2", "--hidden", "6", "--train-size", "100", "--test-size", "100"]

    def run(out: str, *more: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
        command = ["event_stream.py", *short, *more, "--out", str(tmp_path / out)]
        monkeypatch.setattr(sys, "argv", command)
        example.main()
        metrics = json.loads((tmp_path / out / "metrics.json").read_text())
        state = torch.load(tmp_path / out / "model.pt", weights_only=True)["state_dict"]
        return metrics, state

    metrics, state = run("whole")
    assert 0 <= metrics["test_accuracy"] <= 1
    assert metrics["seconds"] > metrics["compile_seconds"] > 0
    # Of 100 samples and by chance, so 4.3 % are one standard deviation.
    assert 0.05 < metrics["counts_accuracy"] < 0.45
    assert 0.05 < metrics["first_times_accuracy"] < 0.45
    assert metrics["settings"]["delays"] == "learned"
    assert state["0.delay"].shape == (20,)
    assert (tmp_path / "whole" / "figure.png").stat().st_size > 10_000
    assert "counts alone" in capsys.readouterr().out

    measured, calls = example.accuracy, []

    def interrupted(*arguments: Any) -> float:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measured(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(example, "accuracy", interrupted)
        with pytest.raises(SystemExit):
            run("parts")
    resumed, other = run("parts", "--resume")
    assert resumed["test_accuracy"] == metrics["test_accuracy"]
    assert all(torch.equal(state[name], other[name]) for name in state if name in other)
    assert state.keys() == other.keys()
