"""Experiments from and to NIR."""

import math
import sys
from typing import Any

import nir
import numpy as np
import pytest
import torch

from evtorch import torch_api as snn
from evtorch.torch_api import hardware, hx

from ._networks import Network, encoded, exact

LAYER = {"max_spikes": 16, "t_max": 39e-6, "refractory": 1e-6}


def arrays(graph):
    return {
        f"{name}.{key}": value
        for name, node in graph.nodes.items()
        for key, value in node.to_dict().items()
        if isinstance(value, np.ndarray)
    }


def graph_of(network):
    """In hxtorch's convention: milliseconds, and the current jumps by the weight."""

    def neurons(size, **more):
        found = {"tau_mem": 6e-3, "tau_syn": 6e-3, "r": 1.0, "v_leak": 0.0, **more}
        return {name: np.full(size, value) for name, value in found.items()}

    return nir.NIRGraph.from_list(
        nir.Linear(network.first.weight.detach().numpy()),
        nir.CubaLIF(**neurons(8, v_threshold=1.0, v_reset=0.0)),
        nir.Linear(network.second.weight.detach().numpy()),
        nir.CubaLI(**neurons(2)),
    )


def test_an_experiment_is_written_in_hxtorchs_convention():
    network = Network()
    spikes = encoded()
    graph = hx.to_nir(network, spikes)
    expected = arrays(graph_of(network))
    found = arrays(graph)
    names = dict(zip(graph.nodes, graph_of(network).nodes, strict=True))
    assert len(found) == len(expected)
    for name, value in found.items():
        node, key = name.split(".")
        np.testing.assert_allclose(value, expected[f"{names[node]}.{key}"], rtol=1e-14)
    assert np.array_equal(found["0.weight"], network.first.weight.detach().numpy())
    # run() left the experiment as it was.
    assert network(spikes).shape == (40, 3, 2)


def test_an_experiment_of_a_graph_gives_the_spikes_of_the_native_layers():
    network, spikes = Network(dtype=torch.float32), encoded(dtype=torch.float32)
    graph = graph_of(network)
    experiment = hx.from_nir(graph)
    found = experiment({"input": spikes})
    assert set(found) == {"input", "cubalif"}
    native = snn.nir.from_nir(graph, "hxtorch", lif=LAYER)
    expected = native[0](exact(spikes))
    times = exact(found["cubalif"])
    assert torch.isfinite(expected).sum() > 10
    room = min(times.shape[-1], 16)
    torch.testing.assert_close(times[..., :room], expected[..., :room], rtol=1e-5, atol=1e-11)
    assert experiment.output["cubali"].membrane_cadc.shape == (40, 3, 2)
    (gradient,) = torch.autograd.grad(
        experiment.output["cubali"].membrane_cadc.sum(), experiment.hxnodes["node_linear"].weight
    )
    assert gradient.abs().sum() > 0


def test_graphs_come_back():
    graph = graph_of(Network())
    neurons: Any = graph.nodes["cubalif"]
    neurons.tau_mem[3], neurons.r[2] = 9e-3, 2.0
    back = hx.to_nir(hx.from_nir(graph), {"input": encoded(dtype=torch.float32)})
    names = dict(zip(back.nodes, graph.nodes, strict=True))
    expected = arrays(graph)
    for name, value in arrays(back).items():
        node, key = name.split(".")
        np.testing.assert_allclose(value, expected[f"{names[node]}.{key}"], rtol=3e-7)
    native: Any = snn.nir.from_nir(back)[0]
    current = neurons.r[:, None] * _linear(graph)  # of a spike, in units of voltage
    torch.testing.assert_close(native.weight, torch.as_tensor(current, dtype=torch.float32))


def _linear(graph: Any) -> np.ndarray:
    return graph.nodes["linear"].weight


def test_refractory_times_go_along():
    network = Network()
    network.lif.refractory_time = hx.HXParameter(2e-6)
    graph = hx.to_nir(network, encoded())
    population: Any = hx.from_nir(graph).hxnodes["node_1"]
    assert population.refractory_time.model_value == 2e-6
    assert snn.nir.from_nir(graph)[0].refractory == pytest.approx(2e-6)


