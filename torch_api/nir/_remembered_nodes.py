"""NIR nodes of layers that were read from a graph."""

import copy
from typing import Any

import numpy as np
from torch import Tensor, nn

from ..layers._convolved import Convolved
from ..layers._delay import Delay
from ..layers._delta_lif import DeltaLIF
from ..layers._lif import LIF
from ..layers._pooling import SumPool2d
from ..layers._recurrent_lif import RecurrentLIF
from ..layers._recurrent_model import RecurrentModelLayer
from ._convolution import convolution_of, kernel_of
from ._neuron_nodes import Neurons, check_integrates
from ._node import CONVOLUTIONS, NEURONS, POOLS, PROJECTIONS, Named
from ._plain_nodes import conv_node, pool_node
from ._record import Kept, Record, governing
from ._shapes import Shape, conv_shapes, out_shape, parameter_names, pool_shapes
from ._values import per_neuron, values


def has_projection(layer: nn.Module, record: Record) -> bool:
    """Whether the weight still is what the record's projection was: a kernel or a matrix."""
    was_kernel = any(named.kind in CONVOLUTIONS for named in record.chain)
    return was_kernel == (isinstance(layer, Convolved) or convolution_of(layer) is not None)


def remembered_nodes(
    nir: Any, layer: Neurons | Delay | SumPool2d, record: Record
) -> list[tuple[str, Any]]:
    """The nodes that a layer was read from, with what has changed since."""
    written: list[tuple[str, Any]] = []
    shape = record.in_shape
    for named in record.chain:
        if named.kind == "Delay":
            assert isinstance(layer, Delay | LIF)
            assert layer.delay is not None
            written.append((named.name, _delay(nir, layer.delay, record, "delay")))
        elif named.kind in PROJECTIONS:
            written.append((named.name, _projection(nir, layer, record, named, shape)))
        elif named.kind in POOLS:
            size, stride, padding = map(named.array, ("kernel_size", "stride", "padding"))
            shapes = pool_shapes(named, shape)
            node = pool_node(getattr(nir, named.kind), size, stride, padding, *shapes)
            written.append((named.name, node))
        elif named.kind in NEURONS:
            assert not isinstance(layer, Delay | SumPool2d)
            written.append((named.name, _neuron(nir, layer, record, named)))
        else:
            dims = {"start_dim": named.node.start_dim, "end_dim": named.node.end_dim}
            types = {"input": np.array(shape)}
            written.append((named.name, nir.Flatten(input_type=types, **dims)))
        shape = out_shape([named], shape)
    return written


def _projection(nir: Any, layer: Any, record: Record, named: Named, shape: Shape) -> Any:
    kept = record.kept["weight"]
    if named.kind in CONVOLUTIONS:
        if isinstance(layer, Convolved):
            current = values(layer.weight)
            factor = np.repeat(record.factor, layer.weight[0].numel())
        else:
            current, factor = values(kernel_of(layer)), record.factor[:1]
        kernel = _weight(current, factor * record.gain, kept, named)
        names = "stride", "padding", "dilation", "groups"
        settings = {name: _as_given(getattr(named.node, name)) for name in names}
        before, after = conv_shapes(named, shape)
        return conv_node(nir, before, after, kernel, named.array("bias"), **settings)
    return _linear(nir, layer.weight, kept, record.factor * record.gain, named)


def _as_given(setting: Any) -> Any:
    return setting.decode() if isinstance(setting, bytes) else copy.copy(setting)


def remembered_loop(nir: Any, layer: nn.Module, record: Record) -> list[tuple[str, Any]]:
    """The recurrent connection that a layer was read with."""
    written: list[tuple[str, Any]] = []
    for named in record.loop:
        assert isinstance(layer, RecurrentLIF | RecurrentModelLayer)
        if named.kind == "Delay":
            assert layer.recurrent_delay is not None
            node = _delay(nir, layer.recurrent_delay, record, "recurrent_delay")
        else:
            kept = record.kept["recurrent"]
            node = _linear(nir, layer.recurrent_weight, kept, record.factor, named)
        written.append((named.name, node))
    return written


def _delay(nir: Any, delay: Tensor, record: Record, kept: str) -> Any:
    current = values(delay.clamp(min=0))
    return nir.Delay(
        delay=record.kept[kept].restore(current, current / record.convention.time_unit)
    )


def _linear(nir: Any, parameter: Tensor, kept: Kept, factor: np.ndarray, named: Named) -> Any:
    current = values(parameter)
    weight = _weight(current, np.repeat(factor, parameter.shape[1]), kept, named)
    if named.kind == "Affine":
        return nir.Affine(weight=weight, bias=named.array("bias"))
    return nir.Linear(weight=weight)


def _weight(current: np.ndarray, factor: np.ndarray, kept: Kept, named: Named) -> np.ndarray:
    """Weights of a projection, ``factor`` of which are those of the layer."""
    # A factor of 0, as of r = 0, has no inverse, and needs none as long as the weight stays 0.
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = kept.restore(current, current / factor)
    if not np.isfinite(weight).all():
        named.refuse(
            "has weights that have changed since, but leads to neurons with r or w_in = 0, for "
            "which no weight has an effect",
            "leave them 0, or make layers of a graph with another r",
        )
    return weight


def _neuron(nir: Any, layer: Neurons, record: Record, named: Named) -> Any:
    if named.kind == "IF" and isinstance(layer, DeltaLIF):
        check_integrates(layer, named.name)
    unit = record.convention.time_unit
    arrays = {}
    for name in parameter_names(named):
        kept = record.kept[name]
        current = translated = kept.loaded
        attribute = "tau_mem" if name == "tau" else name
        if hasattr(layer, attribute):
            current = per_neuron(getattr(layer, attribute), kept.loaded.size).astype(np.float64)
            translated = current / unit if attribute.startswith("tau") else current
        if name == "v_leak":
            translated = current - (kept.loaded - kept.original.ravel())
        arrays[name] = kept.restore(current, translated)
    _keep_factor(layer, record, arrays)
    return getattr(nir, named.kind)(**arrays)


def _keep_factor(layer: Neurons, record: Record, arrays: dict[str, np.ndarray]) -> None:
    """Let ``w_in`` (or ``r``) follow a changed time constant, so that weights keep their
    meaning."""
    kept = record.kept.get("governing", record.kept.get("tau_syn"))
    if kept is None or (record.convention.current_jump == "weight" and "w_in" in arrays):
        return
    current = per_neuron(getattr(layer, governing(layer)), kept.loaded.size).astype(np.float64)
    name = "w_in" if "w_in" in arrays else "r"
    changed = (current / kept.loaded).reshape(arrays[name].shape)
    if (changed != 1).any():
        arrays[name] = arrays[name] * changed
