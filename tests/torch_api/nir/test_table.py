"""The table of docs/nir.md says what happens to each kind of node that nir has."""

import inspect
import math
import re
from typing import Any

import nir
import numpy as np
import pytest
from torch import nn

from evtorch import torch_api as snn

from . import _graphs
from .test_exchange import ROOT

PAGE = (ROOT / "docs/nir.md").read_text()


def rows() -> dict[str, tuple[str, str]]:
    """What the table says of each node: read as, and written from."""
    lines = PAGE.partition("## Which nodes")[2].partition("\n\n**")[0].splitlines()
    found = {}
    for cells in (line.strip("|").split("|") for line in lines if line.startswith("| ")):
        for name in re.findall(r"\b[A-Z]\w*", re.sub(r"\(.*\)", "", cells[0])):
            found[name] = (cells[1].strip(), cells[2].strip())
    return found


def behind(*nodes: Any) -> nir.NIRGraph:
    """Nodes between neurons of an image and a Linear with others."""
    draw = _graphs.rng(0)
    image, pooled = _graphs.by_channel(4, 5, 4), [n for n in nodes if "Pool" in type(n).__name__]
    after = 16 if pooled else 80
    return _graphs.graph(
        nir.Input(np.array([2, 5, 4])),
        _graphs.conv(padding=1),
        image,
        *nodes,
        nir.Flatten({"input": np.array([4, 2, 2] if pooled else [4, 5, 4])}, start_dim=0),
        nir.Linear(draw.uniform(0, 1, (3, after))),
        _graphs.cuba_lif(3),
    )


def with_linear(neurons: Any, projection: Any = None) -> nir.NIRGraph:
    return _graphs.graph(projection or _graphs.linear(4, 5), neurons)


def nested() -> nir.NIRGraph:
    inner = with_linear(_graphs.cuba_lif(4))
    nodes = {"input": nir.Input(np.array([5])), "a": inner, "output": nir.Output(np.array([4]))}
    return nir.NIRGraph(nodes, [("input", "a"), ("a", "output")])


FOUR = np.ones(4)
GRAPHS: dict[str, Any] = {
    "Input": lambda: with_linear(_graphs.cuba_lif(4)),
    "Output": lambda: with_linear(_graphs.cuba_lif(4)),
    "Linear": lambda: with_linear(_graphs.cuba_lif(4)),
    "Affine": lambda: with_linear(_graphs.cuba_lif(4), nir.Affine(np.ones((4, 5)), 0 * FOUR)),
    "Conv1d": lambda: _graphs.convolved(_graphs.conv1d(), _graphs.by_channel(4, 7), (2, 9)),
    "Conv2d": lambda: _graphs.convolved(_graphs.conv(), _graphs.by_channel(4, 3, 2), (2, 5, 4)),
    "CubaLIF": lambda: with_linear(_graphs.cuba_lif(4)),
    "LIF": lambda: with_linear(_graphs.lif(4)),
    "IF": lambda: with_linear(nir.IF(FOUR, FOUR)),
    "CubaLI": lambda: with_linear(_graphs.cuba_li(4)),
    "LI": lambda: with_linear(_graphs.li(4)),
    "SumPool2d": lambda: behind(_graphs.pool()),
    "AvgPool2d": lambda: behind(nir.AvgPool2d(*_graphs.pool_settings())),
    "Delay": lambda: _graphs.graph(_graphs.delay(0.0, 1e-3), _graphs.linear(4, 2), _graphs.lif(4)),
    "Flatten": behind,
    "NIRGraph": nested,
    "Scale": lambda: _graphs.graph(nir.Scale(FOUR), _graphs.linear(4, 4), _graphs.cuba_lif(4)),
    "Threshold": lambda: with_linear(nir.Threshold(FOUR)),
    "I": lambda: with_linear(nir.I(FOUR)),
}


def test_it_has_every_kind_of_node() -> None:
    kinds = {
        name
        for name, kind in vars(nir).items()
        if inspect.isclass(kind) and issubclass(kind, nir.NIRNode) and kind is not nir.NIRNode
    }
    assert set(rows()) == set(GRAPHS) == kinds


@pytest.mark.parametrize("kind", GRAPHS)
def test_it_says_what_is_read_and_written(kind: str) -> None:
    read_as, written_from = rows()[kind]
    graph = GRAPHS[kind]()
    if read_as.startswith("refused"):
        with pytest.raises(ValueError, match=rf"\({kind}\) ") as error:
            snn.nir.from_nir(graph, "nir")
        assert written_from == "never"
        if read_as.startswith("refused: "):
            assert read_as.removeprefix("refused: ").replace("`", "") in str(error.value)
        else:
            assert "LI" in repr(snn.nir.from_nir(graph, "nir", tau_syn=1e-4))
        return
    model = snn.nir.from_nir(graph, "nir")
    named = set(re.findall(r"`(\w+)", read_as))
    made = {type(layer).__name__ for layer in model} | {"weight", "Delay"} & named
    assert not named or named & made
    back = snn.nir.to_nir(model)
    kinds = {type(node).__name__ for node in back.nodes.values()}
    assert (kind in kinds) == (written_from != "never")


def test_layers_of_ones_own_become_the_nodes_that_it_names() -> None:
    conv = nn.Sequential(
        snn.LIFConv2d(2, 3, 3), snn.SumPool2d(2), snn.FlattenSpikes(), snn.LI(12, 2)
    )
    flat = nn.Sequential(
        snn.LIFConv1d(2, 3, 2),
        snn.FlattenSpikes(2),
        snn.LIF(24, 5),
        snn.Delay(5),
        snn.DeltaLIF(5, 4),
        snn.DeltaLIF(4, 18, tau_mem=math.inf),
    )
    graphs = [
        snn.nir.to_nir(conv, input_shape=(2, 6, 6)),
        snn.nir.to_nir(flat, input_shape=(2, 9)),
    ]
    written = {type(node).__name__ for graph in graphs for node in graph.nodes.values()}
    own = {kind for kind, (_, way) in rows().items() if way not in ("never", "what it was read as")}
    assert written == own - {"Affine"}


def test_the_page_names_the_versions_that_were_tried() -> None:
    import importlib.metadata as installed

    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints-nir.txt").read_text().splitlines()
        if "==" in line
    )
    header = next(line for line in PAGE.splitlines() if line.startswith("| nodes | Norse"))
    assert f"Norse {installed.version('norse')} " in header
    assert f"sinabs {pins['sinabs']} " in header
    assert f"Rockpool {pins['rockpool']} " in header
