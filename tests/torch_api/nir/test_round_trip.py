"""What goes from NIR to layers and back, or the other way round, is the same."""

import copy
import math
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import nn

from evtorch import torch_api as snn

from ..._thorough import usual
from .. import _networks
from . import _graphs


def same_arrays(a: nir.NIRGraph, b: nir.NIRGraph) -> None:
    first, second = _graphs.arrays(a), _graphs.arrays(b)
    assert set(first) == set(second)
    for name, value in first.items():
        assert value.dtype == second[name].dtype, name
        assert np.array_equal(value, second[name]), name


GRAPHS = {
    "deep": _graphs.deep,
    "convolution": lambda: _graphs.graph(
        _graphs.conv(padding=1),
        _graphs.cuba_lif(4, 5, 4),
        nir.Flatten(input_type={"input": np.array([4, 5, 4])}, start_dim=0),
        _graphs.linear(3, 80),
        _graphs.cuba_lif(3),
    ),
    "recurrent": _graphs.recurrent,
    "recurrent with delays": _graphs.recurrent_with_delays,
    "without synapse": lambda: _graphs.graph(_graphs.linear(4, 5, 0.02), _graphs.lif(4)),
    "bias": lambda: _graphs.graph(
        nir.Affine(weight=_graphs.linear(4, 5).weight, bias=np.arange(4) / 10.0),
        _graphs.cuba_lif(4),
    ),
    "float32": lambda: _graphs.graph(
        nir.Linear(weight=_graphs.linear(3, 5).weight.astype(np.float32)),
        nir.CubaLIF(**{k: np.full(3, v, np.float32) for k, v in _NUMBERS.items()}),
    ),
}
_NUMBERS = {"tau_mem": 0.02, "tau_syn": 0.01, "r": 3, "v_leak": 0, "v_threshold": 1, "w_in": 0.7}
CONSTANTS = ("tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset", "refractory")
CONVENTIONS = ["nir", "hxtorch", "norse", "snntorch", "spikingjelly"]


def read(graph: Any, convention: str | None, **options) -> Any:
    return snn.nir.from_nir(graph, convention, tau_syn=1e-4, bias="rest", **options)


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_graphs_come_back_bit_by_bit(name: str, convention: str, dtype: torch.dtype) -> None:
    graph = GRAPHS[name]()
    original = copy.deepcopy(graph)
    back = snn.nir.to_nir(read(graph, convention, dtype=dtype))
    same_arrays(original, graph)
    same_arrays(graph, back)
    assert set(back.edges) == set(graph.edges)
    kinds = [{name: type(node) for name, node in g.nodes.items()} for g in (graph, back)]
    assert kinds[0] == kinds[1]


def test_names_of_the_ends_come_back() -> None:
    plain = _graphs.recurrent()
    names = {"input": "retina", "output": "answer"}
    graph = nir.NIRGraph(
        {names.get(name, name): node for name, node in plain.nodes.items()},
        [(names.get(a, a), names.get(b, b)) for a, b in plain.edges],
    )
    model = read(graph, "nir")
    back = snn.nir.to_nir(model)
    assert set(back.nodes) == set(graph.nodes)
    assert set(back.edges) == set(graph.edges)
    # Behind other layers, the names of the ends are those of what is first and last now.
    longer = snn.nir.to_nir(nn.Sequential(snn.LIF(2, 5), *model))
    assert {"input", "answer"} < set(longer.nodes)


def test_neurons_without_input_come_back() -> None:
    """With r = 0 no weight has an effect; in silence, as long as it has not been changed."""
    graph = _graphs.graph(_graphs.linear(3, 5), _graphs.cuba_lif(3, r=np.array([1.0, 0.0, 2.0])))
    model = read(graph, "nir")
    assert not model[0].weight[1].any()
    same_arrays(graph, snn.nir.to_nir(model))
    with torch.no_grad():
        model[0].weight[1, 0] = 1.0
    with pytest.raises(ValueError, match=r"node 'linear' \(Linear\) has weights that have changed"):
        snn.nir.to_nir(model)


def test_files_come_back_bit_by_bit(tmp_path: Path) -> None:
    graph = _graphs.deep()
    nir.write(tmp_path / "a.nir", graph)
    model = read(tmp_path / "a.nir", "nir")
    nir.write(tmp_path / "b.nir", snn.nir.to_nir(model))
    back = nir.read(tmp_path / "b.nir")
    first, second = _graphs.arrays(graph), _graphs.arrays(back)
    assert set(first) == set(second)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert set(graph.edges) == set(back.edges)


