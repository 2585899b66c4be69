"""A NIR graph as a chain of layers: what stands between Input and Output, checked."""

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

from ._node import NEURONS, POOLS, PROJECTIONS, SPIKING, Named
from ._shapes import end_shape, out_shape, pool_gain

Edges = list[tuple[str, str]]
_UNSUPPORTED = {
    "Scale": (
        "scales spikes, which have no size here",
        "multiply it into the weights of the next Linear",
    ),
    "Threshold": ("has no membrane that could reach a threshold in time", "use a CubaLIF node"),
    "I": ("integrates without leak", "use a CubaLI node with a long tau_mem"),
}


@dataclass
class Block:
    """Nodes that become one layer: a projection and neurons with what stands between, a delay, or
    a pool.

    ``in_shape`` and ``out_shape`` are those of the spikes that enter and leave. ``loop``: what
    leads from the neurons back to themselves, a projection, perhaps a delay before it. ``gain``: by
    what average pools before have divided the spikes that arrive, a factor of the weights.
    """

    chain: list[Named]
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...] = ()
    loop: list[Named] = field(default_factory=list)
    gain: float = 1.0

    def find(self, *kinds: str) -> Named | None:
        return next((named for named in self.chain if named.kind in kinds), None)

    @property
    def projection(self) -> Named:
        found = self.find(*PROJECTIONS)
        assert found is not None
        return found

    @property
    def arriving(self) -> tuple[int, ...]:
        """The shape of what reaches the projection or the pool."""
        kinds = [named.kind in (*PROJECTIONS, *POOLS) for named in self.chain]
        return out_shape(self.chain[: kinds.index(True)], self.in_shape)

    @property
    def neuron(self) -> Named | None:
        return self.find(*NEURONS)

    @property
    def delay(self) -> Named | None:
        return self.find("Delay")

    @property
    def pool(self) -> Named | None:
        return self.find(*POOLS)

    @property
    def recurrent(self) -> Named | None:
        return self.loop[-1] if self.loop else None

    @property
    def recurrent_delay(self) -> Named | None:
        return self.loop[0] if len(self.loop) > 1 else None


@dataclass
class Chain:
    """A whole graph: its Input, blocks in the order of the signal, its Output."""

    source: Named
    blocks: list[Block]
    target: Named
    trailing: list[Named] = field(default_factory=list)


def read_chain(graph: Any) -> Chain:
    """Check the structure of a graph and part it into blocks.

    **Raises:** ``ValueError`` naming the node, the reason and a remedy.
    """
    nodes, edges = _take_apart(graph, "")
    source = _only("Input", nodes)
    target = _only("Output", nodes)
    for named in nodes.values():
        _check_kind(named)
    recurrent, edges = _recurrences(nodes, edges)
    order = _walk(source, target, nodes, edges)
    _check_all_used(nodes, order, recurrent)
    blocks, trailing = _blocks(source, order[1:-1], recurrent)
    shape = blocks[-1].out_shape if blocks else end_shape(source, "input")
    expected = end_shape(target, "output")
    if blocks and math.prod(expected) not in (math.prod(shape), 0):
        target.refuse(
            f"has shape {expected}, but {math.prod(shape)} neurons reach it", "correct its shape"
        )
    if not blocks:
        target.refuse("follows the Input with no neurons between", "add a Linear and a CubaLIF")
    return Chain(source, blocks, target, trailing)


def _take_apart(graph: Any, prefix: str) -> tuple[dict[str, Named], Edges]:
    """The nodes and edges of a graph, those of its sub-graphs among them."""
    if type(graph).__name__ != "NIRGraph":
        raise TypeError(f"graph must be a nir.NIRGraph, got {type(graph).__name__}")
    nodes: dict[str, Named] = {}
    edges: Edges = []
    ends: dict[str, tuple[str, str]] = {}
    for name, node in graph.nodes.items():
        full = prefix + name
        if type(node).__name__ != "NIRGraph":
            nodes[full] = Named(full, node)
            continue
        inner, inner_edges = _take_apart(node, f"{full}.")
        ends[full] = (_only("Input", inner, full).name, _only("Output", inner, full).name)
        nodes |= inner
        edges += inner_edges
    for before, after in graph.edges:
        start, end = prefix + before, prefix + after
        for name in (start, end):
            if name not in nodes and name not in ends:
                raise ValueError(
                    f"edge ({start!r}, {end!r}) names a node {name!r} that the graph does not "
                    f"have; its nodes are {', '.join(map(repr, nodes))}"
                )
        edge = (ends[start][1] if start in ends else start, ends[end][0] if end in ends else end)
        if edge in edges:
            raise ValueError(f"edge ({start!r}, {end!r}) is there twice; remove one of them")
        edges.append(edge)
    for name in (name for pair in ends.values() for name in pair):
        del nodes[name]
        edges = _joined(name, edges)
    return nodes, edges


def _joined(name: str, edges: Edges) -> Edges:
    """The edges without a node, what meets there connected directly."""
    before = [a for a, b in edges if b == name]
    after = [b for a, b in edges if a == name]
    rest = [edge for edge in edges if name not in edge]
    return rest + [(a, b) for a in before for b in after]


def _only(kind: str, nodes: dict[str, Named], graph: str = "") -> Named:
    found = [named for named in nodes.values() if named.kind == kind]
    if len(found) != 1:
        where = f"sub-graph {graph!r}" if graph else "the graph"
        names = ", ".join(repr(named.name) for named in found) or "none"
        raise ValueError(
            f"{where} must have exactly one {kind} node, but has {names}; "
            f"{'add one' if not found else 'split the graph, or join them'}"
        )
    return found[0]


