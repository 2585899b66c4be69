"""Convolutions and pools of NIR as layers, against their dense matrices and plain references."""

import copy
import itertools
import math
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evtorch import torch_api as snn

from ..._thorough import usual
from . import _graphs
from .test_round_trip import CONVENTIONS, same_arrays

ROOM: dict[str, Any] = {"max_spikes": 6, "t_max": 4e-2, "on_overflow": "truncate"}
WIDE = {**ROOM, "max_spikes": 16, "on_overflow": "error"}
# An option that layers of convolutions do not have makes them dense, as they would be without it.
DENSE = {"silent": "inf"}
CASES: dict[str, tuple[Any, tuple[int, ...], tuple[int, ...]]] = {
    "two axes": (_graphs.conv(), (2, 5, 4), (4, 3, 2)),
    "strides and padding": (_graphs.conv(stride=2, padding=1), (2, 5, 4), (4, 3, 2)),
    "oblong, in groups": (_graphs.conv(size=(3, 2), groups=2), (2, 5, 4), (4, 3, 3)),
    "same": (_graphs.conv(padding="same"), (2, 5, 4), (4, 5, 4)),
    "one axis": (_graphs.conv1d(), (2, 9), (4, 7)),
    "one axis, all settings": (_graphs.conv1d(stride=2, padding=1, dilation=2), (2, 9), (4, 4)),
    "one axis, same, in groups": (_graphs.conv1d(padding="same", groups=2), (2, 9), (4, 9)),
}


def case(name: str, **parameters: Any) -> nir.NIRGraph:
    conv, before, after = CASES[name]
    return _graphs.convolved(copy.deepcopy(conv), _graphs.by_channel(*after, **parameters), before)


def read(graph: Any, convention: str | None = "nir", **options) -> Any:
    settings = {"lif": ROOM, "dtype": torch.float64, **options}
    return snn.nir.from_nir(graph, convention, tau_syn=1e-4, bias="rest", **settings)


def spikes(neurons: int, k: int = 2) -> Tensor:
    times = torch.as_tensor(_graphs.rng(1).uniform(0, 1e-2, (3, neurons, k)))
    times[0, 0] = math.inf
    return times.sort(-1).values


def kinds(model: nn.Module) -> list[str]:
    return [type(layer).__name__ for layer in model.children()]


@pytest.mark.parametrize("name", usual({"one axis, all settings", "oblong, in groups"}, CASES))
def test_spikes_and_gradients_are_those_of_the_dense_matrix(name: str) -> None:
    _, before, after = CASES[name]
    found: list[list[Tensor]] = []
    for more in ({}, DENSE):
        model = read(case(name), lif={**ROOM, **more, "learn": ("tau_mem", "v_threshold")})
        given = spikes(math.prod(before)).requires_grad_()
        out = model(given)
        assert out.shape == (3, math.prod(after), 6)
        finite = out.isfinite()
        weights = torch.as_tensor(_graphs.rng(2).normal(size=out.shape))
        (out * weights)[finite].sum().backward()
        layer = model[1] if len(model) > 1 else model[0]
        kernel = layer.weight if not more else layer.parametrizations.weight.original
        grads = [kernel.grad]
        for constant in (layer.tau_mem, layer.v_threshold):
            grads.append(constant.grad.reshape(after[0], -1).sum(1))
        found.append([out.detach(), given.grad, *grads])
    assert kinds(read(case(name))) == [
        "UnflattenSpikes",
        f"LIFConv{len(before) - 1}d",
        "FlattenSpikes",
    ]
    shared, dense = found
    assert shared[0].isfinite().sum() > 50
    for a, b in zip(shared, dense, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12 if a is shared[0] else 1e-11)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_graphs_come_back_bit_by_bit(name: str, convention: str, dtype: torch.dtype) -> None:
    graph = case(name)
    original = copy.deepcopy(graph)
    back = snn.nir.to_nir(read(graph, convention, dtype=dtype))
    same_arrays(original, graph)
    same_arrays(graph, back)
    assert set(back.edges) == set(graph.edges)
    for setting in ("stride", "padding", "dilation", "groups", "input_shape"):
        assert getattr(back.nodes["conv"], setting) == getattr(graph.nodes["conv"], setting)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_a_network_with_pools_comes_back_bit_by_bit(convention: str, tmp_path: Path) -> None:
    graph = _graphs.image_network()
    back = snn.nir.to_nir(read(graph, convention))
    same_arrays(graph, back)
    assert set(back.edges) == set(graph.edges)
    assert {n: type(x) for n, x in back.nodes.items()} == {
        n: type(x) for n, x in graph.nodes.items()
    }
    nir.write(tmp_path / "a.nir", back)
    nir.write(tmp_path / "b.nir", snn.nir.to_nir(read(tmp_path / "a.nir", convention)))
    same_arrays(*(nir.read(tmp_path / f"{name}.nir") for name in "ab"))


