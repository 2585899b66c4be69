"""Layers of a model in one function of ``jax_core``, called once across the bridge."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ... import jax_core
from ...jax_core import Conv, Events
from .. import functional
from ..functional._chain import Step, call_chain, delayed, flattened
from ..functional._layer import check_layer
from ..functional._li import check_readout
from ..functional._lif import check_settings
from ..functional._recurrent_lif import check_recurrence
from ._delay import Delay
from ._delay_parameter import nonnegative
from ._feed_forward import FeedForwardLIF
from ._health import Health
from ._li import LI
from ._neuron_layer import WeightedLayer
from ._plain import has_hooks, has_own_forward
from ._pooling import FlattenSpikes
from ._recurrent_lif import RecurrentLIF

_KINDS = (FeedForwardLIF, RecurrentLIF, LI, Delay, FlattenSpikes)
"""The classes whose forward is known here; the last two have no neurons."""


def fuse(model: nn.Sequential) -> nn.Sequential:
    """The same model, whose layers in a row run as one JAX function with one backward pass.

    Between torch and JAX each layer has a fixed cost; here a row of layers pays it once. A training
    step takes two thirds (four layers of 20, batch 8) to nine tenths of the time (layers of 100,
    batch 64; ``benchmarks/fuse.py``).
    Spikes, gradients, health reports, overflow errors, and what `silent_loss` needs are those of
    the layers, which stay what and where they are, in both models: optimisers, checkpoints,
    `initialise_`, `rescue_silent_` and the like see no difference.

    A row consists of `LIF`, `LIFConv1d`, `LIFConv2d` and `RecurrentLIF`, with `Delay` and
    `FlattenSpikes` between them; an `LI`, ``silent="peak"`` or dendritic delays end it. All other
    modules run as they are, and so do layers with a backend or a forward of their own, with hooks
    at the time of the call, and everything under `torch.compile`.

    **Arguments:** ``model``: an ``nn.Sequential``, also with others in it, without hooks of its
    own.

    **Returns:** an ``nn.Sequential`` of the same modules. Values are equal up to rounding, as the
    compiler sees more at once. The first call with new shapes compiles, for as long as all of the
    layers together. Of the spikes within a row values are not checked, and late ones are counted in
    the health report without a warning.

    **Raises:** ``ValueError``, with a reason for each module, if no two layers stand in a row.
    """
    if type(model) not in (nn.Sequential, Fused):
        raise TypeError(
            f"model must be an nn.Sequential, got {type(model).__name__}; of other models, fuse "
            f"the nn.Sequential in them"
        )
    if has_hooks(model):
        raise ValueError("model has hooks, which would be lost; register them on the fused model")
    fused = Fused(OrderedDict(model._modules))
    fused.training = model.training
    if not any(isinstance(part, list) for part in fused.parts()):
        reasons = [
            f"{name!r}, {type(module).__name__}, {_reason(module) or 'has no layer beside it'}"
            for name, module in _flat(fused)
        ]
        raise ValueError(f"nothing to fuse, no two layers in a row: {'; '.join(reasons) or 'none'}")
    return fused


class Fused(nn.Sequential):
    """What `fuse` returns."""

    def forward(self, input: Any) -> Any:
        if torch.compiler.is_compiling():
            return super().forward(input)
        for part in self.parts():
            input = _run(part, input) if isinstance(part, list) else part(input)
        return input

    def parts(self) -> list[nn.Module | list[nn.Module]]:
        """The modules in order, with those in one list that now run as one function."""
        parts: list[nn.Module | list[nn.Module]] = []
        row: list[nn.Module] = []
        for _, module in _flat(self):
            if _reason(module) is not None:
                parts += _closed(row)
                row = []
                parts.append(module)
                continue
            row.append(module)
            if isinstance(module, WeightedLayer) and _ends_row(module):
                parts += _closed(row)
                row = []
        return parts + _closed(row)


def _flat(model: nn.Sequential, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Names and modules in the order in which they are called, for plain Sequentials their own."""
    for key, module in model._modules.items():
        assert module is not None
        name = f"{prefix}{key}"
        if isinstance(module, nn.Sequential) and not (
            has_hooks(module) or has_own_forward(module, nn.Sequential)
        ):
            yield from _flat(module, f"{name}.")
        else:
            yield name, module