def test_graphs_of_others_have_hxtorchs_refractory_time():
    """NIR does not know one; what `to_nir` wrote without has none."""
    graph = graph_of(Network())
    population: Any = hx.from_nir(graph).hxnodes["node_cubalif"]
    assert population.refractory_time.model_value == 1e-6
    graph = snn.nir.to_nir(snn.nir.from_nir(graph, "hxtorch"), "hxtorch")
    (population,) = (m for m in hx.from_nir(graph).hxnodes.values() if isinstance(m, hx.LIF))
    assert population.refractory_time.model_value == 0.0


def test_unsorted_events_are_sorted_on_demand():
    data = snn.nir.to_nir_data({"input": torch.tensor([[[2.4e-6], [1e-6]]])}, 10e-6)
    events = data.nodes["input"].observables["spikes"]
    events.time, events.idx = events.time[:, ::-1].copy(), events.idx[:, ::-1].copy()
    network = Network()
    with pytest.raises(ValueError, match="pass sort=True"):
        hx.from_nir_data(data, network)
    dense = hx.from_nir_data(data, network, sort=True)["input"]
    assert exact(dense)[0, :, 0].tolist() == pytest.approx([2.4e-6, 1e-6])
    inner = nir.NIRGraphData({"inner": data})
    with pytest.raises(ValueError, match=r"'inner.input' lies in a NIRGraphData within"):
        hx.from_nir_data(inner, network, sort=True)


def test_spikes_come_from_and_go_to_nir_data():
    network = Network()
    times = torch.tensor([[[2.4e-6, math.inf], [1e-6, 4.9e-6]], [[3e-6, 5e-6], [math.inf] * 2]])
    data = snn.nir.to_nir_data({"input": times}, 10e-6)
    dense = hx.from_nir_data(data, network)["input"]
    assert dense.shape == (10, 2, 2)
    assert torch.equal(exact(dense), times)
    assert [tuple(x) for x in dense.nonzero().tolist()] == [
        *((1, 0, 1), (2, 0, 0), (3, 1, 0), (4, 0, 1), (5, 1, 0))
    ]
    back = hx.to_nir_data({"input": dense}, network)
    grid = back.nodes["input"].observables["spikes"]
    assert grid.dt == network.exp.dt
    assert np.array_equal(grid.data, dense.numpy().swapaxes(0, 1) > 0)
    again = hx.from_nir_data(back, network)["input"]
    assert torch.equal(torch.as_tensor(again), torch.as_tensor(dense))


def test_what_cannot_be_represented_is_named():
    network: Any = Network()
    network.lif = hx.AELIF(8, network.exp)
    with pytest.raises((TypeError, ValueError), match=r"AELIF\(8\)"):
        hx.to_nir(network, encoded())
    graph = nir.NIRGraph.from_list(
        nir.Affine(np.ones((8, 5)), np.zeros(8)), graph_of(network).nodes["cubalif"]
    )
    with pytest.raises(ValueError, match=r"node 'affine' \(Affine\) is not supported in experi"):
        hx.from_nir(graph)
    experiment = hx.from_nir(graph_of(network))
    with pytest.raises(ValueError, match="must have the spikes of the Input node 'input'"):
        experiment({"in": encoded()})


def test_scripts_find_them_under_hxtorchs_names():
    hx.compat.install(hardware.MockBSS2())
    try:
        from hxtorch.spiking.utils.from_nir import (  # pyright: ignore[reportMissingImports]
            ConversionConfig,
            from_nir,
        )
        from hxtorch.spiking.utils.to_nir_data import (  # pyright: ignore[reportMissingImports]
            to_nir_data,
        )

        assert (ConversionConfig, from_nir) == (hx.ConversionConfig, hx.from_nir)
        assert to_nir_data is hx.to_nir_data
    finally:
        hx.compat.uninstall()
    assert "hxtorch" not in sys.modules
