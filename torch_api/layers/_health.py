"""Which neurons learn and which do not: counts that every layer keeps of its last forward."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...bridge._torch_internals import is_captured, values_are_unknown
from ...jax_core import Events
from .._validate import is_transformed
from ..backend._weights import WeightFit
from ._late import count_late


class Health(NamedTuple):
    """How fit for gradients a layer's spikes are: counts, int32, shape ``(neurons,)``."""

    silent: Tensor
    """In how many samples each neuron did not spike; without a spike there is no gradient. Of an
    `LI` read out by its maximum: in how many its voltage never rose above ``v_leak``, likewise."""
    grazing: Tensor
    """How many spikes had a slope below ``min_slope``, so that their gradient was limited."""
    overflow: Tensor
    """In how many samples each neuron had more than ``max_spikes`` spikes."""
    bound: Tensor | None = None
    """The largest factor, rounded up, by which the gradient of a grazing spike was reduced."""
    unpredicted: Tensor | None = None
    """On hardware: observed spikes where the model's voltage does not rise; without gradient."""
    missing: Tensor | None = None
    """On hardware, if counted: spikes that the model predicts and that were not observed."""


@dataclass(frozen=True)
class LayerHealth:
    """The health of one layer in its last forward."""

    name: str
    """Name of the layer in the model."""
    samples: int
    """Number of samples, over all leading batch dimensions."""
    counts: Health
    """Counts per neuron."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """On hardware: events that were lost in the run that began with this layer, by what lost them;
    those of all layers that ran together, input included."""
    weights: WeightFit | None = None
    """On hardware with whole-numbered weights: the clipped share of the layer's weights, and the
    error of rounding them."""

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return self.counts.silent.numel()

    @property
    def silent_fraction(self) -> float:
        """Fraction of the pairs (sample, neuron) without a spike."""
        return self._fraction(self.counts.silent)

    @property
    def grazing_rate(self) -> float:
        """Grazing spikes per pair (sample, neuron)."""
        return self._fraction(self.counts.grazing)

    @property
    def overflow_fraction(self) -> float:
        """Fraction of the pairs (sample, neuron) with more than ``max_spikes`` spikes."""
        return self._fraction(self.counts.overflow)

    @property
    def unpredicted_rate(self) -> float | None:
        """Unpredicted spikes per pair (sample, neuron); ``None`` for a simulation."""
        return None if self.counts.unpredicted is None else self._fraction(self.counts.unpredicted)

    @property
    def missing_rate(self) -> float | None:
        """Missing spikes per pair (sample, neuron); ``None`` if they were not counted."""
        return None if self.counts.missing is None else self._fraction(self.counts.missing)

    @property
    def always_silent(self) -> Tensor:
        """Indices of the neurons that did not spike in any sample, int64."""
        if self.samples == 0:
            return torch.empty(0, dtype=torch.int64, device=self.counts.silent.device)
        return (self.counts.silent == self.samples).nonzero().squeeze(-1)

    def _fraction(self, count: Tensor) -> float:
        pairs = self.samples * self.neurons
        return int(count.sum()) / pairs if pairs else 0.0


@dataclass(frozen=True)
class HealthReport:
    """The health of all spiking layers of a model; ``str()`` gives a table."""

    layers: tuple[LayerHealth, ...]
    """One entry per layer that was run, in the order of the model's modules."""
    not_run: tuple[str, ...]
    """Names of the layers without a forward so far."""
    late: Mapping[str, int] = field(default_factory=dict)
    """Input spikes so late that their dtype rounds them by more than 0.1 % of the shorter time
    constant, by the name of the layer, where there were any; see `LateSpikeWarning`."""

    @property
    def lost(self) -> dict[str, int]:
        """On hardware: events that were lost in all runs, by what lost them."""
        total: dict[str, int] = {}
        for layer in self.layers:
            for what, count in layer.lost.items():
                total[what] = total.get(what, 0) + count
        return total

    def __str__(self) -> str:
        return "\n".join([*self._table(), *self._remarks()])

    def _table(self) -> list[str]:
        observed = [
            name
            for name in ("unpredicted", "missing")
            if any(getattr(layer.counts, name) is not None for layer in self.layers)
        ]
        head = ["layer", "neurons", "samples", "silent", "grazing", "overflow"]
        on_hardware = any(layer.weights is not None for layer in self.layers)
        head += [*observed, *(["clipped", "rounding"] if on_hardware else []), "always silent"]
        rows = [head]
        for layer in self.layers:
            rates = [layer.silent_fraction, layer.grazing_rate, layer.overflow_fraction]
            rates += [getattr(layer, f"{name}_rate") for name in observed]
            rates += (layer.weights or [None, None]) if on_hardware else []
            rows.append(
                [
                    layer.name,
                    str(layer.neurons),
                    str(layer.samples),
                    *("-" if rate is None else f"{rate:.1%}" for rate in rates),
                    _listed(layer.always_silent.tolist()),
                ]
            )
        rows += [[name, *["-"] * (len(head) - 2), "not run yet"] for name in self.not_run]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        return [
            "  ".join(
                cell.ljust(width) if i in (0, len(head) - 1) else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]

    def _remarks(self) -> list[str]:
        lines = []
        for layer in self.layers:
            if layer.silent_fraction == 1:
                lines.append(
                    f"{layer.name} is silent throughout: are times and time constants both in "
                    f"seconds, inputs before t_max, and weights large enough?"
                )
            bound = layer.counts.bound
            if bound is not None and bool((bound > 0).any()):
                lines.append(
                    f"{layer.name}: gradients of grazing spikes were bounded (min_slope), by up to "
                    f"a factor of {int(bound.max())}"
                )
            if layer.lost:
                each = ", ".join(f"{count} by {what}" for what, count in layer.lost.items())
                lines.append(f"events lost in the run that began with {layer.name}: {each}")
        lines += [
            f"{name} got {count} input spikes so late that their dtype does not resolve them; "
            f"subtract an origin before converting times, or compute in float64"
            for name, count in self.late.items()
        ]
        return lines


class Call(NamedTuple):
    """Spikes that arrived at a layer, and what came out, with the graph of their gradients."""

    arriving: Tensor | Events
    output: Tensor

    def __deepcopy__(self, memo: Any) -> None:
        """Nothing: a copied module has not been called, and graphs cannot be copied."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()


class SpikingLayer(nn.Module):
    """Base of the layers that remember the counts of their last forward.

    The memory is no part of the ``state_dict``. The counts hold no autograd graph; in training, the
    last call does, for `silent_loss`, until the next one.
    """

    last_call: Call | None = None

    _health: tuple[int, Health, Mapping[str, int], WeightFit | None] | None = None
    _late: Tensor | None = None

    @property
    def has_health(self) -> bool:
        """Whether there is anything to count."""
        return True

    def remember(
        self,
        samples: int,
        counts: Health,
        lost: Mapping[str, int] | None = None,
        weights: WeightFit | None = None,
    ) -> None:
        """Keep the counts of a forward, and on hardware what was lost and became of the weights."""
        if is_captured():
            return  # There are no values, and none come later.
        if is_transformed():
            samples, counts = _plain(samples, counts)
        self._health = (samples, counts, dict(lost or {}), weights)

    def remember_late(self, spikes: Tensor | Events) -> None:
        """Count the input spikes of a forward that are late for the layer's time constants."""
        if is_captured():
            return
        times = spikes.time if isinstance(spikes, Events) else spikes
        taus = {name: getattr(self, name, math.inf) for name in ("tau_mem", "tau_syn")}
        late = count_late(times, taus)
        if late is not None and is_transformed():
            late = torch.func.debug_unwrap(late).sum()
        self._late = late

    def remember_call(self, arriving: Tensor | Events, output: Tensor) -> None:
        """Keep what `silent_loss` needs of a forward in training."""
        # What torch.compile and torch.func pass around is of no use outside of them.
        inside = values_are_unknown() or is_transformed()
        learns = self.training and output.requires_grad and not inside
        self.last_call = Call(arriving, output) if learns else None

    @property
    def late(self) -> int:
        """How many input spikes of the last forward were late."""
        return 0 if self._late is None else int(self._late)

    def health(self, name: str = "") -> LayerHealth | None:
        """The counts of the last forward, ``None`` if there was none."""
        return None if self._health is None else LayerHealth(name, *self._health)


def health_report(model: nn.Module) -> HealthReport:
    """Report silent, grazing and overflowing neurons, from the last forward of each layer.

    And input spikes too late to be resolved in their dtype.

    **Arguments:** ``model``: a module with spiking layers in it, or such a layer itself. A layer
    used several times in one forward reports the last use.

    **Returns:** a `HealthReport`; print it for a table.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    layers, not_run, late = [], [], {}
    for name, module in model.named_modules():
        if not isinstance(module, SpikingLayer):
            continue
        name = name or type(module).__name__
        if module.late:
            late[name] = module.late
        if module.has_health:
            health = module.health(name)
            if health is None:
                not_run.append(name)
            else:
                layers.append(health)
    return HealthReport(tuple(layers), tuple(not_run), late)


def _plain(samples: int, counts: Health) -> tuple[int, Health]:
    """Samples and counts as they are outside of torch.func; what it maps over are samples too."""
    plain = [None if count is None else torch.func.debug_unwrap(count) for count in counts]
    mapped = torch.func.debug_unwrap(counts.silent).shape[:-1].numel()
    total = [
        None if x is None else x.reshape(mapped, x.shape[-1]).sum(dim=0, dtype=torch.int32)
        for x in plain
    ]
    if counts.bound is not None:
        bound = torch.func.debug_unwrap(counts.bound)
        total[Health._fields.index("bound")] = bound.reshape(mapped, -1).amax(dim=0)
    return samples * mapped, Health(*total)  # pyright: ignore[reportArgumentType]


def _listed(neurons: list[int], shown: int = 8) -> str:
    if not neurons:
        return "none"
    more = f", ... ({len(neurons)} in all)" if len(neurons) > shown else ""
    return ", ".join(map(str, neurons[:shown])) + more