def _check_kind(named: Named) -> None:
    if named.kind in _UNSUPPORTED:
        named.refuse(*_UNSUPPORTED[named.kind])
    others = "Delay", "Flatten", *POOLS, "Input", "Output"
    if named.kind not in (*PROJECTIONS, *NEURONS, *others):
        named.refuse("is not known here", f"supported are {', '.join((*PROJECTIONS, *NEURONS))}")


def _recurrences(nodes: dict[str, Named], edges: Edges) -> tuple[dict[str, list[Named]], Edges]:
    """Take loops neurons -> (Delay ->) Linear -> the same neurons out of the edges, by neurons."""
    found: dict[str, list[Named]] = {}
    for name, named in nodes.items():
        before, after = _neighbours(name, edges)
        if named.kind not in ("Linear", "Affine") or len(before) != 1 or len(after) != 1:
            continue
        loop, source = [named], nodes[before[0]]
        if source.kind == "Delay":
            earlier, later = _neighbours(source.name, edges)
            if len(earlier) != 1 or len(later) != 1:
                continue
            loop, source = [source, named], nodes[earlier[0]]
        if source.kind not in NEURONS or source.name != after[0]:
            continue
        if source.kind not in SPIKING:
            source.refuse("has a recurrent connection but no spikes", "remove the loop")
        if source.name in found:
            source.refuse(
                f"has two recurrent connections, {found[source.name][-1].name!r} and {name!r}",
                "add their weights",
            )
        found[source.name] = loop
    names = {named.name for loop in found.values() for named in loop}
    return found, [edge for edge in edges if not names & set(edge)]


def _neighbours(name: str, edges: Edges) -> tuple[list[str], list[str]]:
    """What leads to a node, and what it leads to."""
    return [a for a, b in edges if b == name], [b for a, b in edges if a == name]


def _walk(source: Named, target: Named, nodes: dict[str, Named], edges: Edges) -> list[Named]:
    order, current = [source], source
    while current.name != target.name:
        after = [b for a, b in edges if a == current.name]
        if len(after) != 1:
            several = f"leads to {', '.join(map(repr, after))}" if after else "leads nowhere"
            current.refuse(several, "only chains of layers can be represented: connect it to one")
        current = nodes[after[0]]
        before = [a for a, b in edges if b == current.name]
        if current in order or (len(before) > 1 and _reaches(current.name, before, edges)):
            current.refuse(
                f"is part of a cycle (inputs: {', '.join(map(repr, before))})",
                "of cycles only neurons -> (Delay ->) Linear -> the same neurons can be had",
            )
        if len(before) > 1:
            current.refuse(
                f"has several inputs: {', '.join(map(repr, before))}",
                "only chains of layers can be represented: keep one of them",
            )
        order.append(current)
    return order


def _reaches(start: str, goals: list[str], edges: Edges) -> bool:
    """Whether a walk from ``start`` along the edges comes to one of ``goals``."""
    seen, pending = set(), [start]
    while pending:
        name = pending.pop()
        for following in (b for a, b in edges if a == name):
            if following in goals:
                return True
            if following not in seen:
                seen.add(following)
                pending.append(following)
    return False


def _check_all_used(
    nodes: dict[str, Named], order: list[Named], recurrent: dict[str, list[Named]]
) -> None:
    used = {named.name for named in itertools.chain(order, *recurrent.values())}
    for name, named in nodes.items():
        if name not in used:
            named.refuse("is not on the way from Input to Output", "connect or remove it")


def _blocks(
    source: Named, order: list[Named], recurrent: dict[str, list[Named]]
) -> tuple[list[Block], list[Named]]:
    shape = end_shape(source, "input")
    blocks: list[Block] = []
    pending: list[Named] = []
    gain = 1.0
    for named in order:
        projecting = any(earlier.kind in PROJECTIONS for earlier in pending)
        if blocks and blocks[-1].find("CubaLI", "LI"):
            named.refuse("follows neurons that do not spike", "leave only Output behind them")
        _check_place(named, pending, projecting)
        pending.append(named)
        if named.kind in NEURONS or (named.kind in ("Delay", *POOLS) and not projecting):
            block = Block(pending, shape, loop=recurrent.get(named.name, []), gain=gain)
            block.out_shape = shape = out_shape(block.chain, shape)
            blocks.append(block)
            pending = []
            gain = 1.0 if named.kind in NEURONS else gain * pool_gain(named)
    for named in pending:
        if named.kind in PROJECTIONS:
            named.refuse("leads to Output without neurons", "put a CubaLI or CubaLIF behind it")
    if gain != 1:
        pool = next(block.pool for block in reversed(blocks) if block.find("AvgPool2d"))
        assert pool is not None
        pool.refuse(
            "divides spikes that leave the graph, and spikes have no size here",
            "write it as a SumPool2d, or let a projection and neurons follow",
        )
    return blocks, pending


def _check_place(named: Named, pending: list[Named], projecting: bool) -> None:
    """Check that a node may follow those of its block that stand before it."""
    if named.kind in PROJECTIONS and projecting:
        named.refuse("follows another projection", "multiply the two into one Linear")
    if named.kind in NEURONS and not projecting:
        named.refuse(
            "gets its input without weights", "put a Linear before it, the identity if need be"
        )
    if named.kind == "Delay" and projecting and any(n.kind == "Delay" for n in pending):
        named.refuse("follows another Delay", "add the two")
    if named.kind in POOLS and projecting:
        named.refuse(
            "pools what a projection gives, before it reaches neurons",
            "put it before the projection, or behind the neurons",
        )
