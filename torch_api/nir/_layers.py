"""One block of a graph as a layer."""

import math
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from .._validate import check_dtype
from ..layers._convolved import Convolved
from ..layers._delay import Delay
from ..layers._delta_lif import DeltaLIF
from ..layers._if import IF
from ..layers._li import LI
from ..layers._lif import LIF
from ..layers._model_layer import DEFAULTS as OF_MODELS
from ..layers._model_layer import ModelLayer
from ..layers._neuron_layer import NeuronLayer
from ..layers._pooling import SumPool2d
from ..layers._recurrent_lif import RecurrentLIF
from ..layers._recurrent_model import RecurrentDeltaLIF, RecurrentIF, RecurrentModelLayer
from ._conv_layer import conv_layer
from ._convention import Convention
from ._convolution import Convolution, kernel_of
from ._graph import Block
from ._neurons import Meaning, flat, meaning, voltage_per_bias
from ._node import CONVOLUTIONS, NOTED, SPIKING, Named
from ._record import Kept, Record, governing, remember
from ._shapes import conv_setting, conv_shapes, parameter_names, pool_settings, pool_shapes
from ._values import per_neuron

_HELD = 10.0  # Refractory time in tau_syn, until a synapse that stands in for none is empty.
# By node, without and with a synapse that stands in for none: layers, and recurrent ones.
_KINDS: dict[tuple[str, bool], tuple[type[Any], type[Any] | None]] = {
    ("CubaLIF", False): (LIF, RecurrentLIF),
    ("CubaLI", False): (LI, None),
    ("LIF", False): (DeltaLIF, RecurrentDeltaLIF),
    ("LIF", True): (LIF, RecurrentLIF),
    ("LI", True): (LI, None),
    ("IF", False): (DeltaLIF, RecurrentDeltaLIF),
    ("IF", True): (IF, RecurrentIF),
}
Neurons = NeuronLayer[Any] | ModelLayer | LI


