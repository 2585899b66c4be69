"""NIR's IF and LIF, whose voltage jumps, and pools between them, as layers and back."""

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
from ._plain_simulation import convolution, integrate, pool
from .test_round_trip import CONVENTIONS, same_arrays

ROOM: dict[str, Any] = {"max_spikes": 24, "t_max": 5e-2}


def integrators(*shape: int, seed: int = 0) -> nir.IF:
    """Neurons of which those of a channel are equal."""
    draw, rest = _graphs.rng(seed), (1,) * (len(shape) - 1)
    given = (draw.uniform(low, high, (shape[0], *rest)) for low, high in ((0.8, 1.2), (-0.3, 0.2)))
    return nir.IF(np.ones(shape), *(np.broadcast_to(x, shape).copy() for x in given))


def image_network(pools: Any = nir.SumPool2d, scale: float = 1.0) -> nir.NIRGraph:
    """As the network of convolutions of the NIR paper, from sinabs, but small."""
    draw = _graphs.rng(3)
    nodes = {
        "input": nir.Input(np.array([2, 9, 8])),
        "0": nir.Conv2d((9, 8), draw.normal(0.1, 0.3, (4, 2, 3, 3)), 2, 1, 1, 1, np.zeros(4)),
        "1": integrators(4, 5, 4),
        "2": nir.Conv2d((5, 4), draw.normal(0.02, 0.2, (3, 4, 3, 3)), 1, 1, 1, 1, np.zeros(3)),
        "3": integrators(3, 5, 4),
        "4": pools(*_graphs.pool_settings()),
        "5": nir.Conv2d(
            (2, 2), scale * draw.normal(0.02, 0.2, (5, 3, 3, 3)), 1, 1, 1, 1, np.zeros(5)
        ),
        "6": integrators(5, 2, 2),
        "7": pools(*_graphs.pool_settings()),
        "8": nir.Flatten({"input": np.array([5, 1, 1])}, start_dim=0, end_dim=-1),
        "9": nir.Affine(scale * draw.normal(0.1, 0.3, (6, 5)), np.zeros(6)),
        "10": integrators(6),
        "11": nir.Linear(draw.normal(0.1, 0.3, (3, 6))),
        "12": integrators(3),
        "output": nir.Output(np.array([3])),
    }
    return nir.NIRGraph(nodes, list(itertools.pairwise(nodes)))


def read(graph: Any, convention: str | None = "nir", **options: Any) -> Any:
    return snn.nir.from_nir(graph, convention, **{"lif": ROOM, "dtype": torch.float64, **options})


def spikes(neurons: int, k: int = 1) -> Tensor:
    times = torch.as_tensor(_graphs.rng(1).uniform(0, 1e-2, (2, neurons, k)))
    times[0, 0] = math.inf
    return times.sort(-1).values


