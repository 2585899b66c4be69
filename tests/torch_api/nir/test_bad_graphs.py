"""Graphs and models that cannot be represented: errors name the node, the reason and a remedy."""

import math
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import nn

from evtorch import torch_api as snn

from . import _graphs


def wired(nodes: dict[str, Any], *edges: str) -> nir.NIRGraph:
    """A graph with edges as in ``"a b"``, unchecked."""
    return nir.NIRGraph(nodes, [tuple(edge.split()) for edge in edges], type_check=False)


def ends(inputs: int = 5, outputs: int = 4) -> dict[str, Any]:
    return {"input": nir.Input(np.array([inputs])), "output": nir.Output(np.array([outputs]))}


def layer(inputs: int = 5, **parameters: Any) -> dict[str, Any]:
    return {"w": _graphs.linear(4, inputs), "lif": _graphs.cuba_lif(4, **parameters)}


def kernel(*shape: int) -> nir.Conv1d:
    """A kernel for 9 positions."""
    return nir.Conv1d(9, np.ones(shape), 1, 0, 1, 1, np.zeros(shape[0]))


def pooled(pool: nir.SumPool2d) -> nir.NIRGraph:
    nodes = {"input": nir.Input(np.array([2, 5, 4])), "pool": pool, "output": ends()["output"]}
    return wired(nodes, "input pool", "pool output")