def layers(dtype: torch.dtype) -> nn.Sequential:
    per_neuron = torch.tensor([1.5e-2, 2e-2, 2.7e-2])
    model = nn.Sequential(
        _networks.strong(snn.LIF(5, 4, delay="axonal", refractory=math.inf)),
        snn.Delay(4, init=1e-3),
        snn.LIF(
            4,
            3,
            tau_mem=per_neuron,
            v_reset=-per_neuron,
            learn="v_threshold",
            delay="dendritic",
            max_spikes=4,
            on_overflow="truncate",
            t_max=6e-2,
        ),
        snn.LI(3, 2, readout="integral", t_max=6e-2),
    )
    for delay in (model[0].delay, model[1].delay, model[2].delay):
        nn.init.uniform_(delay, 0, 2e-3)
    return model.to(dtype)


@pytest.mark.parametrize("dtype", usual({torch.float32}, [torch.float32, torch.float64]))
def test_layers_come_back_bit_by_bit(dtype: torch.dtype, tmp_path: Path) -> None:
    model = layers(dtype)
    nir.write(tmp_path / "a.nir", snn.nir.to_nir(model, refractory="metadata"))
    back = snn.nir.from_nir(
        tmp_path / "a.nir",
        lif={"on_overflow": "truncate"},
        li={"readout": "integral", "t_max": 6e-2},
        dtype=dtype,
    )
    assert [type(layer) for layer in back] == [snn.Delay, *(type(layer) for layer in model)]
    assert torch.equal(back[0].delay, model[0].delay)
    for new, old in zip(back[1:], model, strict=True):
        for name in ("weight", *CONSTANTS):
            if hasattr(old, name):
                a, b = (torch.as_tensor(getattr(x, name), dtype=dtype) for x in (new, old))
                assert torch.equal(*torch.broadcast_tensors(a, b)), name
        if isinstance(old, snn.LIF):
            assert (new.max_spikes, new.t_max) == (old.max_spikes, old.t_max)
    assert torch.equal(back[2].delay, model[1].delay)
    assert torch.equal(back[3].delay, model[2].delay)
    spikes = _networks.spikes(7, 5, 1, dtype=dtype)
    assert torch.equal(model(spikes), back(spikes))


def test_recurrent_layers_come_back_bit_by_bit() -> None:
    first = snn.RecurrentLIF(5, 4, delay="axonal", recurrent_delay="axonal")
    model = nn.Sequential(first, snn.RecurrentLIF(4, 3))
    for delay in (first.delay, first.recurrent_delay):
        nn.init.uniform_(delay, 0, 2e-3)
    back = snn.nir.from_nir(snn.nir.to_nir(model))
    assert [type(layer) for layer in back] == [snn.Delay, snn.RecurrentLIF, snn.RecurrentLIF]
    assert torch.equal(back[0].delay, first.delay)
    assert torch.equal(back[1].recurrent_delay, first.recurrent_delay)
    assert back[2].recurrent_delay is None
    for new, old in zip(back[1:], model, strict=True):
        assert torch.equal(new.weight, old.weight)
        assert torch.equal(new.recurrent_weight, old.recurrent_weight)


def test_options_of_layers_come_back_from_a_file(tmp_path: Path) -> None:
    spiking = {"max_spikes": 3, "t_max": 0.05, "on_overflow": "truncate", "min_slope": 0.25}
    reading = {"readout": "integral", "t_max": 0.04, "tau_weight": 0.01}
    model = nn.Sequential(
        snn.LIF(5, 4, gradient="fast_and_deep", **spiking | {"max_spikes": 1}),
        snn.RecurrentLIF(4, 4, **spiking),
        snn.LI(4, 3, **reading),
    )
    nir.write(tmp_path / "options.nir", snn.nir.to_nir(model))
    back = snn.nir.from_nir(tmp_path / "options.nir")
    for again in (back, snn.nir.from_nir(snn.nir.to_nir(back))):
        assert again[0].gradient == "fast_and_deep"
        assert {name: getattr(again[1], name) for name in spiking} == spiking
        assert {name: getattr(again[2], name) for name in reading} == reading
    other = {"readout": "max", "tau_weight": math.inf}
    assert snn.nir.from_nir(tmp_path / "options.nir", li=other)[2].readout == "max"