@pytest.mark.parametrize("neurons", ["lif", "bias"])
def test_without_synapse_or_with_a_bias_they_come_back_too(neurons: str) -> None:
    conv, before, after = copy.deepcopy(CASES["two axes"])
    if neurons == "bias":
        conv.bias = np.array([0.1, -0.2, 0.0, 0.3])
    cells = _graphs.lif(*after) if neurons == "lif" else _graphs.by_channel(*after)
    graph = _graphs.convolved(conv, cells, before)
    model = read(graph)
    assert "LIFConv2d" in kinds(model)
    same_arrays(graph, snn.nir.to_nir(model))
    dense = read(graph, lif={**ROOM, **DENSE})
    torch.testing.assert_close(model(spikes(40)), dense(spikes(40)), rtol=0, atol=1e-12)


def test_a_network_of_convolutions_spikes_as_its_graph_says() -> None:
    graph = _graphs.image_network()
    model = read(graph, lif={**WIDE, "t_max": 2e-2})
    assert kinds(model) == [
        *("UnflattenSpikes", "LIFConv2d", "SumPool2d", "LIFConv2d", "FlattenSpikes"),
        *("Delay", "LIF", "LI"),
    ]
    found = snn.nir.compare(graph, model, spikes(40, 1)[1:], "nir")
    assert [node.neurons for node in found.nodes] == [80, 27, 4, 2]
    assert all(node.spikes > 10 for node in found.nodes[:3])
    assert found.max_difference < 1e-13
    assert found.nodes[3].max_voltage_difference < 1e-12
    events = snn.events_from_spike_times(spikes(40, 1))
    assert torch.equal(model(events), model(spikes(40, 1)))
    assert "LIFConv2d" in str(model)
    assert [layer.neurons for layer in snn.health_report(model).layers][:2] == [4, 3]


def test_a_pool_may_stand_at_either_end() -> None:
    graph = nir.NIRGraph(
        {
            "input": nir.Input(np.array([2, 5, 4])),
            "first": _graphs.pool(),
            "conv": nir.Conv2d((2, 2), np.ones((4, 2, 1, 1)), 1, 0, 1, 1, np.zeros(4)),
            "lif": _graphs.by_channel(4, 2, 2),
            "last": _graphs.pool(),
            "output": nir.Output(np.array([4, 1, 1])),
        },
        list(itertools.pairwise(["input", "first", "conv", "lif", "last", "output"])),
    )
    model = read(graph)
    out = model(spikes(40))
    assert out.shape == (3, 4, 6 * 4)
    inner = nn.Sequential(*model[:-2])(spikes(40))
    assert torch.equal(out[out.isfinite()].sort().values, inner[inner.isfinite()].sort().values)
    same_arrays(graph, snn.nir.to_nir(model))
    model = read(graph, lif=WIDE)
    assert snn.nir.compare(graph, model, spikes(40, 1), "nir").max_difference < 1e-13


