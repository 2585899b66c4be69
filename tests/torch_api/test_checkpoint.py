"""Checkpoints know the numbers that their weights were trained with."""

import io
import math
import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from evtorch import bridge
from evtorch import torch_api as snn
from evtorch.torch_api import hx
from evtorch.torch_api.nir._convolution import Convolution


def model(**changes: Any) -> nn.Sequential:
    """One layer of each kind; ``changes`` by the name of the layer."""
    numbers = {"tau_mem": 5e-2, "tau_syn": 1e-2, "t_max": 1.0}
    given = {kind: {**numbers, **changes.get(kind, {})} for kind in ("LIF", "RecurrentLIF", "LI")}
    encoder = {"t_early": 0.0, "t_late": 2e-2, **changes.get("LatencyEncoder", {})}
    return nn.Sequential(
        snn.LatencyEncoder(**encoder),
        snn.LIF(4, 3, refractory=math.inf, **given["LIF"]),
        snn.RecurrentLIF(3, 3, **given["RecurrentLIF"]),
        snn.LI(3, 2, **given["LI"]),
    )


def saved() -> dict[str, Tensor]:
    file = io.BytesIO()
    torch.save(model().state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize(
    ("layer", "name", "value", "theirs"),
    [
        ("1 (LIF)", "tau_mem", 2e-2, "0.05"),
        ("1 (LIF)", "refractory", 0.5, "inf"),
        ("2 (RecurrentLIF)", "v_leak", -0.1, "0.0"),
        ("3 (LI)", "tau_syn", 2e-2, "0.01"),
        ("3 (LI)", "readout", "integral", "max"),
        ("3 (LI)", "t_max", 2.0, "1.0"),
        ("0 (LatencyEncoder)", "t_late", 3e-2, "0.02"),
        ("0 (LatencyEncoder)", "bias", 0.0, "None"),
    ],
)
def test_other_numbers_are_named(layer: str, name: str, value: Any, theirs: str) -> None:
    kind = layer.split("(")[1].strip(")")
    if name == "refractory":
        other = model()
        other[1] = snn.LIF(4, 3, tau_mem=5e-2, t_max=1.0, refractory=value)
    else:
        other = model(**{kind: {name: value}})
    message = re.escape(
        f"checkpoint of {layer} is of a layer with {name}={theirs}, but this one has {name}={value}"
    )
    state = saved()
    with pytest.warns(snn.CheckpointWarning, match=message) as found:
        other.load_state_dict(state)
    assert len(found) == 1
    assert torch.equal(other[1].weight, state["1.weight"])


def test_equal_numbers_and_old_checkpoints_load_without_a_word() -> None:
    model().load_state_dict(saved())
    old = {name: value for name, value in saved().items() if not name.endswith("_extra_state")}
    result = model(LIF={"tau_mem": 1e-2}).load_state_dict(old)
    assert result == ([], [])


def test_tensors_are_compared_by_torch_alone() -> None:
    other = model()
    other[1] = snn.LIF(4, 3, tau_mem=torch.full((3,), 2e-2), t_max=1.0, refractory=math.inf)
    with pytest.raises(RuntimeError, match=r'Missing key.*"1\.tau_mem"'):
        other.load_state_dict(saved())


def test_tools_for_checkpoints_take_the_numbers(tmp_path: Any) -> None:
    save_file(saved(), tmp_path / "a.safetensors")
    forms = {
        "safetensors": load_file(tmp_path / "a.safetensors"),
        "half": {name: value.half() for name, value in saved().items()},
        "bfloat16": {name: value.bfloat16() for name, value in saved().items()},
        "averaged": {name: (value + 2 * value) / 3 for name, value in saved().items()},
    }
    for state in forms.values():
        model().load_state_dict(state)
        with pytest.warns(snn.CheckpointWarning, match=r"tau_mem=0\.05"):
            model(LIF={"tau_mem": 1e-2}).load_state_dict(state)
    spoilt = {k: v * 0.3 if k.endswith("state") else v for k, v in saved().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(LIF={"tau_mem": 1e-2}).load_state_dict(spoilt)


def test_a_layer_alone_and_its_own_setter() -> None:
    layer = snn.LIF(4, 3, tau_mem=5e-2)
    with pytest.warns(snn.CheckpointWarning, match=r"checkpoint of this \(LIF\).*tau_mem=0\.05"):
        snn.LIF(4, 3).load_state_dict(layer.state_dict())
    with pytest.warns(snn.CheckpointWarning, match=r"checkpoint of LIF.*tau_mem=0\.05"):
        snn.LIF(4, 3).set_extra_state(layer.get_extra_state())


def test_functional_calls_take_a_whole_state() -> None:
    layer = snn.LI(3, 2)
    times = torch.rand(2, 3, 1)
    with_state = torch.func.functional_call(layer, layer.state_dict(), times)
    assert torch.equal(with_state, layer(times))


def test_exchange_with_jax_leaves_the_numbers_out() -> None:
    layer, other = snn.LI(3, 2), snn.LI(3, 2)
    assert set(bridge.export_parameters(layer)) == {"weight"}
    bridge.load_parameters(other, layer.state_dict())
    assert torch.equal(other.weight, layer.weight)


def hx_model(**changes: Any) -> nn.ModuleDict:
    """A network of hx; ``changes`` by the name of the module."""
    experiment = hx.Experiment(mock=True)
    given = {"tau_mem": 2e-5, "tau_syn": 1e-5, "threshold": 1.0, "leak": 0.0, "reset": 0.0}
    terms = {"exponential": False, "refractory": True} | given
    coordinates = {"seq_length": 40, "t_early": 2e-6, "t_late": 2e-5}
    return nn.ModuleDict(
        {
            "encoder": hx.transforms.encode.CoordinatesToSpikes(
                **coordinates | changes.get("encoder", {})
            ),
            "synapse": hx.Synapse(2, 3, experiment),
            "lif": hx.LIF(3, experiment, **given | changes.get("lif", {})),
            "aelif": hx.AELIF(3, experiment, **terms | changes.get("aelif", {})),
            "li": hx.LI(3, experiment, **given | changes.get("li", {})),
        }
    )


PER_NEURON = torch.tensor([2e-5, 3e-5, 4e-5])


@pytest.mark.parametrize(
    ("name", "change", "theirs", "ours"),
    [
        ("encoder (CoordinatesToSpikes)", {"t_late": 3e-5}, "t_late=2e-05", "t_late=3e-05"),
        ("lif (LIF)", {"tau_mem": 1e-5}, "tau_mem=2e-05", "tau_mem=1e-05"),
        ("lif (LIF)", {"threshold": 2}, "threshold=1.0", "threshold=2"),
        ("lif (LIF)", {"refractory_time": np.float32(0.5)}, "refractory_time=1e-06", "0.5"),
        ("lif (LIF)", {"tau_mem": PER_NEURON}, "tau_mem=2e-05", "tau_mem=[1.99999"),
        ("lif (LIF)", {"reset": hx.MixedHXModelParameter(-1.0, 80)}, "reset=0.0", "reset=-1.0"),
        ("aelif (AELIF)", {"tau_adap": 2e-4}, "tau_adap=0.0001", "tau_adap=0.0002"),
        ("aelif (AELIF)", {"refractory": False}, "refractory=True", "refractory=False"),
        ("li (LI)", {"leak": 0.5}, "leak=0.0", "leak=0.5"),
    ],
)
def test_other_numbers_of_hx_are_named(name: str, change: Any, theirs: str, ours: str) -> None:
    message = re.escape(f"checkpoint of {name} is of a layer with {theirs}, but this one has ")
    with pytest.warns(snn.CheckpointWarning, match=f"{message}.*{re.escape(ours)}") as found:
        hx_model(**{name.split()[0]: change}).load_state_dict(hx_model().state_dict())
    assert len(found) == 1


def test_what_is_without_effect_in_hx_is_not_compared() -> None:
    other = hx_model(
        lif={"i_synin_gm": 7, "tau_mem": torch.full((3,), 2e-5)}, li={"threshold": 3.0}
    )
    result = other.load_state_dict(hx_model().state_dict())
    assert result == ([], [])
    old = {k: x for k, x in hx_model().state_dict().items() if not k.endswith("_extra_state")}
    assert set(old) == {"synapse.weight"}
    assert hx_model(lif={"tau_mem": 1e-5}).load_state_dict(old) == ([], [])


def test_what_hx_learns_is_compared_by_torch_alone() -> None:
    learned = hx_model(lif={"tau_mem": hx.HXParameter(1e-5).make_trainable()})
    state = learned.state_dict()
    assert "lif.tau_mem._model_value" in state
    hx_model(lif={"tau_mem": hx.HXParameter(3e-5).make_trainable()}).load_state_dict(state)
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"lif\.tau_mem\._model_value"'):
        hx_model().load_state_dict(state)


def test_many_values_are_shortened() -> None:
    layers = [hx.LI(9, hx.Experiment(mock=True), tau_mem=x * torch.ones(9)) for x in (1e-5, 2e-5)]
    with pytest.warns(snn.CheckpointWarning, match=r"tau_mem=\[(1\S+, ){4}\.\.\. \(9 values\)\]"):
        layers[1].load_state_dict(layers[0].state_dict())


def test_parametrised_and_shared_layers_are_compared() -> None:
    def make(tau_mem: float, stride: int) -> nn.ModuleDict:
        layer = snn.LIF(16, 4, tau_mem=tau_mem)
        shape = ((1, 1, 1, 1), (1, 4, 4), (stride, stride), (0, 0), (1, 1), 1)
        kernel = Convolution(*shape)
        if stride == 2:
            nn.utils.parametrize.register_parametrization(layer, "weight", kernel, unsafe=True)
        twin = snn.LIF(16, 4, tau_mem=tau_mem)
        twin.weight = nn.Parameter(torch.zeros(4, 16))
        return nn.ModuleDict({"a": layer, "b": layer, "twin": twin, "kernel": kernel})

    state = make(1e-2, 2).state_dict()
    with pytest.warns(snn.CheckpointWarning) as found:
        assert make(2e-2, 2).load_state_dict(state) == ([], [])
    named = [str(each.message).partition(" is of a layer with ")[::2] for each in found]
    assert [name for name, _ in named] == [
        f"the checkpoint of {name} (LIF)" for name in ("a", "b", "twin")
    ]
    assert all(what.startswith("tau_mem=0.01, but this one has tau_mem=0.02") for _, what in named)
    plain, strided = (make(1e-2, stride).get_submodule("kernel") for stride in (1, 2))
    with pytest.warns(snn.CheckpointWarning, match=r"Convolution.*stride=\[2, 2\].*\[1, 1\]"):
        plain.load_state_dict(strided.state_dict())


def test_the_kind_of_a_delay_is_named() -> None:
    layer = snn.LIF(3, 3, delay="axonal")
    with pytest.warns(snn.CheckpointWarning, match="delay=axonal, but this one has delay=dendr"):
        snn.LIF(3, 3, delay="dendritic").load_state_dict(layer.state_dict())
