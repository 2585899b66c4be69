"""Curves of a training: those of the health report, of `snn.cost`, and what is given."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from evtorch import torch_api as snn


class Curves:
    """A writer that remembers."""

    def __init__(self) -> None:
        self.of: dict[str, tuple[float, int]] = {}

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        self.of[tag] = (scalar_value, global_step)


@pytest.fixture(scope="module")
def model() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(snn.LIF(5, 4, refractory=math.inf), snn.LI(4, 2))
    model(1e-2 * torch.rand(8, 5, 1))
    return model


def test_curves_are_those_of_the_reports(model: nn.Sequential) -> None:
    inputs, written = 1e-2 * torch.rand(8, 5, 1), Curves()
    report = snn.health_report(model)
    snn.log_training(written, model, 3, inputs=inputs, loss=torch.tensor(0.5, requires_grad=True))
    counted = snn.cost(model, inputs)
    expected = {"loss": 0.5}
    for layer in report.layers:
        expected[f"silent/{layer.name}"] = layer.silent_fraction
        expected[f"grazing/{layer.name}"] = layer.grazing_rate
        expected[f"overflow/{layer.name}"] = layer.overflow_fraction
    expected |= {f"operations/{layer.name}": layer.operations for layer in counted.layers}
    expected["spikes/0"] = counted.layers[0].spikes or 0.0
    assert written.of == {tag: (value, 3) for tag, value in expected.items()}


def test_tensorboard_reads_what_is_written(model: nn.Sequential, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is missing: pip install '.[ecosystem]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        for epoch, loss in enumerate((0.5, 0.25)):
            snn.log_training(writer, model, epoch, loss=loss)
    found = EventAccumulator(str(tmp_path)).Reload()
    assert [(one.step, one.value) for one in found.Scalars("loss")] == [(0, 0.5), (1, 0.25)]
    assert len(found.Scalars("silent/0")) == 2


def test_what_is_wrong_is_named(model: nn.Sequential) -> None:
    with pytest.raises(TypeError, match=r"writer must have add_scalar.* got str; .*SummaryWriter"):
        snn.log_training("runs", model, 0)
    with pytest.raises(TypeError, match=r"loss must be a number or .* got shape \(3,\); .* mean"):
        snn.log_training(Curves(), model, 0, loss=torch.ones(3))
    with pytest.raises(TypeError, match="accuracy must be a number, got str"):
        snn.log_training(Curves(), model, 0, accuracy="high")