def _closed(row: list[nn.Module]) -> list[nn.Module | list[nn.Module]]:
    """Modules that could be fused as a row that begins with a layer, if there are two."""
    begin = next((n for n, x in enumerate(row) if isinstance(x, WeightedLayer)), len(row))
    if sum(isinstance(module, WeightedLayer) for module in row) < 2:
        begin = len(row)
    return [*row[:begin], *([row[begin:]] if begin < len(row) else [])]


def _reason(module: nn.Module) -> str | None:
    """Why a module runs by itself; ``None`` if it need not."""
    kind = next((kind for kind in _KINDS if isinstance(module, kind)), None)
    if kind is None:
        return "is no layer that can be fused"
    if has_own_forward(module, kind):
        return "has a forward of its own"
    if has_hooks(module):
        return "has hooks"
    if getattr(module, "grows", False):
        return "sizes its own output (max_spikes='auto')"
    return None if getattr(module, "backend", None) is None else "runs on a backend"


def _ends_row(layer: WeightedLayer) -> bool:
    """Whether torch has something to do with what the layer gives."""
    silent, delay = (getattr(layer, name, None) for name in ("silent", "delay_type"))
    return isinstance(layer, LI) or silent == "peak" or delay == "dendritic"


def _run(row: list[nn.Module], spikes: Tensor | Events) -> Tensor:
    first, *others = row
    assert isinstance(first, WeightedLayer)
    arriving = first.delay_input(spikes)
    links: list[tuple[Step, WeightedLayer | None]] = [(_step(first, arriving), first)]
    like = arriving.time if isinstance(arriving, Events) else arriving
    for module in others:
        links += _links(module, like)
    for (_, layer), found in zip(
        links, call_chain([step for step, _ in links], arriving), strict=True
    ):
        arriving = _taken(layer, arriving, *found)
    assert isinstance(arriving, Tensor)
    return arriving


def _taken(
    layer: WeightedLayer | None, arriving: Tensor | Events, out: Tensor, health: Health | None
) -> Tensor:
    """What a step gives, after its layer, if any, has taken note of it."""
    if layer is None:
        return out
    layer.note(arriving, out, health)
    if health is not None:
        layer.report_lost(health)
    layer.remember_call(arriving, out)
    return layer.finish(arriving, out)


def _links(module: nn.Module, like: Tensor) -> Iterator[tuple[Step, WeightedLayer | None]]:
    """The steps of a module behind others, with the layer whose result they give.

    ``like``: spike times, for dtype and device.
    """
    if isinstance(module, FlattenSpikes):
        yield Step(flattened, {"axes": module.axes}), None
    if isinstance(module, Delay) or getattr(module, "delay_type", None) == "axonal":
        later: Any = module.delay
        delay = nonnegative(later)
        # For what it checks.
        functional.delay(like.new_empty((*delay.shape, 0)), delay)
        yield Step(delayed, {"delay": delay}), None
    if isinstance(module, WeightedLayer):
        yield _step(module, like, behind=True), module


def _step(layer: Any, spikes: Tensor | Events, *, behind: bool = False) -> Step:
    """The step of a layer, with everything checked that it gets.

    ``behind``: whether ``spikes`` are not its own, and only give dtype and device.
    """
    is_recurrent = isinstance(layer, RecurrentLIF)
    given = layer.arguments_for(spikes) if is_recurrent else layer.arguments()
    connections = given.get("connections")
    if behind:
        assert isinstance(spikes, Tensor)
        covered = _covered(connections) if isinstance(connections, Conv) else ()
        spikes = spikes.new_empty((layer.in_features, *covered, 0))
    check_layer(spikes, given["weight"], layer.constants(), connections)
    if isinstance(layer, LI):
        check_readout(layer.readout, layer.t_max, layer.tau_weight)
        return Step(jax_core.li, given)
    check_settings(
        layer.max_spikes,
        layer.t_max,
        given.get("gradient", "eventprop"),
        layer.min_slope,
        layer.on_overflow,
        layer.refractory,
    )
    if not is_recurrent:
        return Step(jax_core.lif, given, layer.out_features)
    weights = given["weight"], given["recurrent_weight"]
    own = given.get("recurrent_connections")
    check_recurrence(*weights, given["recurrent_delay"], connections, own)
    return Step(jax_core.recurrent_lif, given, layer.out_features)


def _covered(conv: Conv) -> tuple[int, ...]:
    """The smallest input that a kernel fits in."""
    return tuple(1 + d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True))