class Reader:
    """Makes the layers of blocks, all with the same settings, which are those of `from_nir`."""

    def __init__(
        self,
        convention: Convention,
        tau_syn: float | None,
        bias: str,
        lif: dict[str, Any],
        li: dict[str, Any],
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        self.convention, self.tau_syn, self.bias = convention, tau_syn, bias
        self.options = {"lif": lif, "li": li}
        self.place: dict[str, Any] = {"device": device, "dtype": check_dtype(dtype)}

    def layer(self, block: Block) -> nn.Module:
        """Make the layer of a block; it remembers the nodes that it was made of."""
        neuron = block.neuron
        if neuron is None:
            return self._pool(block) if block.delay is None else self._delay(block)
        found = meaning(neuron, math.prod(block.out_shape), self.convention, self.tau_syn)
        self._shift(block, neuron, found)
        layer, factor = self._neurons(block, neuron, found)
        record = Record(
            self.convention, block.chain, block.in_shape, factor=factor, gain=block.gain
        )
        self._set_weight(layer, block, record)
        if block.recurrent is not None:
            assert isinstance(layer, RecurrentLIF | RecurrentModelLayer)
            self._set_loop(layer, block, block.recurrent, found.factor, record)
        self._set_delay(layer, block, record)
        self._keep_constants(layer, block, neuron, record)
        remember(layer, record)
        return layer

    def _set_loop(
        self,
        layer: RecurrentLIF | RecurrentModelLayer,
        block: Block,
        recurrent: Named,
        factor: np.ndarray,
        record: Record,
    ) -> None:
        """Set what leads from the neurons back to themselves."""
        weight, shape = _weight(recurrent), layer.recurrent_weight.shape
        if weight.shape != shape:
            assert block.neuron is not None
            recurrent.refuse(
                f"must have a weight of shape {tuple(shape)} to lead back to "
                f"{block.neuron.name!r}, got {weight.shape}",
                "make the shapes agree",
            )
        _set(layer.recurrent_weight, weight * factor[:, None])
        record.keep("recurrent", recurrent.array("weight"), layer.recurrent_weight)
        record.loop = block.loop
        if block.recurrent_delay is not None:
            assert layer.recurrent_delay is not None
            self._fill(layer.recurrent_delay, block.recurrent_delay, record, "recurrent_delay")

    def _neurons(self, block: Block, neuron: Named, found: Meaning) -> tuple[Neurons, np.ndarray]:
        """The layer, its weights not yet set, and what a weight becomes for each row of them."""
        inputs, outputs = math.prod(block.in_shape), math.prod(block.out_shape)
        stands_in = self.tau_syn is not None and not neuron.kind.startswith("Cuba")
        plain, looped = _KINDS[neuron.kind, stands_in]
        kind = plain if block.recurrent is None else looped
        assert kind is not None
        options: dict[str, Any] = {k: _constant(v) for k, v in found.constants.items()}
        noted = dict(neuron.node.metadata or {}).get("evtorch", {})
        known = OF_MODELS if issubclass(kind, ModelLayer) else noted
        names = (k for k in (*NOTED, "refractory") if k in noted)
        options |= {k: _noted(k, noted[k]) for k in names if k in known or k == "refractory"}
        if neuron.kind in SPIKING and stands_in and self.tau_syn is not None:
            options["refractory"] = _HELD * self.tau_syn
        options |= self.options["lif" if neuron.kind in SPIKING else "li"]
        if block.delay is not None:
            _check_delay(block.delay, kind)
            options["delay"] = "dendritic"
        if block.recurrent_delay is not None:
            options["recurrent_delay"] = "axonal"
        try:
            # The weights are replaced; drawing them must not move the caller's random generator.
            with torch.random.fork_rng(devices=[]):
                shared = conv_layer(block, kind.__name__, options, found.factor, self.place)
                if shared is not None:
                    return cast(Neurons, shared[0]), shared[1]
                return kind(inputs, outputs, **options, **self.place), found.factor
        except (TypeError, ValueError) as error:
            raise type(error)(f"node {neuron.name!r} ({neuron.kind}): {error}") from error

    def _shift(self, block: Block, neuron: Named, found: Meaning) -> None:
        """Move the leak potential by as much as biases lift the voltages at rest."""
        leaks = neuron.kind != "IF"
        bias = self._bias(block.projection, found.factor.size, leaks)
        bias = bias + self._bias(block.recurrent, found.factor.size, leaks)
        if np.any(bias):
            lifted = bias * voltage_per_bias(found, self.convention)
            found.constants["v_leak"] = found.constants["v_leak"] + lifted

    def _bias(self, projection: Named | None, neurons: int, leaks: bool) -> np.ndarray | float:
        """The bias of a projection, checked, for each neuron."""
        if projection is None or getattr(projection.node, "bias", None) is None:
            return 0.0
        bias = projection.array("bias").astype(np.float64)
        expected = projection.array("weight").shape[0]
        if bias.shape != (expected,) or not np.isfinite(bias).all():
            projection.refuse(
                f"must have a finite bias of shape ({expected},), got shape {bias.shape}",
                "correct its bias",
            )
        if not bias.any():
            return 0.0
        if not leaks:
            projection.refuse(
                "has a bias, a constant current, which drives voltages without leak on and on",
                "train without bias, or give the neurons a leak (LIF)",
            )
        if self.bias == "error":
            projection.refuse(
                "has a bias, a constant current from t = 0 on, which these layers cannot have",
                "train without bias, or pass bias='rest' to start the neurons at the voltage to "
                "which it would lift them",
            )
        return np.repeat(bias, neurons // bias.size)

    def _set_weight(self, layer: Neurons, block: Block, record: Record) -> None:
        projection = block.projection
        weight = _weight(projection) * block.gain
        if isinstance(layer, Convolved):
            record.arriving = conv_shapes(projection, block.arriving)[0]
            _set(layer.weight, weight * record.factor.reshape(-1, *[1] * (weight.ndim - 1)))
            loaded = layer.weight
        elif projection.kind in CONVOLUTIONS:
            structure, first = self._convolution(block, record.factor)
            kernel = torch.as_tensor(weight * first).to(layer.weight)
            with torch.no_grad():
                structure.to(kernel)
                layer.weight.copy_(structure(kernel))
            nn.utils.parametrize.register_parametrization(layer, "weight", structure, unsafe=True)
            loaded = kernel_of(layer)
            with torch.no_grad():
                loaded.copy_(kernel)
        else:
            _set(layer.weight, weight * record.factor[:, None])
            loaded = layer.weight
        record.keep("weight", projection.array("weight"), loaded)

    def _convolution(self, block: Block, factor: np.ndarray) -> tuple[Convolution, float]:
        named = block.projection
        relative = factor / factor[0]
        before = conv_shapes(named, block.arriving)[0]
        structure = Convolution(
            named.array("weight").shape,
            before,
            conv_setting(named, "stride"),
            conv_setting(named, "padding"),
            conv_setting(named, "dilation"),
            int(named.node.groups),
            None if (relative == 1).all() else torch.as_tensor(relative),
        )
        return structure, float(factor[0])

    def _set_delay(self, layer: Neurons, block: Block, record: Record) -> None:
        if block.delay is not None:
            assert isinstance(layer, LIF)
            assert layer.delay is not None
            self._fill(layer.delay, block.delay, record)

    def _delay(self, block: Block) -> Delay:
        assert block.delay is not None
        layer = Delay(math.prod(block.out_shape), **self.place)
        record = Record(self.convention, block.chain, block.in_shape)
        self._fill(layer.delay, block.delay, record)
        remember(layer, record)
        return layer

    def _pool(self, block: Block) -> SumPool2d:
        assert block.pool is not None
        layer = SumPool2d(*pool_settings(block.pool))
        arriving = pool_shapes(block.pool, block.arriving)[0]
        remember(layer, Record(self.convention, block.chain, block.in_shape, arriving))
        return layer

    def _fill(self, delay: Tensor, named: Named, record: Record, kept: str = "delay") -> None:
        seconds = flat(named, "delay", delay.numel()) * self.convention.time_unit
        if (seconds < 0).any():
            named.refuse(f"has a delay of {seconds.min()} s", "delays must be >= 0")
        _set(delay, seconds)
        record.keep(kept, _shaped(named, "delay", delay.numel()), delay)

    def _keep_constants(self, layer: Neurons, block: Block, neuron: Named, record: Record) -> None:
        neurons = math.prod(block.out_shape)
        for name in parameter_names(neuron):
            attribute = "tau_mem" if name == "tau" else name
            loaded = np.ones(neurons)
            if hasattr(layer, attribute):
                loaded = _loaded(layer, attribute, neurons)
            record.kept[name] = Kept(_shaped(neuron, name, neurons, block.out_shape), loaded)
        if neuron.kind in ("LIF", "LI"):
            governs = _loaded(layer, governing(layer), neurons)
            record.kept["governing"] = Kept(governs, governs)
        if not isinstance(layer, DeltaLIF) and neuron.kind in ("LIF", "IF"):
            assert self.tau_syn is not None
            record.refractory = _HELD * self.tau_syn


def _check_delay(delay: Named, kind: type[Any]) -> None:
    """Check that neurons of a kind can have delays of their own."""
    why = "do not spike" if issubclass(kind, LI) else None
    if issubclass(kind, RecurrentLIF | RecurrentModelLayer):
        why = "are recurrent"
    elif issubclass(kind, ModelLayer):
        why = f"are a {kind.__name__}"
    if why is not None:
        delay.refuse(
            f"delays the input of single neurons that {why}", "put it before the projection"
        )


def _weight(projection: Named) -> np.ndarray:
    """The weights of a projection, float64, checked to be finite."""
    weight = projection.array("weight")
    if not np.isfinite(weight).all():
        projection.refuse("has weights that are not finite", "correct them")
    return weight.astype(np.float64)


def _set(parameter: Tensor, value: np.ndarray) -> None:
    with torch.no_grad():
        parameter.copy_(torch.as_tensor(value))


def _loaded(layer: nn.Module, name: str, neurons: int) -> np.ndarray:
    return per_neuron(getattr(layer, name), neurons).astype(np.float64)


def _shaped(
    named: Named, name: str, neurons: int, shape: tuple[int, ...] | None = None
) -> np.ndarray:
    array = named.array(name)
    if array.size == neurons and array.ndim:
        return array.copy()
    return np.broadcast_to(array.ravel(), (neurons,)).reshape(shape or (neurons,)).copy()


def _constant(value: np.ndarray) -> float | Tensor:
    """A number where all neurons agree, which is faster, else a tensor."""
    same = value.size == 0 or (value == value[0]).all()
    return float(value.flat[0]) if same and value.size else torch.as_tensor(value)


def _noted(name: str, value: Any) -> Any:
    if name == "max_spikes":
        return int(value)
    if name in ("on_overflow", "gradient", "readout"):
        return str(value)
    value = np.asarray(value, dtype=np.float64)
    return float(value) if value.ndim == 0 else torch.as_tensor(value.ravel())
