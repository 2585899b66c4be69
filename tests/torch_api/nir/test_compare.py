"""The report on a graph's own semantics and ours."""

import math
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import Tensor

from evtorch import torch_api as snn

from . import _graphs

T_END = 4e-2
LAYERS = {"max_spikes": 12, "t_max": T_END}


def spikes(neurons: int = 5) -> Tensor:
    times = torch.as_tensor(_graphs.rng(1).uniform(0, 1e-2, (3, neurons, 1)))
    times[0, 0] = math.inf
    return times


def compare(graph: nir.NIRGraph, convention: str = "nir", **options) -> snn.nir.Comparison:
    reading = {name: options.pop(name) for name in ("tau_syn", "bias") if name in options}
    model = snn.nir.from_nir(
        graph, convention, lif=LAYERS, li={"t_max": T_END}, dtype=torch.float64, **reading
    )
    return snn.nir.compare(graph, model, spikes(), convention, **options)


def test_layers_are_the_exact_solution_of_the_graph() -> None:
    """Every node with parameters of its own, two kinds of delays, a read-out: to rounding."""
    found = compare(_graphs.deep())
    assert [node.name for node in found.nodes] == ["cubalif", "cubalif_1", "cubali"]
    assert all(node.spikes > 10 for node in found.nodes[:2])
    assert found.max_difference < 1e-14
    assert found.nodes[2].max_voltage_difference < 1e-12


@pytest.mark.parametrize("graph", [_graphs.recurrent, _graphs.recurrent_with_delays])
def test_recurrent_layers_are_too(graph: Any) -> None:
    found = compare(graph())
    assert all(node.spikes > 10 for node in found.nodes)
    assert found.max_difference < 1e-14


@pytest.mark.parametrize("convention", ["hxtorch", "norse", "snntorch"])
def test_so_they_are_in_every_convention(convention: str) -> None:
    """Written in another convention, so that the numbers mean the same network."""
    model = snn.nir.from_nir(_graphs.deep(), "nir", dtype=torch.float64)
    graph = snn.nir.to_nir(model, convention)
    found = compare(graph, convention)
    assert sum(node.spikes for node in found.nodes) > 20
    assert found.max_difference < 1e-13


def test_steps_of_the_graph_come_closer_as_they_shrink() -> None:
    errors = []
    for dt in (1e-4, 1e-5):
        found = compare(_graphs.deep(), dt=dt)
        errors.append(found.max_difference)
        assert found.nodes[2].max_voltage_difference < math.inf
    assert errors[1] < errors[0] / 3
    # In each of two layers a spike may come a step late, from where the neuron starts anew, and
    # Euler's rule errs by as much.
    assert errors[1] < 2 * 2 * LAYERS["max_spikes"] * 1e-5


def test_a_synapse_that_stands_in_comes_closer_as_it_shrinks() -> None:
    graph = _graphs.graph(_graphs.linear(4, 5, 0.02 * 0.4), _graphs.lif(4))
    errors = [compare(graph, tau_syn=tau).max_difference for tau in (1e-5, 1e-6)]
    assert errors[1] < errors[0] / 5
    assert errors[1] < 10 * 1e-6


def test_what_a_bias_costs_is_reported() -> None:
    weight = _graphs.linear(4, 5).weight
    graph = _graphs.graph(nir.Affine(weight, np.full(4, 0.4)), _graphs.cuba_lif(4))
    cost = compare(graph, bias="rest").nodes[0]
    assert cost.missing + cost.extra > 0 or cost.max_difference > 1e-5


def test_missing_and_extra_spikes_are_counted() -> None:
    graph = _graphs.graph(_graphs.linear(4, 5), _graphs.cuba_lif(4))
    model: Any = snn.nir.from_nir(graph, "nir", lif=LAYERS, dtype=torch.float64)
    with torch.no_grad():
        model[0].weight[0] = 0.0
    (found,) = snn.nir.compare(graph, model, spikes(), "nir").nodes
    assert found.missing > 0
    assert found.extra == 0
    assert snn.nir.compare(graph, model, spikes(), "nir").max_difference == math.inf
    with torch.no_grad():
        model[0].weight.copy_(2 * torch.as_tensor(_graphs.linear(4, 5).weight))
    (found,) = snn.nir.compare(graph, model, spikes(), "nir").nodes
    assert found.extra > 0


def test_the_report_is_a_table() -> None:
    lines = str(compare(_graphs.deep())).splitlines()
    assert lines[0].split()[:5] == ["node", "neurons", "spikes", "missing", "extra"]
    assert [line.split()[0] for line in lines[1:]] == ["cubalif", "cubalif_1", "cubali"]
    assert "voltages differ by" in lines[3]


def test_a_model_of_another_graph_is_refused() -> None:
    graph = _graphs.deep()
    model = snn.nir.from_nir(graph, "nir")[:2]
    with pytest.raises(ValueError, match="model has 2 layers, but the graph makes 4"):
        snn.nir.compare(graph, model, spikes(), "nir")
    with pytest.raises(ValueError, match="dt must be finite and > 0"):
        compare(graph, dt=-1.0)
