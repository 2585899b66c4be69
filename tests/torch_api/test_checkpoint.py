"""Checkpoints know the numbers that their weights were trained with."""

import io
import math
import re
import warnings
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from evtorch import bridge
from evtorch import torch_api as snn


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