def expected(graph: nir.NIRGraph, sample: Tensor) -> list[list[list[float]]]:
    """Spikes of all populations of `image_network`."""
    trains = [[t for t in row if t < math.inf] for row in sample.tolist()]
    shape, found, weight = (2, 9, 8), [], np.zeros(0)
    for name in list(graph.nodes)[1:-1]:
        node: Any = graph.nodes[name]
        if isinstance(node, nir.Conv2d):
            stride = 2 if name == "0" else 1
            weight, shape = convolution(np.asarray(node.weight), shape[1:], stride, 1)
        elif isinstance(node, nir.SumPool2d):
            trains, shape = pool(trains, shape, 2), (shape[0], shape[1] // 2, shape[2] // 2)
        elif isinstance(node, nir.IF):
            trains = integrate(trains, weight, node.v_threshold.ravel(), node.v_reset.ravel())
            found.append(trains)
        elif not isinstance(node, nir.Flatten):
            weight = np.asarray(node.weight)
    return found


def test_a_network_of_convolutions_spikes_event_by_event_as_a_plain_simulation() -> None:
    graph, given = image_network(), spikes(144)
    model = read(graph)
    assert [type(layer).__name__ for layer in model] == [
        *("UnflattenSpikes", "DeltaLIFConv2d", "DeltaLIFConv2d", "SumPool2d", "DeltaLIFConv2d"),
        *("SumPool2d", "FlattenSpikes", "DeltaLIF", "DeltaLIF"),
    ]
    outs, signal = [], given
    with torch.no_grad():
        for layer in model:
            signal = layer(signal)
            if isinstance(layer, snn.DeltaLIF):
                outs.append(signal.reshape(len(given), -1, signal.shape[-1]))
    for n, sample in enumerate(given):
        for out, trains in zip(outs, expected(graph, sample), strict=True):
            assert [[t for t in row if t < math.inf] for row in out[n].tolist()] == trains
    assert all(out.isfinite().sum() > 20 for out in outs)
    found = snn.nir.compare(graph, model, given, "nir")
    assert found.max_difference == 0
    assert found.nodes[-1].spikes == outs[-1].isfinite().sum()
    # Every spike is set off by one of the input's, and moves with it.
    moving = outs[3].clone().requires_grad_()
    out = model[-1](moving)
    (slopes,) = torch.autograd.grad(out[out.isfinite()].sum(), moving)
    assert slopes.sum() == out.isfinite().sum()


@pytest.mark.parametrize("pools", [nir.SumPool2d, nir.AvgPool2d])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_it_comes_back_bit_by_bit(pools: Any, convention: str, tmp_path: Path) -> None:
    graph = image_network(pools)
    back = snn.nir.to_nir(read(graph, convention))
    same_arrays(graph, back)
    assert set(back.edges) == set(graph.edges)
    kinds = [{n: type(x) for n, x in g.nodes.items()} for g in (graph, back)]
    assert kinds[0] == kinds[1]
    nir.write(tmp_path / "a.nir", back)
    nir.write(tmp_path / "b.nir", snn.nir.to_nir(read(tmp_path / "a.nir", None)))
    same_arrays(*(nir.read(tmp_path / f"{name}.nir") for name in "ab"))


def test_average_pools_divide_the_next_weights() -> None:
    """By 4, which is exact; so that four times the weights are the network with sums."""
    graph, given = image_network(nir.AvgPool2d, 4.0), spikes(144)
    model, sums = (read(g).requires_grad_(False) for g in (graph, image_network()))
    assert torch.equal(model(given), sums(given))
    assert torch.equal(model[4].weight, sums[4].weight)
    assert snn.nir.compare(graph, model, given, "nir").max_difference == 0
    with torch.no_grad():
        model[4].weight[0] += 0.05
    back = snn.nir.to_nir(model)
    arrays = _graphs.arrays(back), _graphs.arrays(graph)
    change = arrays[0]["5.weight"] - arrays[1]["5.weight"]
    np.testing.assert_allclose(change[0], 0.2, rtol=1e-13)
    assert not change[1:].any()
    # In another convention, and where a new layer takes the place, there are sums.
    other = snn.nir.to_nir(model, "hxtorch")
    assert torch.equal(read(other, None)(given), model(given))
    assert {type(node) for node in other.nodes.values()} & {nir.AvgPool2d} == set()
    model[4] = copy.deepcopy(model[4])
    del model[4]._nir_record
    assert torch.equal(read(snn.nir.to_nir(model), None)(given), model(given))
    with pytest.raises(ValueError, match=r"layer '5' is the last one, but .* AvgPool2d"):
        snn.nir.to_nir(model[:6])


@pytest.mark.parametrize("leak", usual({True}, [False, True]))
@pytest.mark.parametrize("looped", [False, True])
def test_layers_are_the_exact_solution_of_the_graph(leak: bool, looped: bool) -> None:
    draw = _graphs.rng(5)
    between: dict[str, Any] = {
        "tau": draw.uniform(0.01, 0.03, 4),
        "v_reset": draw.uniform(-1, 0, 4),
    }
    cells = _graphs.lif(4, **between, r=between["tau"] * 0.7) if leak else integrators(4)
    chain = {
        "input": nir.Input(np.array([5])),
        "w": _graphs.linear(4, 5, 0.8),
        "lif": cells,
        "v": _graphs.linear(3, 4, 0.6, seed=1),
        "out": integrators(3),
        "output": nir.Output(np.array([3])),
    }
    edges = list(itertools.pairwise(chain))
    loop = {"late": _graphs.delay(1e-3, 2e-3, 0.5e-3, 3e-3), "back": _graphs.linear(4, 4, -0.2)}
    if looped:
        edges += [("lif", "late"), ("late", "back"), ("back", "lif")]
    graph = nir.NIRGraph({**chain, **(loop if looped else {})}, edges)
    model = read(graph)
    assert type(model[0]).__name__ == ("RecurrentDeltaLIF" if looped else "DeltaLIF")
    found = snn.nir.compare(graph, model, spikes(5), "nir")
    assert all(node.spikes > 5 for node in found.nodes)
    assert found.max_difference < 1e-15
    same_arrays(graph, snn.nir.to_nir(model))
    for convention in ("hxtorch", "snntorch", "sinabs"):
        other = snn.nir.to_nir(model, convention)
        again = read(other, None)
        torch.testing.assert_close(again[0].weight, model[0].weight, rtol=1e-14, atol=0)
        assert snn.nir.compare(other, again, spikes(5)).max_difference < 1e-15
        torch.testing.assert_close(again(spikes(5)), model(spikes(5)), rtol=0, atol=1e-15)


def test_steps_are_counted_exactly_without_leak() -> None:
    graph = _graphs.graph(_graphs.linear(4, 5, 0.8), integrators(4))
    times = torch.as_tensor(_graphs.rng().integers(0, 400, (2, 5, 3)) * 1e-4).sort(-1).values
    found = snn.nir.compare(graph, read(graph), times, "nir", dt=1e-4)
    assert found.nodes[0].spikes > 5
    assert found.max_difference < 1e-12


def test_a_constant_that_learned_keeps_the_meaning_of_weights() -> None:
    graph = _graphs.graph(_graphs.linear(4, 5, 0.02 * 0.6), _graphs.lif(4))
    model = read(graph)
    for layer in (model[0],):
        layer.tau_mem, layer.v_threshold = 2 * layer.tau_mem, 1.25
    back = snn.nir.to_nir(model)
    assert (back.nodes["lif"].tau == 0.04).all()
    assert (back.nodes["lif"].r == 2.0).all()
    assert torch.equal(read(back, None)(spikes(5)), model(spikes(5)))


def test_a_bias_moves_the_rest() -> None:
    weight = _graphs.linear(4, 5, 0.01).weight
    graph = _graphs.graph(nir.Affine(weight, np.full(4, 0.4)), _graphs.lif(4, r=np.full(4, 2.0)))
    (layer,) = read(graph, bias="rest")
    assert layer.v_leak == pytest.approx(0.8)
    same_arrays(graph, snn.nir.to_nir(layer))


@pytest.mark.parametrize("pooled", [False, True])
def test_a_synapse_may_stand_in_so_that_spike_times_teach_weights(pooled: bool) -> None:
    """Spikes come as much later as it takes to deliver a jump."""
    graph = image_network() if pooled else _graphs.graph(_graphs.linear(4, 5), integrators(4))
    given = spikes(144) if pooled else spikes(5, 1)
    exact = read(graph)(given)
    errors = []
    for tau_syn in (1e-6, 1e-7):
        model = read(graph, tau_syn=tau_syn)
        same_arrays(graph, snn.nir.to_nir(model))
        found = [layer for layer in model if isinstance(layer, snn.IF)]
        assert len(found) == (5 if pooled else 1)
        if pooled:
            continue
        out = model(given)
        assert torch.equal(out.isfinite(), exact.isfinite())
        errors.append((out - exact)[exact.isfinite()].abs().max())
        out[out.isfinite()].sum().backward()
        assert found[0].weight.grad.any()
    assert pooled or (errors[1] < errors[0] / 5 and errors[1] < 1e-6)


def test_layers_of_ones_own_are_written() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        snn.DeltaLIFConv2d(2, 3, 3, tau_mem=math.inf, v_threshold=torch.rand(3) + 1, **ROOM),
        snn.SumPool2d(2),
        snn.FlattenSpikes(),
        snn.DeltaLIF(18, 4, tau_mem=torch.rand(4) * 0.02 + 0.01, **ROOM),
        snn.RecurrentDeltaLIF(4, 3, tau_mem=math.inf, recurrent_delay=1e-3, **ROOM),
    ).double()
    for layer in (model[0], model[3], model[4]):
        layer.on_overflow = "truncate"
    graph = snn.nir.to_nir(model, input_shape=(2, 8, 6))
    assert list(graph.nodes)[1:-1] == [
        *("conv_0", "if_0", "pool_1", "flatten_3", "linear_3", "lif_3", "linear_4", "if_4"),
        *("recurrent_delay_4", "recurrent_4"),
    ]
    back = read(graph, None, lif={})
    assert torch.equal(back[1].weight, model[0].weight)
    assert torch.equal(back[-1].recurrent_weight, model[-1].recurrent_weight)
    torch.testing.assert_close(back[4].weight, model[3].weight, rtol=1e-14, atol=0)
    given = spikes(96)
    torch.testing.assert_close(back(given), model(given.unflatten(-2, (2, 8, 6))), rtol=0, atol=0)