def test_a_convolution_in_one_dimension_may_follow_a_flattened_image() -> None:
    """(channels, height, width) of which height and width become one axis."""
    image = _graphs.conv()
    nodes = {
        "input": nir.Input(np.array([2, 5, 4])),
        "conv": image,
        "lif": _graphs.by_channel(4, 3, 2),
        "flatten": nir.Flatten({"input": np.array([4, 3, 2])}, start_dim=1),
        "line": nir.Conv1d(None, np.ones((2, 4, 3)), 1, 0, 1, 1, np.zeros(2)),
        "out": _graphs.by_channel(2, 4),
        "output": nir.Output(np.array([2, 4])),
    }
    graph = nir.NIRGraph(nodes, list(itertools.pairwise(nodes)))
    model = read(graph)
    assert kinds(model)[2:5] == ["FlattenSpikes", "UnflattenSpikes", "LIFConv1d"]
    dense = read(graph, lif={**ROOM, **DENSE})
    torch.testing.assert_close(model(spikes(40)), dense(spikes(40)), rtol=0, atol=1e-12)
    same_arrays(graph, snn.nir.to_nir(model))


def made(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            snn.LIFConv2d(2, 4, 3, padding=1, groups=2, **ROOM),
            snn.SumPool2d(2),
            snn.LIFConv2d(
                4,
                3,
                (1, 2),
                tau_mem=torch.tensor([1.5e-2, 2e-2, 2.7e-2]),
                refractory=torch.tensor([0.0, 1e-3, 2e-3]),
                learn="v_threshold",
                **ROOM,
            ),
            snn.FlattenSpikes(),
            snn.LIF(6, 3, **ROOM),
        ).to(dtype)


@pytest.mark.parametrize("dtype", usual({torch.float64}, [torch.float32, torch.float64]))
def test_layers_come_back_bit_by_bit(dtype: torch.dtype, tmp_path: Path) -> None:
    model = made(dtype)
    graph = snn.nir.to_nir(model, refractory="metadata", input_shape=(2, 5, 4))
    assert list(graph.nodes) == [
        *("input", "conv_0", "lif_0", "pool_1", "conv_2", "lif_2"),
        *("flatten_4", "linear_4", "lif_4", "output"),
    ]
    assert tuple(graph.input_type["input"]) == (2, 5, 4)
    nir.write(tmp_path / "a.nir", graph)
    for source in (graph, tmp_path / "a.nir"):
        back = read(source, None, lif={}, dtype=dtype)
        assert kinds(back) == ["UnflattenSpikes", *kinds(model)]
        for new, old in zip(back[1:], model, strict=True):
            for name in ("weight", "tau_mem", "tau_syn", "v_threshold", "refractory"):
                if hasattr(old, name):
                    a, b = (torch.as_tensor(getattr(x, name), dtype=dtype) for x in (new, old))
                    assert torch.equal(*torch.broadcast_tensors(a, b)), name
        given = spikes(40).to(dtype)
        assert torch.equal(back(given), model(given.unflatten(-2, (2, 5, 4))))


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_layers_can_be_written_in_any_convention(convention: str) -> None:
    model = nn.Sequential(snn.UnflattenSpikes((2, 5, 4)), *made())
    graph = snn.nir.to_nir(model, convention, refractory="metadata")
    back = read(graph, None, lif={})
    for index in (1, 3, 5):
        torch.testing.assert_close(back[index].weight, model[index].weight, rtol=1e-14, atol=0)
    torch.testing.assert_close(back(spikes(40)), model(spikes(40)), rtol=0, atol=1e-12)
    again = read(snn.nir.to_nir(back, "hxtorch", refractory="metadata"), None, lif={})
    torch.testing.assert_close(again[1].weight, model[1].weight, rtol=1e-14, atol=0)


def test_layers_over_one_axis_are_written() -> None:
    model = nn.Sequential(
        snn.LIFConv1d(2, 3, 3, stride=2, padding=1, dilation=2, **ROOM), snn.FlattenSpikes(2)
    ).double()
    graph = snn.nir.to_nir(model, input_shape=(2, 9))
    assert list(graph.nodes) == ["input", "conv_0", "lif_0", "flatten_1", "output"]
    assert (graph.nodes["conv_0"].stride, graph.nodes["conv_0"].padding) == (2, 1)
    back = read(graph, None)
    assert torch.equal(back(spikes(18)), model(spikes(18).unflatten(-2, (2, 9))))


