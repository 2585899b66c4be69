"""Networks of NIR as experiments, in hxtorch's convention."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...nir._graph import Block, read_chain
from ...nir._neurons import meaning
from ...nir._read import open_graph
from .._experiment import Experiment
from .._handle import LIFObservables
from .._parameter import HXTransformedModelParameter, MixedHXModelParameter
from .._run import run
from ..engines._call import EngineName
from ..modules._input_neuron import InputNeuron
from ..modules._synapse import Synapse
from ..modules.neuron._li import LI
from ..modules.neuron._lif import LIF
from ..transforms import weight_transforms
from ._convention import CONVENTION

_REFRACTORY = 1e-6
"""Seconds; that of `LIF` where nothing is said, as hxtorch has it."""


@dataclass
class ConversionConfig:
    """How `from_nir` builds an experiment.

    ``dt``: seconds per step. ``mock``: simulate. ``weight_scale``: hardware weight per model
    weight. ``engine``: as in `Experiment`. ``calib_path`` is not supported with ``mock=False``;
    ``trace_scale``, ``trace_shift``, ``cadc_recording`` and ``input_loopback`` are recorded and
    have no effect in simulation.
    """

    dt: float = 1e-6
    calib_path: str | None = None
    weight_scale: float = 64.0
    trace_scale: float = 1.0 / 50.0
    trace_shift: float = 0.0
    cadc_recording: bool = True
    mock: bool = True
    input_loopback: bool = True
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    engine: EngineName | None = None


class NIRNetwork(nn.Module):
    """What `from_nir` returns: an experiment with the modules of a graph.

    Its forward takes a dictionary with dense input spikes ``(time, batch, neurons)`` by the name of
    the Input node, and **returns** the spikes of all nodes that have some, by name. ``output`` has
    the handles of the last forward, also those of read-outs; ``hxnodes`` the modules.
    """

    def __init__(self, graph: Any, cfg: ConversionConfig) -> None:
        super().__init__()
        if cfg.calib_path is not None and not cfg.mock:
            raise ValueError("calib_path is not supported: give the backend a calibration")
        chain = read_chain(graph)
        # `to_nir` notes refractory times that are not 0, and that it wrote the graph.
        is_own = "evtorch" in dict(getattr(graph, "metadata", None) or {})
        refractory = 0.0 if is_own else _REFRACTORY
        self.exp = Experiment(mock=cfg.mock, dt=cfg.dt, engine=cfg.engine)
        size = math.prod(chain.blocks[0].in_shape)
        self.source = chain.source.name
        self.device = cfg.device
        modules: dict[str, nn.Module] = {self.source: InputNeuron(size, self.exp)}
        for block in chain.blocks:
            modules |= _modules(block, self.exp, cfg, refractory)
        self.hxnodes = nn.ModuleDict({_key(name): module for name, module in modules.items()})
        self.names = list(modules)
        self.output: dict[str, Any] = {}
        self.to(cfg.device)

    def forward(self, spikes_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self.source not in spikes_dict:
            raise ValueError(
                f"spikes_dict must have the spikes of the Input node {self.source!r}, but has "
                f"{', '.join(map(repr, spikes_dict)) or 'none'}"
            )
        spikes = spikes_dict[self.source].to(self.device)
        handle: Any = LIFObservables(spikes=spikes)
        self.output = {}
        for name in self.names:
            handle = self.output[name] = self.hxnodes[_key(name)](handle)
        run(self.exp, len(spikes))
        spiking = (k for k, v in self.output.items() if isinstance(v, LIFObservables))
        return {name: self.output[name].spikes for name in spiking}


def from_nir(graph: Any, cfg: ConversionConfig | None = None) -> NIRNetwork:
    """Make an experiment of a graph in hxtorch's convention, a chain of Linear, CubaLIF, CubaLI.

    Neurons have the refractory time of `LIF`, 1 µs, which NIR does not know; in graphs of `to_nir`,
    theirs. Constants may differ from neuron to neuron.

    **Arguments:** ``graph``: a ``nir.NIRGraph`` or the path of a file; ``cfg``: settings.

    **Raises:** ``ValueError`` naming the node that cannot be represented, the reason, a remedy.
    """
    return NIRNetwork(open_graph(graph), cfg or ConversionConfig())


def _key(name: str) -> str:
    """A name that torch takes for modules."""
    return f"node_{name.replace('.', '_')}"


def _modules(
    block: Block, exp: Experiment, cfg: ConversionConfig, refractory: Any
) -> dict[str, nn.Module]:
    neuron = block.neuron
    for named in (*block.chain, *block.loop):
        if named in block.loop or named.kind not in ("Linear", "CubaLIF", "CubaLI"):
            named.refuse(
                "is not supported in experiments", "use evtorch.torch_api.nir.from_nir for layers"
            )
    assert neuron is not None
    inputs, outputs = math.prod(block.in_shape), math.prod(block.out_shape)
    found = meaning(neuron, outputs, CONVENTION)
    resistance = neuron.array("r").astype(np.float64)
    if not resistance.all():
        neuron.refuse("has r = 0, an infinite capacitance", "correct r")
    gain = found.factor / np.broadcast_to(resistance, outputs)
    scale = partial(weight_transforms.linear_saturating, scale=cfg.weight_scale)
    synapse = Synapse(inputs, outputs, exp, transform=scale)
    with torch.no_grad():
        weight = block.projection.array("weight").astype(np.float64) * gain[:, None]
        synapse.weight.copy_(torch.as_tensor(weight))
    value = {name: _value(each) for name, each in found.constants.items()}
    tau_mem = value["tau_mem"]
    capacitance = found.constants["tau_mem"] / np.broadcast_to(resistance, outputs)
    settings: dict[str, Any] = {
        "leak": MixedHXModelParameter(value["v_leak"], 80),
        "tau_mem": tau_mem,
        "tau_syn": value["tau_syn"],
        "membrane_capacitance": HXTransformedModelParameter(
            _value(capacitance), partial(_hardware_capacitance, unit=_value(capacitance))
        ),
        "trace_scale": cfg.trace_scale,
        "cadc_time_shift": cfg.trace_shift,
        "shift_cadc_to_first": True,
        "enable_cadc_recording": cfg.cadc_recording,
    }
    if neuron.kind == "CubaLI":
        return {block.projection.name: synapse, neuron.name: LI(outputs, exp, **settings)}
    notes = dict(neuron.node.metadata or {}).get("evtorch", {})
    refractory = np.ravel(np.asarray(notes.get("refractory", refractory), np.float64))
    population = LIF(
        outputs,
        exp,
        reset=MixedHXModelParameter(value["v_reset"], 80),
        threshold=MixedHXModelParameter(value["v_threshold"], 150),
        refractory_time=_value(
            np.ravel(np.asarray(notes.get("refractory", refractory), np.float64))
        ),
        **settings,
    )
    return {block.projection.name: synapse, neuron.name: population}


def _hardware_capacitance(model_value: Any, unit: Any) -> Any:
    return model_value / unit * 63


def _value(each: np.ndarray) -> Any:
    """A number where all neurons agree, else a tensor."""
    if (each == each.flat[0]).all():
        return float(each.flat[0])
    return torch.as_tensor(each, dtype=torch.get_default_dtype())