def test_what_nir_does_not_have_is_refused_with_a_remedy() -> None:
    half = snn.DeltaLIF(5, 2, tau_mem=torch.tensor([1e-2, math.inf]))
    with pytest.raises(ValueError, match=r"'0' \(DeltaLIF\) has neurons with and without leak"):
        snn.nir.to_nir(half)
    with pytest.raises(ValueError, match=r"'0' \(DeltaLIF\) starts at v_leak, .* set v_leak to"):
        snn.nir.to_nir(snn.DeltaLIF(5, 2, tau_mem=math.inf, v_reset=-0.5))
    (integrating,) = read(_graphs.graph(_graphs.linear(4, 5), integrators(4)))
    integrating.tau_mem = 1e-2
    with pytest.raises(ValueError, match=r"with and without leak|starts at"):
        snn.nir.to_nir(integrating)
    for kind, remedy in (
        (snn.IF, r"DeltaLIF\(tau_mem=inf\)"),
        (snn.AlphaLIF, "whose synapses are exponential"),
        (snn.AdaptiveLIF, "leave the adaptation out"),
        (snn.QIF, "use LIF or DeltaLIF"),
        (snn.RecurrentAlphaLIF, "use LIF"),
    ):
        with pytest.raises(ValueError, match=rf"layer '0' \({kind.__name__}\) .*{remedy}"):
            snn.nir.to_nir(kind(5, 2))
    with pytest.raises(ValueError, match=r"\(DeltaLIF\) has delays of single .* delay='axonal'"):
        snn.nir.to_nir(snn.DeltaLIF(5, 2, delay="synaptic"))