def test_only_the_kernel_that_learned_is_written_anew() -> None:
    graph = _graphs.image_network()
    model = read(graph)
    optimiser = torch.optim.SGD([model[3].weight], lr=10.0)
    before = model(spikes(40))
    before.sum().backward()
    optimiser.step()
    after = model(spikes(40))
    assert not torch.equal(before, after)
    back = snn.nir.to_nir(model)
    first, second = _graphs.arrays(graph), _graphs.arrays(back)
    changed = {name for name in first if not np.array_equal(first[name], second[name])}
    assert changed == {"conv2d_1.weight"}
    assert tuple(back.nodes["conv2d_1"].weight.shape) == (3, 4, 2, 2)
    again = read(back, None)
    torch.testing.assert_close(again(spikes(40)), after, rtol=0, atol=1e-12)


def test_constants_that_learned_are_written_for_all_positions() -> None:
    graph = case("two axes")
    for convention in ("nir", "snntorch"):
        model = read(graph, convention)
        with torch.no_grad():
            model[1].tau_syn[1] *= 2
            model[1].v_threshold[2] += 0.5
        back = snn.nir.to_nir(model)
        new, old = (_graphs.arrays(g)["lif.tau_syn"] for g in (back, graph))
        ratio = new / old
        assert (ratio[1] == 2).all()
        assert (ratio[[0, 2, 3]] == 1).all()
        again = read(back, None)
        for name in ("weight", "tau_syn", "v_threshold"):
            torch.testing.assert_close(getattr(again[1], name), getattr(model[1], name))


def dense_cases() -> dict[str, nir.NIRGraph]:
    """What layers of convolutions cannot be."""
    uneven = _graphs.conv(size=(2, 2), padding="same")
    line, image = (copy.deepcopy(CASES[name]) for name in ("one axis", "two axes"))
    learned = _graphs.convolved(*(image[0], _graphs.by_channel(*image[2]), image[1]))
    late = _graphs.delay(*_graphs.rng().uniform(0, 1e-3, 24))
    late = nir.Delay(late.delay.reshape(image[2]))
    nodes = {**learned.nodes, "late": late}
    order = ["input", "conv", "late", "lif", "output"]
    loop = {**learned.nodes, "back": _graphs.linear(24, 24, -0.02)}
    return {
        "positions differ": _graphs.convolved(image[0], _graphs.cuba_lif(4, 3, 2), image[1]),
        "positions differ, one axis": _graphs.convolved(line[0], _graphs.cuba_lif(4, 7), line[1]),
        "uneven": _graphs.convolved(uneven, _graphs.by_channel(4, 5, 4), image[1]),
        "integrators": _graphs.convolved(line[0], _graphs.cuba_li(4, 7), line[1]),
        "dendritic delays": nir.NIRGraph(nodes, list(itertools.pairwise(order))),
        "recurrent": nir.NIRGraph(
            loop, [*learned.edges, ("lif", "back"), ("back", "lif")], type_check=False
        ),
    }


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # of torch
@pytest.mark.parametrize("name", dense_cases())
def test_what_they_cannot_be_stays_dense(name: str) -> None:
    graph = dense_cases()[name]
    model = read(graph, li={"t_max": WIDE["t_max"]}, lif=WIDE)
    assert kinds(model)[0].startswith("Parametrized")
    neurons = math.prod(graph.nodes["input"].input_type["input"])
    found = snn.nir.compare(graph, model, spikes(neurons, 1), "nir")
    if name == "integrators":
        assert found.nodes[0].max_voltage_difference < 1e-12
    else:
        assert found.nodes[0].spikes > 10
        assert found.max_difference < 1e-13
    if name != "recurrent":  # nir has no way back from an image to flat weights
        same_arrays(graph, snn.nir.to_nir(model))


