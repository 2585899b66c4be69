"""What an experiment knows of its network: modules, the handles between them, wrappers."""

import graphlib
from collections.abc import Iterable
from typing import Any

import networkx as nx

from .._handle import Handle
from ..engines._call import Call


class ModuleManager:
    """The modules that were called since the last run, by what they read and fill.

    A module that is called again reads what it read before too, except that an input from outside
    takes the place of the earlier one from outside.
    """

    def __init__(self) -> None:
        self.nodes: dict[Any, int] = {}
        """Numbers of all modules that were ever called."""
        self.wrappers: dict[Any, str] = {}
        """Names of all wrappers that were ever called."""
        self._calls: dict[Any, Call] = {}
        self._active: list[Any] = []

    def add_node(self, module: Any, sources: Any, target: Handle) -> None:
        """Register that ``module`` reads the handles ``sources`` and fills ``target``."""
        given = sources if isinstance(sources, tuple) else (sources,)
        self.nodes.setdefault(module, len(self.nodes))
        earlier = self._calls.get(module)
        if earlier is None:
            self._calls[module] = Call(module, _unique(given), (target,))
            return
        inputs = list(earlier.inputs)
        outside = [k for k, handle in enumerate(inputs) if self._is_outside(handle)]
        for handle in given:
            if any(handle is known for known in inputs):
                continue
            if outside and self._is_outside(handle):
                inputs[outside.pop(0)] = handle
            else:
                inputs.append(handle)
        self._calls[module] = earlier._replace(inputs=tuple(inputs))

    def add_wrapper(self, wrapper: Any) -> None:
        """Register that ``wrapper`` computes its modules."""
        self.wrappers.setdefault(wrapper, f"w_{len(self.wrappers)}")
        if wrapper not in self._active:
            self._active.append(wrapper)

    def is_called(self, module: Any) -> bool:
        """Whether the module was called since the last run."""
        return module in self._calls

    def has_module(self, module: Any) -> bool:
        """Whether the module was ever called."""
        return module in self.nodes

    def get_id_by_module(self, module: Any) -> int | None:
        """The number of a module."""
        return self.nodes.get(module)

    def get_module_by_id(self, node_id: int) -> Any:
        """The module of a number."""
        return list(self.nodes)[node_id]

    def get_id_by_wrapper(self, wrapper: Any) -> str | None:
        """The name of a wrapper."""
        return self.wrappers.get(wrapper)

    def get_wrapper_by_id(self, wrapper_id: str) -> Any:
        """The wrapper of a name."""
        return next(each for each, name in self.wrappers.items() if name == wrapper_id)

    def source_populations(self, module: Any) -> list[Any]:
        """The modules before a projection that have neurons."""
        return self._populations(module, self.graph.predecessors)

    def target_populations(self, module: Any) -> list[Any]:
        """The modules behind a projection that have neurons."""
        return self._populations(module, self.graph.successors)

    def input_data(self) -> list[Handle]:
        """The handles that no module fills."""
        edges = self.graph.edges(data="handle")
        return [handle for before, _, handle in edges if str(before).startswith("s_")]

    @property
    def graph(self) -> nx.DiGraph:
        """Modules by number, with a ``handle`` on each edge.

        ``s_0_1`` stands for what fills the second input of module 0 from outside, ``t_0`` for what
        may read its output.
        """
        graph = nx.DiGraph()
        producer = self._producers()
        source: dict[int, Any] = {}
        read: set[int] = set()
        for module, call in self._calls.items():
            node = self.nodes[module]
            graph.add_node(node)
            for k, handle in enumerate(call.inputs):
                before = producer.get(id(handle))
                outside = f"s_{node}_{k}" if before is None else self.nodes[before]
                graph.add_edge(source.setdefault(id(handle), outside), node, handle=handle)
                read.add(id(handle))
        for module, call in self._calls.items():
            for handle in call.outputs:
                if id(handle) not in read:
                    node = self.nodes[module]
                    graph.add_edge(node, f"t_{node}", handle=handle)
        return graph

    def clear(self) -> None:
        """Forget what was called; modules keep their numbers."""
        self._calls, self._active = {}, []

    def done(self) -> list[tuple[Any, tuple[Handle, ...], Any]]:
        """(module, sources, target) in an order of execution; of wrappers, all targets."""
        return [
            (call.module, call.inputs, call.outputs if call.inner else call.outputs[0])
            for call in self.take_calls()
        ]

    def take_calls(self) -> list[Call]:
        """All calls in an order in which they can be executed; they are then forgotten."""
        calls = list(self._calls.values())
        for wrapper in self._active:
            calls = _wrapped(wrapper, calls)
        self.clear()
        producer = {id(handle): k for k, call in enumerate(calls) for handle in call.outputs}
        before = {
            k: {producer[id(handle)] for handle in call.inputs if id(handle) in producer}
            for k, call in enumerate(calls)
        }
        try:
            order = list(graphlib.TopologicalSorter(before).static_order())
        except graphlib.CycleError as error:
            names = ", ".join(dict.fromkeys(calls[k].module.title for k in error.args[1]))
            raise ValueError(
                f"cyclic dependencies between {names}; put them into an HXModuleWrapper whose "
                f"forward_func describes the recurrence"
            ) from None
        return [calls[k] for k in order]

    def __str__(self) -> str:
        lines = [f"{node}: {type(module).__name__}" for module, node in self.nodes.items()]
        lines += [f"{name}: {type(each).__name__}" for each, name in self.wrappers.items()]
        return "\n".join([*lines, *(f"{a} -> {b}" for a, b in self.graph.edges)])

    def _producers(self) -> dict[int, Any]:
        """The modules by the ids of the handles that they fill."""
        return {id(h): module for module, call in self._calls.items() for h in call.outputs}

    def _is_outside(self, handle: Handle) -> bool:
        return handle.producer is None and id(handle) not in self._producers()

    def _populations(self, module: Any, neighbours: Any) -> list[Any]:
        found: list[Any] = []
        waiting = list(neighbours(self.nodes[module]))
        while waiting:
            node = waiting.pop(0)
            if isinstance(node, str):
                continue
            each = self.get_module_by_id(node)
            if each.has_neurons:
                found.append(each)
            else:
                waiting += neighbours(node)
        return found


def _unique(handles: Iterable[Handle]) -> tuple[Handle, ...]:
    """Each handle once, as a network has one edge between two modules."""
    return tuple({id(handle): handle for handle in handles}.values())


def _wrapped(wrapper: Any, calls: list[Call]) -> list[Call]:
    """The calls with those of the wrapper's modules made one."""
    own = {id(call.module): call for call in calls}
    inner = [own[id(module)] for module in wrapper.modules.values()]
    outputs = tuple(handle for call in inner for handle in call.outputs)
    internal = {id(handle) for handle in outputs}
    inputs = tuple(h for call in inner for h in call.inputs if id(h) not in internal)
    wrapped = {id(call.module) for call in inner}
    rest = [call for call in calls if id(call.module) not in wrapped]
    return [*rest, Call(wrapper, inputs, outputs, tuple(inner))]
