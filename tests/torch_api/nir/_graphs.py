"""NIR graphs that several test files share."""

from typing import Any

import nir
import numpy as np


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def linear(outputs: int, inputs: int, scale: float = 1.0, seed: int = 0) -> nir.Linear:
    return nir.Linear(weight=scale * rng(seed).uniform(0.5, 1.5, (outputs, inputs)))


def cuba_lif(*shape: int, **parameters: Any) -> nir.CubaLIF:
    """Neurons of around 20 and 10 ms, all different; a spike raises their current by its weight."""
    draw = rng(sum(shape))
    found: dict[str, Any] = {
        "tau_mem": draw.uniform(0.015, 0.025, shape),
        "tau_syn": draw.uniform(0.008, 0.012, shape),
        "r": np.ones(shape),
        "v_leak": draw.uniform(-0.1, 0.1, shape),
        "v_threshold": draw.uniform(0.9, 1.1, shape),
        "v_reset": draw.uniform(-0.2, 0.2, shape),
    }
    found["w_in"] = found["tau_syn"]
    found |= parameters
    return nir.CubaLIF(**found)


def cuba_li(*shape: int) -> nir.CubaLI:
    draw = rng(5)
    return nir.CubaLI(
        tau_mem=draw.uniform(0.015, 0.025, shape),
        tau_syn=draw.uniform(0.008, 0.012, shape),
        r=np.ones(shape),
        v_leak=np.zeros(shape),
        w_in=np.full(shape, 0.01),
    )


def lif(*shape: int, **parameters: Any) -> nir.LIF:
    found: dict[str, Any] = {
        "tau": np.full(shape, 0.02),
        "r": np.ones(shape),
        "v_leak": np.zeros(shape),
        "v_threshold": np.ones(shape),
        "v_reset": np.zeros(shape),
    }
    return nir.LIF(**found | parameters)


def li(*shape: int) -> nir.LI:
    return nir.LI(tau=np.full(shape, 0.02), r=np.ones(shape), v_leak=np.zeros(shape))


def delay(*values: float) -> nir.Delay:
    return nir.Delay(delay=np.array(values))


def conv(
    *, size: tuple[int, int] = (3, 3), stride: int = 1, padding: Any = 0, groups: int = 1
) -> nir.Conv2d:
    """2 channels of 5 x 4 pixels to 4 channels."""
    return nir.Conv2d(
        input_shape=(5, 4),
        weight=rng(3).uniform(-0.5, 1.5, (4, 2 // groups, *size)),
        stride=stride,
        padding=padding,
        dilation=1,
        groups=groups,
        bias=np.zeros(4),
    )


def conv1d(*, stride: int = 1, padding: Any = 0, dilation: int = 1, groups: int = 1) -> nir.Conv1d:
    """2 channels of 9 positions to 4 channels."""
    weight = rng(4).uniform(-0.5, 1.5, (4, 2 // groups, 3))
    return nir.Conv1d(9, weight, stride, padding, dilation, groups, np.zeros(4))


def pool_settings(size: int = 2, padding: int = 0) -> tuple[np.ndarray, ...]:
    """Kernel size, stride and padding."""
    return np.array([size, size]), np.array([2, 2]), np.array([padding, padding])


def pool(size: int = 2, padding: int = 0) -> nir.SumPool2d:
    return nir.SumPool2d(*pool_settings(size, padding))


def by_channel(*shape: int, **parameters: Any) -> nir.CubaLIF:
    """As `cuba_lif`, but the neurons of a channel are equal."""
    channels = cuba_lif(shape[0])
    rest = [1] * (len(shape) - 1)
    found = {
        name: np.broadcast_to(getattr(channels, name).reshape(-1, *rest), shape).copy()
        for name in ("tau_mem", "tau_syn", "r", "v_leak", "v_threshold", "v_reset", "w_in")
    }
    return nir.CubaLIF(**found | parameters)


def convolved(conv: Any, neurons: Any, before: tuple[int, ...]) -> nir.NIRGraph:
    """A convolution, one of one axis or of two, and its neurons."""
    nodes = {
        "input": nir.Input(np.array(before)),
        "conv": conv,
        "lif": neurons,
        "output": nir.Output(np.array(neurons.v_leak.shape)),
    }
    # nir takes kernels for square, and groups for one.
    conv.input_type, conv.output_type = {"input": np.array(before)}, neurons.input_type
    return nir.NIRGraph(nodes, [("input", "conv"), ("conv", "lif"), ("lif", "output")])


def image_network() -> nir.NIRGraph:
    """Convolutions with pools between, then neurons that are flat, and a read-out."""
    draw = rng(6)
    second = nir.Conv2d((2, 2), draw.uniform(0, 0.3, (3, 4, 2, 2)), 1, 1, 1, 1, np.zeros(3))
    return graph(
        nir.Input(np.array([2, 5, 4])),
        conv(padding=1),
        by_channel(4, 5, 4),
        pool(),
        second,
        by_channel(3, 3, 3),
        nir.Delay(draw.uniform(0, 1e-3, (3, 3, 3))),
        nir.Flatten({"input": np.array([3, 3, 3])}, start_dim=0),
        linear(4, 27, 0.6),
        cuba_lif(4),
        linear(2, 4),
        cuba_li(2),
    )


def graph(*nodes: Any) -> nir.NIRGraph:
    return nir.NIRGraph.from_list(*nodes)


def recurrent(**more: Any) -> nir.NIRGraph:
    """Neurons that lead back to themselves, before others that do not."""
    return nir.NIRGraph(
        {
            "input": nir.Input(np.array([5])),
            "w": linear(4, 5, 1.5),
            "lif": cuba_lif(4),
            "back": nir.Linear(weight=rng(7).normal(0, 0.5, (4, 4))),
            "v": linear(3, 4, 1.5, seed=1),
            "out": cuba_lif(3),
            "output": nir.Output(np.array([3])),
            **more,
        },
        [
            ("input", "w"),
            ("w", "lif"),
            ("lif", "v"),
            ("v", "out"),
            ("out", "output"),
            ("lif", "back"),
            ("back", "lif"),
        ],
    )


def recurrent_with_delays() -> nir.NIRGraph:
    """The spikes of two of the neurons come back later."""
    plain = recurrent()
    edges = [edge for edge in plain.edges if edge != ("lif", "back")]
    return nir.NIRGraph(
        {**plain.nodes, "later": delay(0.0, 1e-3, 0.0, 4e-3)},
        [*edges, ("lif", "later"), ("later", "back")],
    )


def deep() -> nir.NIRGraph:
    """Every kind of node that keeps its meaning exactly."""
    return graph(
        delay(0.0, 1e-3, 0.0, 0.0, 2e-3),
        linear(4, 5, 1.5),
        cuba_lif(4),
        nir.Affine(weight=linear(3, 4, 1.5, seed=1).weight, bias=np.zeros(3)),
        delay(1e-3, 0.0, 5e-4),
        cuba_lif(3),
        linear(2, 3, seed=2),
        cuba_li(2),
    )


def arrays(node: Any) -> dict[str, np.ndarray]:
    """The arrays of a node and, by ``node.name``, of the nodes of a graph."""
    found = {}
    for name, value in node.to_dict().items():
        if isinstance(value, dict):
            continue
        if isinstance(value, np.ndarray):
            found[name] = value
    for name, inner in getattr(node, "nodes", {}).items():
        found |= {f"{name}.{key}": value for key, value in arrays(inner).items()}
    return found
