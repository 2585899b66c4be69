"""Networks that are larger than the chip: part by part, in several runs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ._effects import check_count
from ._limits import circuits_of
from .worker._contract import (
    Backend,
    HardwareLimitError,
    Layer,
    Network,
    Observation,
    check_input,
    check_observation,
)


class _Run(NamedTuple):
    """Whole layers ``first`` to ``last``, or some neurons of a single one."""

    first: int
    last: int
    neurons: slice = slice(None)


class Split:
    """Runs networks of any size on a backend with few neuron circuits; itself a `Backend`.

    As many layers as fit run together. A layer that does not fit alone runs in parts, all with the
    same input. Spikes recorded in one run are the input of the next: they pass the chip's link
    twice, what is lost there reaches no later layer, and of each neuron ``max_spikes`` go on.
    Networks that fit run as they are.

    **Arguments:** ``backend``; ``circuits``: its number of neuron circuits; ``fan_in``: signed
    inputs of a circuit, a neuron with more takes several. Defaults are those of BrainScaleS-2.
    """

    def __init__(self, backend: Backend, *, circuits: int = 512, fan_in: int | None = 128) -> None:
        check_count(circuits, "circuits")
        if fan_in is not None:
            check_count(fan_in, "fan_in")
        self.backend = backend
        self.circuits, self.fan_in = circuits, fan_in
        self.name = f"{backend.name}, in parts"
        self.weight_limit = backend.weight_limit

    def run(
        self,
        network: Network,
        spikes: np.ndarray,
        duration: float,
        *,
        voltage_times: np.ndarray | None = None,
    ) -> Observation:
        """Run a batch; see `Backend.run`."""
        check_input(network, spikes, duration, voltage_times=voltage_times)
        layers = network.layers
        parts: list[list[Observation]] = [[] for _ in layers]
        lost: dict[str, int] = {}
        for run in self.runs(network):
            chosen = tuple(_rows(layer, run.neurons) for layer in layers[run.first : run.last + 1])
            given = spikes if run.first == 0 else _joined(parts[run.first - 1]).spikes[0]
            own = Network(chosen)
            seen = self.backend.run(own, given, duration, voltage_times=voltage_times)
            check_observation(
                seen,
                own,
                len(spikes),
                duration,
                voltage_times=voltage_times,
                name=self.backend.name,
            )
            _add(lost, seen.lost)
            for k in range(run.first, run.last + 1):
                parts[k].append(_only(seen, k - run.first))
        whole = [_joined(part) for part in parts]
        voltages = [seen.voltages[0] for seen in whole if seen.voltages is not None]
        overflow = [seen.overflow[0] for seen in whole if seen.overflow is not None]
        return Observation(
            tuple(seen.spikes[0] for seen in whole),
            tuple(voltages) if voltage_times is not None else None,
            lost,
            tuple(overflow),
        )

    def runs(self, network: Network) -> tuple[_Run, ...]:
        """How a network is taken apart.

        **Raises:** `HardwareLimitError` if a single neuron does not fit.
        """
        runs: list[_Run] = []
        free = 0
        for k, layer in enumerate(network.layers):
            each = circuits_of(layer, self.fan_in)
            if each > self.circuits:
                raise HardwareLimitError(
                    f"a neuron of layer {k} with {layer.inputs} inputs needs {each} neuron "
                    f"circuits of {self.fan_in} inputs, the chip has {self.circuits}"
                )
            needed = layer.neurons * each
            if runs and needed <= free:
                runs[-1] = runs[-1]._replace(last=k)
                free -= needed
            elif needed <= self.circuits:
                runs.append(_Run(k, k))
                free = self.circuits - needed
            else:
                room = self.circuits // each
                starts = range(0, layer.neurons, room)
                runs += [_Run(k, k, slice(start, start + room)) for start in starts]
                free = 0
        return tuple(runs)


def _rows(layer: Layer, neurons: slice) -> Layer:
    if neurons == slice(None):
        return layer
    names = ("weight", "tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset", "refractory")
    return replace(layer, **{name: getattr(layer, name)[neurons] for name in names})


def _only(seen: Observation, k: int) -> Observation:
    """What was observed of layer ``k`` of a run."""
    neurons = seen.spikes[k].shape[1]
    overflow = np.zeros(neurons, int) if seen.overflow is None else seen.overflow[k]
    voltages = None if seen.voltages is None else (seen.voltages[k],)
    return Observation((seen.spikes[k],), voltages, overflow=(overflow,))


def _joined(parts: list[Observation]) -> Observation:
    """The parts of one layer as one."""
    if len(parts) == 1:
        return parts[0]
    voltages = [part.voltages[0] for part in parts if part.voltages is not None]
    overflow = [part.overflow[0] for part in parts if part.overflow is not None]
    return Observation(
        (np.concatenate([part.spikes[0] for part in parts], axis=1),),
        (np.concatenate(voltages, axis=1),) if voltages else None,
        overflow=(np.concatenate(overflow),),
    )


def _add(total: dict[str, int], lost: Mapping[str, int]) -> None:
    for what, count in lost.items():
        total[what] = total.get(what, 0) + count