def test_constants_of_a_convolution_may_be_given_by_channel_or_by_neuron() -> None:
    channels = torch.tensor([1.0, 1.1, 1.2, 1.3], dtype=torch.float64)
    for given in (channels, channels.repeat_interleave(6)):
        model = read(case("two axes"), lif={**ROOM, "v_threshold": given})
        assert torch.equal(model[1].v_threshold, channels)
    model = read(case("two axes"), lif={**ROOM, "v_threshold": torch.linspace(1, 2, 24)})
    assert kinds(model) == ["ParametrizedLIF"]
    model = read(case("two axes"), lif={"backend": snn.hardware.MockBSS2()})
    assert kinds(model) == ["ParametrizedLIF"]
    with pytest.raises(TypeError, match=r"node 'lif' \(CubaLIF\): .*spikes_max"):
        read(case("two axes"), lif={"spikes_max": 3})
    with pytest.raises(ValueError, match=r"node 'lif' \(CubaLIF\): max_spikes"):
        read(case("two axes"), lif={"max_spikes": 0})


def test_another_size_of_the_input_is_written_as_it_is() -> None:
    conv = read(case("two axes"))[1]
    graph = snn.nir.to_nir(conv)
    assert tuple(graph.nodes["conv"].input_shape) == (5, 4)
    wider = nn.Sequential(snn.UnflattenSpikes((2, 6, 7)), conv)
    graph = snn.nir.to_nir(wider)
    assert tuple(graph.nodes["conv_1"].input_shape) == (6, 7)
    assert tuple(graph.output_type["output"]) == (4, 4, 5)
    turned = snn.nir.to_nir(conv, input_shape=(2, 4, 5))
    assert tuple(turned.output_type["output"]) == (4, 2, 3)
    other = snn.nir.to_nir(conv, "hxtorch")
    assert tuple(other.nodes["conv_0"].input_shape) == (5, 4)


def test_models_that_cannot_be_written_are_named() -> None:
    conv, pool = snn.LIFConv2d(2, 4, 3), snn.SumPool2d(3)
    for layer in (conv, pool):
        with pytest.raises(ValueError, match=r"layer '0' .* how large its input is; pass input_sh"):
            snn.nir.to_nir(layer)
    with pytest.raises(ValueError, match=r"layer '0' takes 2 channels, but .* \(3, 5, 4\) come"):
        snn.nir.to_nir(conv, input_shape=(3, 5, 4))
    with pytest.raises(ValueError, match=r"shape \(channels, height, width\), but .* \(40,\); put"):
        snn.nir.to_nir(conv, input_shape=[40])
    with pytest.raises(ValueError, match=r"layer '0' has regions of \(3, 3\), larger than what"):
        snn.nir.to_nir(pool, input_shape=(2, 5, 2))
    with pytest.raises(ValueError, match="layer '0' takes 5 neurons, but input_shape says 6; make"):
        snn.nir.to_nir(snn.LIF(5, 4), input_shape=[6])
    with pytest.raises(ValueError, match=r"kernel_size = \(3, 3\) with dilation"):
        snn.nir.to_nir(conv, input_shape=(2, 5, 2))
    with pytest.raises(TypeError, match=r"layer '1' \(FirstSpikePool2d\) has no counterpart"):
        snn.nir.to_nir(nn.Sequential(conv, snn.FirstSpikePool2d(2)), input_shape=(2, 5, 4))
    with pytest.raises(ValueError, match=r"layer '0' \(LIF\) has delays of single connections"):
        snn.nir.to_nir(snn.LIF(5, 4, delay="synaptic"))
    with pytest.raises(ValueError, match="model has no layers to write"):
        snn.nir.to_nir(nn.Sequential(snn.FlattenSpikes()))


def test_connections_of_a_mask_are_written_as_a_matrix() -> None:
    mask = torch.as_tensor(_graphs.rng().uniform(size=(4, 5)) < 0.6)
    layer = snn.LIF(5, 4, mask=mask)
    weight = snn.nir.to_nir(layer).nodes["linear_0"].weight
    assert np.array_equal(weight, layer.dense_weight().detach().numpy())
    assert np.array_equal(weight != 0, mask.numpy())
