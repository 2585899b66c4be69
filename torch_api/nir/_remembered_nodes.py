"""NIR nodes of layers that were read from a graph."""

from typing import Any

import numpy as np
from torch import Tensor, nn

from ..layers._delay import Delay
from ..layers._li import LI
from ..layers._lif import LIF
from ..layers._neuron_layer import NeuronLayer
from ..layers._recurrent_lif import RecurrentLIF
from ._convolution import convolution_of, kernel_of
from ._new_nodes import conv_node
from ._node import NEURONS, PROJECTIONS, Named
from ._record import Kept, Record
from ._shapes import out_shape, parameter_names
from ._values import values


def has_projection(layer: nn.Module, record: Record) -> bool:
    """Whether the weight still is what the record's projection was: a kernel or a matrix."""
    was_kernel = any(named.kind == "Conv2d" for named in record.chain)
    return was_kernel == (convolution_of(layer) is not None)


def remembered_nodes(
    nir: Any, layer: NeuronLayer | LI | Delay, record: Record
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
            written.append((named.name, _projection(nir, layer, record, named)))
        elif named.kind in NEURONS:
            assert not isinstance(layer, Delay)
            written.append((named.name, _neuron(nir, layer, record, named)))
        else:
            dims = {"start_dim": named.node.start_dim, "end_dim": named.node.end_dim}
            types = {"input": np.array(shape)}
            written.append((named.name, nir.Flatten(input_type=types, **dims)))
        shape = out_shape([named], shape)
    return written


def _projection(nir: Any, layer: Any, record: Record, named: Named) -> Any:
    kept = record.kept["weight"]
    if named.kind == "Conv2d":
        current = values(kernel_of(layer))
        structure = convolution_of(layer)
        assert structure is not None
        kernel = _weight(current, record.factor[:1], kept, named)
        return conv_node(nir, structure, kernel, named.array("bias"))
    return _linear(nir, layer.weight, kept, record, named)


def remembered_loop(nir: Any, layer: nn.Module, record: Record) -> list[tuple[str, Any]]:
    """The recurrent connection that a layer was read with."""
    written: list[tuple[str, Any]] = []
    for named in record.loop:
        assert isinstance(layer, RecurrentLIF)
        if named.kind == "Delay":
            assert layer.recurrent_delay is not None
            node = _delay(nir, layer.recurrent_delay, record, "recurrent_delay")
        else:
            kept = record.kept["recurrent"]
            node = _linear(nir, layer.recurrent_weight, kept, record, named)
        written.append((named.name, node))
    return written


def _delay(nir: Any, delay: Tensor, record: Record, kept: str) -> Any:
    current = values(delay.clamp(min=0))
    return nir.Delay(
        delay=record.kept[kept].restore(current, current / record.convention.time_unit)
    )


def _linear(nir: Any, parameter: Tensor, kept: Kept, record: Record, named: Named) -> Any:
    current = values(parameter)
    factor = np.repeat(record.factor, parameter.shape[1])
    weight = _weight(current, factor, kept, named)
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


def _neuron(nir: Any, layer: NeuronLayer | LI, record: Record, named: Named) -> Any:
    unit = record.convention.time_unit
    neurons = layer.out_features
    arrays = {}
    for name in parameter_names(named):
        kept = record.kept[name]
        current = translated = kept.loaded
        attribute = "tau_mem" if name == "tau" else name
        if hasattr(layer, attribute):
            current = np.broadcast_to(values(getattr(layer, attribute)), (neurons,))
            translated = current / unit if attribute.startswith("tau") else current
        if name == "v_leak":
            translated = current - (kept.loaded - kept.original.ravel())
        arrays[name] = kept.restore(current, translated)
    _keep_factor(layer, record, arrays)
    return getattr(nir, named.kind)(**arrays)


def _keep_factor(layer: NeuronLayer | LI, record: Record, arrays: dict[str, np.ndarray]) -> None:
    """Let ``w_in`` (or ``r``) follow a changed ``tau_syn``, so that weights keep their meaning."""
    kept = record.kept.get("synapse", record.kept.get("tau_syn"))
    if kept is None or (record.convention.current_jump == "weight" and "w_in" in arrays):
        return
    current = np.broadcast_to(values(layer.tau_syn), kept.loaded.shape)
    name = "w_in" if "w_in" in arrays else "r"
    changed = (current / kept.loaded).reshape(arrays[name].shape)
    if (changed != 1).any():
        arrays[name] = arrays[name] * changed
