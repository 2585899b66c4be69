"""What of a model runs on the hardware is what it seems to be; checkpoints fit both."""

import copy
import math
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import nn

from evtorch import torch_api as snn
from evtorch.torch_api.layers._health import Health

MOCK = snn.hardware.MockBSS2
OPTIONS = {"refractory": math.inf}


def lif(**options):
    return snn.LIF(3, 3, **OPTIONS, **options)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = lif()

    def forward(self, spikes):
        return self.layer(spikes)


class Doubled(snn.LIF):
    def forward(self, *arguments: Any, **named: Any) -> Any:
        return 2 * super().forward(*arguments, **named)


class Reversed(nn.Sequential):
    def forward(self, input):
        for module in reversed(list(self)):
            input = module(input)
        return input


def hooked():
    layer = lif()
    layer.register_forward_hook(lambda *_: None)
    return layer


FORWARD = "has a forward of its own, which a run on hardware would skip"


@pytest.mark.parametrize(
    ("made", "name", "message"),
    [
        (lambda: snn.RecurrentLIF(3, 3), "1", "'1' cannot run on hardware, which takes LIF layers"),
        (Block, "1", r"'1\.layer' in Block '1' cannot run on hardware"),
        (Block, "1.layer", r"'1\.layer' in Block '1' cannot run on hardware"),
        (lambda: lif(backend=MOCK(7)), "1", "'1' has a backend of its own, MockBSS2 chip 7"),
        (lambda: Doubled(3, 3, **OPTIONS), "1", f"'1', Doubled, {FORWARD}"),
        (lambda: Reversed(lif()), "1", f"'1', Reversed, {FORWARD}"),
        (hooked, "1", "'1' has hooks, which a run on hardware would not call"),
    ],
)
def test_layers_that_would_not_run_there_are_refused_unless_left_to_torch(made, name, message):
    model = nn.Sequential(lif(), made(), nn.Flatten())
    with pytest.raises(ValueError, match=message):
        snn.hardware.on_backend(model, MOCK.ideal())
    chip = snn.hardware.on_backend(model, MOCK.ideal(), simulate=(name,))
    assert [len(network.layers) for network in chip.networks()] == [1]


def test_read_outs_are_looked_for_where_they_are_to_run():
    model = nn.Sequential(lif(t_max=1.0), nn.ModuleDict({"out": snn.LI(3, 2, t_max=1.0)}))
    snn.hardware.on_backend(model, MOCK.ideal())
    with pytest.raises(
        ValueError, match=r"'1\.out' in ModuleDict '1' .*LIF layers and LI read-outs"
    ):
        snn.hardware.on_backend(model, MOCK.ideal(), voltage_samples=9)


def test_the_model_itself_must_be_plain_and_names_known():
    with pytest.raises(ValueError, match=f"model, Reversed, {FORWARD}; use a plain nn.Sequential"):
        snn.hardware.on_backend(Reversed(lif()), MOCK.ideal())
    with pytest.raises(ValueError, match=r"simulate: the model has no module '7', but \['0'\]"):
        snn.hardware.on_backend(nn.Sequential(lif()), MOCK.ideal(), simulate=("7",))
    with pytest.raises(TypeError, match="simulate must be a tuple of names, got '0'"):
        snn.hardware.on_backend(nn.Sequential(lif()), MOCK.ideal(), simulate="0")
    chip = snn.hardware.on_backend(nn.Sequential(lif()), MOCK.ideal())
    chip.model[0].register_forward_pre_hook(lambda *_: None)
    with pytest.raises(ValueError, match="'0' has hooks"):
        chip(torch.zeros(1, 3, 1))


def test_what_is_left_to_torch_is_simulated():
    model = nn.Sequential(lif(), snn.RecurrentLIF(3, 3, **OPTIONS), nn.Sequential(lif()))
    chip = snn.hardware.on_backend(model, MOCK.ideal(), simulate=("1",))
    spikes = 1e-2 * torch.rand(4, 3, 1)
    assert torch.equal(chip(spikes), model(spikes))
    assert len(chip.networks()) == 2


def test_checkpoints_of_model_and_chip_are_interchangeable():
    model = nn.Sequential(lif(delay="axonal"), lif(learn=("v_threshold",)))
    other = nn.Sequential(lif(delay="axonal"), lif(learn=("v_threshold",)))
    chip = copy.deepcopy(snn.hardware.on_backend(other, MOCK.ideal()))
    saved = model.state_dict()
    assert list(chip.state_dict()) == list(saved)
    chip.load_state_dict(saved)
    assert all(torch.equal(saved[name], x) for name, x in chip.state_dict().items())
    other.load_state_dict(chip.state_dict())
    assert torch.equal(other[0].weight, model[0].weight)
    outer = nn.ModuleDict({"net": snn.hardware.on_backend(other, MOCK.ideal())})
    outer.load_state_dict(nn.ModuleDict({"net": model}).state_dict())
    assert list(outer.state_dict()) == [f"net.{name}" for name in saved]
    with pytest.raises(RuntimeError, match=r"Missing key.*model\.1\.weight"):
        chip.load_state_dict({name: x for name, x in saved.items() if name != "1.weight"})


def test_modules_are_reached_as_those_of_the_model():
    hidden, out = lif(), lif()
    modules = OrderedDict(encoder=snn.LatencyEncoder(0.0, 1e-2), hidden=hidden, out=out)
    model = nn.Sequential(modules)
    chip = snn.hardware.on_backend(model, MOCK.ideal())
    assert chip[1] is hidden
    assert chip[-1] is out
    assert list(chip) == list(model)
    assert list(reversed(chip)) == list(model)[::-1]
    assert len(chip) == 3
    assert out in chip
    assert isinstance(chip[:2], nn.Sequential)
    assert list(chip[:2]) == list(model)[:2]
    assert chip.hidden is hidden
    assert "hidden" in dir(chip)
    assert chip.get_submodule("hidden") is hidden
    with pytest.raises(IndexError):
        chip[3]
    assert not hasattr(chip, "missing")
    # Copies have modules of their own.
    copied = copy.deepcopy(chip)
    assert copied.hidden is copied[1]
    assert copied[1] is not hidden
    # The case that this is for.
    none = torch.zeros(3, dtype=torch.int32)
    hidden.remember(1, Health(none + 1, none, none))
    before = hidden.weight.detach().clone()
    assert snn.rescue_silent_(chip[1]) == 3
    assert (hidden.weight > before).all()