CHAIN = ("input w", "w lif", "lif output")
BAD: dict[str, tuple[Callable[[], nir.NIRGraph], str]] = {
    "no Input": (
        lambda: wired({**layer(), "output": ends()["output"]}, "w lif", "lif output"),
        "the graph must have exactly one Input node, but has none; add one",
    ),
    "no Output": (
        lambda: wired({**layer(), "input": ends()["input"]}, "input w", "w lif"),
        "exactly one Output node, but has none",
    ),
    "two Inputs": (
        lambda: wired({**layer(), **ends(), "more": ends()["input"]}, *CHAIN, "more w"),
        "exactly one Input node, but has 'input', 'more'; split",
    ),
    "unknown node in an edge": (
        lambda: wired({**layer(), **ends()}, *CHAIN, "lif nowhere"),
        "edge ('lif', 'nowhere') names a node 'nowhere' that the graph does not have",
    ),
    "double edge": (
        lambda: wired({**layer(), **ends()}, *CHAIN, "w lif"),
        "edge ('w', 'lif') is there twice",
    ),
    "branch": (
        lambda: wired({**layer(), **ends(), "v": _graphs.linear(4, 5)}, *CHAIN, "input v", "v lif"),
        "node 'input' (Input) leads to 'w', 'v'; only chains",
    ),
    "two inputs": (
        lambda: wired({**layer(), **ends(), "v": _graphs.linear(4, 5)}, *CHAIN, "v lif"),
        "node 'lif' (CubaLIF) has several inputs: 'w', 'v'; only chains",
    ),
    "dead end": (
        lambda: wired({**layer(), **ends()}, "input w", "w lif"),
        "node 'lif' (CubaLIF) leads nowhere",
    ),
    "cycle over two layers": (
        lambda: wired(
            {
                **ends(),
                **layer(),
                "back": _graphs.linear(4, 4),
                "other": _graphs.cuba_lif(4),
                "forth": _graphs.linear(4, 4),
            },
            *("input w", "w lif", "lif forth", "forth other", "other back", "back lif"),
        ),
        "node 'lif' (CubaLIF) is part of a cycle (inputs: 'w', 'back')",
    ),
    "two recurrent connections": (
        lambda: wired(
            {**_graphs.recurrent().nodes, "more": _graphs.linear(4, 4)},
            *(" ".join(edge) for edge in _graphs.recurrent().edges),
            *("lif more", "more lif"),
        ),
        "node 'lif' (CubaLIF) has two recurrent connections, 'back' and 'more'; add their weights",
    ),
    "recurrent weights that are not numbers": (
        lambda: _graphs.recurrent(back=nir.Linear(np.full((4, 4), np.inf))),
        "node 'back' (Linear) has weights that are not finite",
    ),
    "recurrent weights of the wrong number": (
        lambda: wired(
            {**_graphs.recurrent().nodes, "back": _graphs.linear(4, 5)},
            *(" ".join(edge) for edge in _graphs.recurrent().edges),
        ),
        "node 'back' (Linear) must have a weight of shape (4, 4) to lead back to 'lif', got (4, 5)",
    ),
    "delays of recurrent neurons' inputs": (
        lambda: wired(
            {**_graphs.recurrent().nodes, "d": _graphs.delay(0, 0, 0, 1e-3)},
            *("input w", "w d", "d lif", "lif back", "back lif", "lif v", "v out", "out output"),
        ),
        "node 'd' (Delay) delays the input of single neurons that are recurrent; put it before",
    ),
    "integrator with a loop": (
        lambda: wired(
            {
                **ends(),
                "w": _graphs.linear(4, 5),
                "li": _graphs.cuba_li(4),
                "b": _graphs.linear(4, 4),
            },
            *("input w", "w li", "li b", "b li", "li output"),
        ),
        "node 'li' (CubaLI) has a recurrent connection but no spikes; remove the loop",
    ),
    "unconnected": (
        lambda: wired({**layer(), **ends(), "alone": _graphs.cuba_lif(4)}, *CHAIN),
        "node 'alone' (CubaLIF) is not on the way from Input to Output; connect or remove it",
    ),
    "nothing but ends": (
        lambda: wired(ends(), "input output"),
        "node 'output' (Output) follows the Input with no neurons between",
    ),
    "neurons without weights": (
        lambda: _graphs.graph(_graphs.cuba_lif(4)),
        "node 'cubalif' (CubaLIF) gets its input without weights; put a Linear before it",
    ),
    "weights without neurons": (
        lambda: _graphs.graph(_graphs.linear(4, 5)),
        "node 'linear' (Linear) leads to Output without neurons",
    ),
    "two projections": (
        lambda: _graphs.graph(_graphs.linear(4, 5), _graphs.linear(4, 4), _graphs.cuba_lif(4)),
        "node 'linear_1' (Linear) follows another projection; multiply",
    ),
    "integrator in between": (
        lambda: _graphs.graph(
            _graphs.linear(4, 5), _graphs.cuba_li(4), _graphs.linear(3, 4), _graphs.cuba_lif(3)
        ),
        "node 'linear_1' (Linear) follows neurons that do not spike",
    ),
    "delays of an integrator's inputs": (
        lambda: _graphs.graph(_graphs.linear(1, 5), _graphs.delay(1e-3), _graphs.cuba_li(1)),
        "node 'delay' (Delay) delays the input of single neurons that do not spike; put it before",
    ),
    "inputs of the wrong number": (
        lambda: wired({**layer(inputs=6), **ends()}, *CHAIN),
        "node 'w' (Linear) takes 6 neurons, but 5 (shape (5,)) reach it",
    ),
    "constants of the wrong number": (
        lambda: wired({**layer(), "lif": _graphs.cuba_lif(3), **ends()}, *CHAIN),
        "node 'lif' (CubaLIF) has tau_mem for 3 neurons, but 4 (shape (4,)) reach it",
    ),
    "Output of the wrong number": (
        lambda: wired({**layer(), **ends(outputs=3)}, *CHAIN),
        "node 'output' (Output) has shape (3,), but 4 neurons reach it",
    ),
    "weights of three dimensions": (
        lambda: wired({**layer(), **ends(), "w": nir.Linear(np.ones((2, 4, 5)))}, *CHAIN),
        "node 'w' (Linear) has a weight of shape (2, 4, 5); use one of shape (out, in)",
    ),
    "channels that do not fit": (
        lambda: wired({**ends(41), "w": _graphs.conv(), "lif": _graphs.cuba_lif(4)}, *CHAIN),
        "node 'w' (Conv2d) takes 2 channels of (5, 4), but shape (41,) reaches it",
    ),
    "weights that are not numbers": (
        lambda: wired({**layer(), **ends(), "w": nir.Linear(np.full((4, 5), np.nan))}, *CHAIN),
        "node 'w' (Linear) has weights that are not finite",
    ),
    "negative time constant": (
        lambda: wired({**layer(tau_mem=np.array([1e-2, 1e-2, -1e-2, 1e-2])), **ends()}, *CHAIN),
        "node 'lif' (CubaLIF) has tau_mem[2] = -0.01, which must be > 0; correct tau_mem",
    ),
    "NaN time constant": (
        lambda: wired({**layer(tau_syn=np.full(4, np.nan)), **ends()}, *CHAIN),
        "node 'lif' (CubaLIF) has tau_syn[0] = nan, which must be finite",
    ),
    "reset over the threshold": (
        lambda: wired({**layer(v_reset=np.array([0.0, 3.0, 0.0, 0.0])), **ends()}, *CHAIN),
        "node 'lif' (CubaLIF) has v_reset[1] = 3.0, which must be below v_threshold",
    ),
    "negative delay": (
        lambda: _graphs.graph(_graphs.delay(-1e-3), _graphs.linear(4, 1), _graphs.cuba_lif(4)),
        "node 'delay' (Delay) has a delay of -0.001 s; delays must be >= 0",
    ),
    "bias": (
        lambda: _graphs.graph(nir.Affine(np.ones((4, 5)), np.ones(4)), _graphs.cuba_lif(4)),
        "node 'affine' (Affine) has a bias, a constant current from t = 0 on",
    ),
    "no synapse": (
        lambda: _graphs.graph(_graphs.linear(4, 5), _graphs.li(4)),
        "node 'li' (LI) has no synapse: each spike makes its voltage jump",
    ),
    "Scale": (
        lambda: _graphs.graph(nir.Scale(np.ones(5)), _graphs.linear(4, 5), _graphs.cuba_lif(4)),
        "node 'scale' (Scale) scales spikes, which have no size here; multiply it into the weights",
    ),
    "integrator without leak": (
        lambda: _graphs.graph(_graphs.linear(4, 5), nir.I(np.ones(4))),
        "node 'i' (I) integrates without leak; use a CubaLI node with a long tau_mem",
    ),
    "bias without leak": (
        lambda: _graphs.graph(
            nir.Affine(np.ones((4, 5)), np.ones(4)), nir.IF(np.ones(4), np.ones(4))
        ),
        "node 'affine' (Affine) has a bias, a constant current, which drives voltages without leak",
    ),
    "delays of integrate-and-fire neurons": (
        lambda: _graphs.graph(
            _graphs.linear(1, 5), _graphs.delay(1e-3), nir.IF(np.ones(1), np.ones(1))
        ),
        "node 'delay' (Delay) delays the input of single neurons that are a DeltaLIF; put it",
    ),
    "average pooling at the end": (
        lambda: pooled(nir.AvgPool2d(*_graphs.pool_settings())),
        "node 'pool' (AvgPool2d) divides spikes that leave the graph, and spikes have no size here",
    ),
    "pooling of flat neurons": (
        lambda: wired(
            {**ends(), **layer(), "pool": _graphs.pool()},
            *("input pool", "pool w", "w lif", "lif output"),
        ),
        "node 'pool' (SumPool2d) pools rows and columns, but shape (5,) reaches it; give it",
    ),
    "pooling of weighted input": (
        lambda: _graphs.graph(_graphs.conv(padding=1), _graphs.pool(), _graphs.cuba_lif(4, 2, 2)),
        "node 'sumpool2d' (SumPool2d) pools what a projection gives, before it reaches neurons; "
        "put it before the projection",
    ),
    "regions larger than the input": (
        lambda: pooled(_graphs.pool(size=6)),
        "node 'pool' (SumPool2d) leaves nothing of shape (2, 5, 4); use a smaller kernel",
    ),
    "regions of padding": (
        lambda: pooled(_graphs.pool(padding=2)),
        "node 'pool' (SumPool2d) has padding (2, 2) for regions of (2, 2); use at most half",
    ),
    "regions without size": (
        lambda: pooled(_graphs.pool(size=0)),
        "node 'pool' (SumPool2d) has kernel_size (0, 0), stride (2, 2) and padding (0, 0); use",
    ),
    "a kernel of too many dimensions": (
        lambda: wired({**ends(18), "w": kernel(2, 2, 3, 3), "lif": _graphs.cuba_lif(4)}, *CHAIN),
        "node 'w' (Conv1d) has a weight of shape (2, 2, 3, 3); use (out, in / groups, k)",
    ),
    "channels of one dimension": (
        lambda: wired({**ends(19), "w": kernel(2, 2, 3), "lif": _graphs.cuba_lif(4)}, *CHAIN),
        "node 'w' (Conv1d) takes 2 channels of (9,), but shape (19,) reaches it; give input_shape, "
        "or an Input of shape (channels, length)",
    ),
    "the same size with strides": (
        lambda: wired(
            {**ends(40), "w": _graphs.conv(stride=2, padding="same"), "lif": _graphs.cuba_lif(4)},
            *CHAIN,
        ),
        "node 'w' (Conv2d) has padding 'same' and stride (2, 2); give the padding as numbers",
    ),
    "Threshold": (
        lambda: _graphs.graph(_graphs.linear(4, 5), nir.Threshold(np.ones(4))),
        "node 'threshold' (Threshold) has no membrane",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_error_names_node_reason_and_remedy(name: str) -> None:
    make, message = BAD[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        snn.nir.from_nir(make(), "nir")


def test_options_of_layers_that_are_wrong_name_the_node() -> None:
    graph = _graphs.graph(_graphs.linear(4, 5), _graphs.cuba_lif(4))
    with pytest.raises(TypeError, match=r"node 'cubalif' \(CubaLIF\): .*spikes_max"):
        snn.nir.from_nir(graph, "nir", lif={"spikes_max": 3})
    with pytest.raises(ValueError, match=r"node 'cubalif' \(CubaLIF\): max_spikes"):
        snn.nir.from_nir(graph, "nir", lif={"max_spikes": 0})


def test_settings_that_are_wrong_are_named() -> None:
    graph = _graphs.deep()
    with pytest.raises(ValueError, match="convention must be given for a graph that evtorch did"):
        snn.nir.from_nir(graph)
    with pytest.raises(ValueError, match="convention must be one of 'nir', 'hxtorch'"):
        snn.nir.from_nir(graph, "nest")
    with pytest.raises(ValueError, match="bias must be 'error' or 'rest', got 'drop'"):
        snn.nir.from_nir(graph, "nir", bias="drop")
    with pytest.raises(ValueError, match="tau_syn must be finite and > 0"):
        snn.nir.from_nir(graph, "nir", tau_syn=0.0)
    with pytest.raises(ValueError, match="time_unit must be finite and > 0"):
        snn.nir.Convention(time_unit=-1)
    with pytest.raises(ValueError, match="current_jump must be one of 'area', 'weight'"):
        snn.nir.Convention(current_jump="half")
    with pytest.raises(TypeError, match=r"graph must be a nir.NIRGraph, got CubaLIF"):
        snn.nir.from_nir(_graphs.cuba_lif(3), "nir")


def test_models_that_nir_does_not_have_are_named() -> None:
    encoder = snn.LatencyEncoder(0.0, 1e-2)
    with pytest.raises(TypeError, match=r"layer '0' \(LatencyEncoder\) has no counterpart in NIR"):
        snn.nir.to_nir(nn.Sequential(encoder, snn.LIF(5, 4)))
    with pytest.raises(ValueError, match=r"layer '0' \(LI\) gives numbers, no spikes"):
        snn.nir.to_nir(nn.Sequential(snn.LI(5, 4), snn.LIF(4, 3)))
    with pytest.raises(ValueError, match="layer '1' takes 3 neurons, but the one before it has 4"):
        snn.nir.to_nir(nn.Sequential(snn.LIF(5, 4), snn.LIF(3, 2)))
    with pytest.raises(
        ValueError, match=r"layer '0' \(LIF\) has a refractory time, which NIR does"
    ):
        snn.nir.to_nir(nn.Sequential(snn.LIF(5, 4, refractory=math.inf)))
    with pytest.raises(ValueError, match="refractory must be 'error' or 'metadata'"):
        snn.nir.to_nir(snn.LIF(5, 4), refractory="drop")
    with pytest.raises(ValueError, match="model has no layers to write"):
        snn.nir.to_nir(nn.Sequential())


def test_a_convolution_behind_flat_neurons_is_named() -> None:
    chain = _graphs.graph(_graphs.conv(padding=1), _graphs.cuba_lif(4, 5, 4))
    (conv,) = snn.nir.from_nir(chain, "nir")
    with pytest.raises(
        ValueError, match=r"layer '1' takes neurons in shape \(.*, but they come in"
    ):
        snn.nir.to_nir(nn.Sequential(snn.LIF(5, 40), conv))


def test_a_bias_moves_the_rest_where_asked_to() -> None:
    """tau_syn i' = -i + w_in b and tau_mem v' = v_leak - v + r i rest at v_leak + r w_in b."""
    neuron = _graphs.cuba_lif(4)
    bias = np.array([0.1, 0.0, -0.3, 2.0])
    graph = _graphs.graph(nir.Affine(np.ones((4, 5)), bias), neuron)
    (layer,) = snn.nir.from_nir(graph, "nir", bias="rest", dtype=torch.float64)
    expected = neuron.v_leak + neuron.r * neuron.w_in * bias
    np.testing.assert_allclose(layer.v_leak.numpy(), expected, rtol=1e-14)


WITHOUT_NIR = """
import sys
sys.modules["nir"] = None  # as if it were not installed
from evtorch import torch_api as snn
for call in (lambda: snn.nir.to_nir(snn.LIF(3, 2)), lambda: snn.nir.from_nir("a.nir", "nir")):
    try:
        call()
    except ImportError as error:
        assert "pip install '.[nir]'" in str(error), error
    else:
        raise AssertionError
"""


def test_evtorch_needs_nir_only_where_it_is_used() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_NIR], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