def test_neurons_of_a_sub_graph_are_taken_out_of_it() -> None:
    """As snnTorch writes recurrent neurons: Input, neurons, Linear and Output in a graph."""
    flat = _graphs.recurrent()
    inner = nir.NIRGraph(
        {
            "input": nir.Input(np.array([4])),
            "lif": flat.nodes["lif"],
            "back": flat.nodes["back"],
            "output": nir.Output(np.array([4])),
        },
        [("input", "lif"), ("lif", "back"), ("back", "lif"), ("lif", "output")],
    )
    outer = nir.NIRGraph(
        {name: flat.nodes[name] for name in ("input", "w", "v", "out", "output")} | {"r": inner},
        [("input", "w"), ("w", "r"), ("r", "v"), ("v", "out"), ("out", "output")],
    )
    nested, plain = read(outer, "nir"), read(flat, "nir")
    for (name, new), old in zip(nested.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(new, old), name
    assert set(snn.nir.to_nir(nested).nodes) == {
        *("input", "w", "r.lif", "r.back", "v", "out", "output")
    }


def test_what_changes_is_written_anew_and_the_rest_as_it_was() -> None:
    graph = _graphs.deep()
    model = read(graph, "hxtorch")
    with torch.no_grad():
        model[1].weight[1, 2] = 0.25
        model[1].tau_syn[0] *= 2
        model[2].delay[2] = -1.0  # an optimiser's step; 0 is in use
        model[2].v_leak += 0.5
    back = _graphs.arrays(snn.nir.to_nir(model))
    first = _graphs.arrays(graph)
    changed = {name for name in first if not np.array_equal(first[name], back[name])}
    assert changed == {"linear.weight", "cubalif.tau_syn", "delay_1.delay", "cubalif_1.v_leak"}
    factor = first["cubalif.w_in"][1]  # r is 1, and the current jumps by r w_in w
    np.testing.assert_allclose(back["linear.weight"][1, 2], 0.25 / factor, 1e-15)
    assert np.sum(first["linear.weight"] != back["linear.weight"]) == 1
    assert back["delay_1.delay"][2] == 0
    np.testing.assert_allclose(back["cubalif.tau_syn"][0], 2 * first["cubalif.tau_syn"][0], 1e-6)
    np.testing.assert_allclose(back["cubalif_1.v_leak"], first["cubalif_1.v_leak"] + 0.5, 1e-6)


def test_changed_time_constants_leave_the_weights_their_meaning() -> None:
    for convention in ("nir", "snntorch"):
        model = read(_graphs.graph(_graphs.linear(3, 5), _graphs.cuba_lif(3)), convention)
        with torch.no_grad():
            model[0].tau_syn.mul_(torch.tensor([1.0, 2.0, 0.5]))
            model[0].tau_mem.mul_(torch.tensor([0.5, 1.0, 2.0]))
        again = read(snn.nir.to_nir(model), None)
        for name in ("weight", "tau_mem", "tau_syn"):
            torch.testing.assert_close(getattr(again[0], name), getattr(model[0], name))


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_any_convention_can_be_written_and_tells_itself(convention: str) -> None:
    model = nn.Sequential(snn.LIF(5, 4), snn.Delay(4, init=1e-3), snn.LI(4, 3)).double()
    graph = snn.nir.to_nir(model, convention)
    back = snn.nir.from_nir(graph, dtype=torch.float64)
    for new, old in zip(back, model, strict=True):
        for name in ("weight", "delay", "tau_mem", "tau_syn"):
            if getattr(old, name, None) is not None:
                a, b = (torch.as_tensor(getattr(x, name), dtype=torch.float64) for x in (new, old))
                torch.testing.assert_close(a, b, rtol=1e-15, atol=0)
    if convention == "nir":
        assert torch.equal(back[0].weight, model[0].weight)
    elsewhere = read(snn.nir.to_nir(read(_graphs.deep(), "nir"), convention), None)
    torch.testing.assert_close(elsewhere[1].weight, read(_graphs.deep(), "nir")[1].weight)


def test_weights_mean_what_the_convention_says() -> None:
    """Each convention's current jump, written out: r w_in w area / tau_syn, or r w_in w."""
    neuron = _graphs.cuba_lif(1, r=np.array([3.0]), w_in=np.array([5.0]), tau_syn=np.array([8.0]))
    graph = _graphs.graph(nir.Linear(weight=np.array([[2.0]])), neuron)
    jumps = {
        "nir": (3 * 5 * 2 / 8, 8.0),
        "hxtorch": (3.0 * 5 * 2, 8e-3),
        "norse": (3.0 * 5 * 2, 8e3),
        "snntorch": (3 * 5 * 2 * 1e-4 / 8, 8.0),
        "spikingjelly": (3 * 5 * 2 * 1e-4 / 8, 8.0),
    }
    for name, (jump, tau_syn) in jumps.items():
        (layer,) = snn.nir.from_nir(graph, name, dtype=torch.float64)
        torch.testing.assert_close(layer.weight.item(), jump, rtol=1e-14, atol=0)
        torch.testing.assert_close(layer.tau_syn, tau_syn, rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    "settings", [{"size": (3, 2)}, {"stride": 2, "padding": 1}, {"padding": "same"}]
)
@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_is_its_dense_matrix(settings: dict, groups: int) -> None:
    node = _graphs.conv(groups=groups, **settings)
    inputs = torch.rand(2, 5, 4, dtype=torch.float64)
    expected = nn.functional.conv2d(
        inputs,
        torch.as_tensor(node.weight),
        stride=node.stride,
        padding=node.padding,
        groups=groups,
    )
    graph = nir.NIRGraph(
        {
            "input": nir.Input(np.array([2, 5, 4])),
            "conv": node,
            "lif": _graphs.cuba_lif(*expected.shape),
            "output": nir.Output(np.array(expected.shape)),
        },
        [("input", "conv"), ("conv", "lif"), ("lif", "output")],
        type_check=False,
    )
    (layer,) = read(graph, "nir", dtype=torch.float64)
    torch.testing.assert_close(layer.weight @ inputs.flatten(), expected.flatten())
    back = snn.nir.to_nir(nn.Sequential(layer))
    assert np.array_equal(back.nodes["conv"].weight, node.weight)
    assert tuple(back.nodes["conv"].output_type["output"]) == tuple(expected.shape)


def test_the_kernel_is_what_learns() -> None:
    (layer, _) = read(GRAPHS["convolution"](), "nir", dtype=torch.float64)
    names = [name for name, _ in layer.named_parameters()]
    assert names == ["parametrizations.weight.original"]
    kernel = layer.parametrizations["weight"].original
    assert kernel.shape == (4, 2, 3, 3)
    inputs = torch.rand(7, 2, 5, 4, dtype=torch.float64)
    outputs = torch.rand(7, 80, dtype=torch.float64)
    ((inputs.flatten(1) @ layer.weight.T) * outputs).sum().backward()
    reference = kernel.detach().clone().requires_grad_()
    seen = nn.functional.conv2d(inputs, reference, padding=1)
    (seen.flatten(1) * outputs).sum().backward()
    torch.testing.assert_close(kernel.grad, reference.grad)


def test_weights_made_of_a_kernel_are_not_rescued_one_by_one() -> None:
    (layer,) = read(_graphs.graph(_graphs.conv(), _graphs.cuba_lif(4, 3, 2)), "nir")
    layer(torch.full((2, 40, 1), math.inf))
    with pytest.raises(ValueError, match="a layer has a parametrised weight"):
        snn.rescue_silent_(layer)


def test_neurons_that_differ_keep_one_kernel() -> None:
    node = _graphs.conv()
    neurons = _graphs.cuba_lif(4, 3, 2, w_in=_graphs.rng().uniform(0.01, 0.02, (4, 3, 2)))
    (layer,) = read(_graphs.graph(node, neurons), "nir", dtype=torch.float64)
    dense = read(_graphs.graph(node, _graphs.cuba_lif(4, 3, 2)), "nir", dtype=torch.float64)[0]
    factor = torch.as_tensor(neurons.w_in / neurons.tau_syn).flatten().unsqueeze(-1)
    torch.testing.assert_close(layer.weight, factor * dense.weight)
    for convention in ("hxtorch", "snntorch"):
        back = snn.nir.from_nir(
            snn.nir.to_nir(nn.Sequential(layer), convention), dtype=torch.float64
        )
        torch.testing.assert_close(back[0].weight, layer.weight)


def test_reading_leaves_the_random_generator_alone() -> None:
    state = torch.get_rng_state()
    read(_graphs.deep(), "nir")
    assert torch.equal(state, torch.get_rng_state())


def test_slices_and_copies_of_a_model_still_write_their_nodes() -> None:
    model = read(_graphs.deep(), "nir")
    back = snn.nir.to_nir(copy.deepcopy(model[1:2]))
    assert list(back.nodes) == ["input", "linear", "cubalif", "output"]
    twice = snn.nir.to_nir(
        nn.Sequential(model[0], nn.Sequential(model[1]), snn.LIF(4, 5), model[1])
    )
    assert len(set(twice.nodes)) == len(twice.nodes) == 9
