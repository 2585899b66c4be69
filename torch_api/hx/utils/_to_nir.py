"""Networks and spikes of experiments from and to NIR, in hxtorch's convention.

Time constants are in milliseconds, a spike lets the current jump by the weight, and ``r`` is the
membrane's time constant over its capacitance.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...nir._convention import Convention, noted
from ...nir._data import from_nir_data as events_from_nir_data
from ...nir._graph import Block, read_chain
from ...nir._neurons import meaning
from ...nir._package import nir_package
from ...nir._read import open_graph
from ...nir._values import array, values
from ...spikes._events import spike_times_from_events
from .._experiment import Experiment
from .._handle import LIFObservables
from .._parameter import HXTransformedModelParameter, MixedHXModelParameter
from .._run import run
from ..engines._call import Call, Engine
from ..engines._raster import SpikeRaster
from ..modules._hx_module import InputNeuron
from ..modules._synapse import Projection, Synapse
from ..modules.neuron._aelif import AELIF
from ..modules.neuron._li import LI
from ..modules.neuron._lif import LIF
from ..modules.types._population import Population
from ..transforms import weight_transforms

_CONVENTION = Convention.named("hxtorch")
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
    engine: Engine | None = None


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


def to_nir(snn: nn.Module, input_sample: Any) -> Any:
    """Write the network that ``snn`` runs as a graph in hxtorch's convention.

    **Arguments:** ``snn``: a module with its `Experiment` as ``exp``, whose forward calls `run`;
    ``input_sample``: what its forward takes, to see which modules it connects.

    **Returns:** a ``nir.NIRGraph``; refractory times are noted beside the nodes.
    """
    nir = nir_package()
    calls = _calls_of(snn, input_sample)
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    producer: dict[int, str] = {}
    source = "input"
    for index, call in enumerate(calls):
        own = str(index)
        node = None if isinstance(call.module, InputNeuron) else _node(nir, call.module)
        if node is not None:
            nodes[own] = node
        for handle in call.inputs:
            before = producer.get(id(handle), source)
            if node is not None:
                edges.append((before, own))
        producer |= {id(handle): own if node is not None else source for handle in call.outputs}
    used = {before for before, _ in edges}
    last = [name for name in nodes if name not in used]
    if len(last) != 1 or not edges:
        raise ValueError(
            f"the experiment must end with one population, but nothing reads the outputs of "
            f"{', '.join(type(call.module).__name__ for call in calls) or 'none'}"
        )
    first = nodes[next(after for before, after in edges if before == source)]
    ends = {source: nir.Input(first.input_type), "output": nir.Output(nodes[last[0]].output_type)}
    return nir.NIRGraph(
        {source: ends[source], **nodes, "output": ends["output"]},
        [*edges, (last[0], "output")],
        metadata={"evtorch": noted(_CONVENTION)},
    )


def from_nir_data(
    nir_graph_data: Any, hxtorch_model: Any, *, sort: bool = False
) -> dict[str, Tensor]:
    """Dense spikes ``(time, batch, neurons)`` of the nodes of a ``nir.NIRGraphData``, seconds.

    A spike lies in the step of ``hxtorch_model.exp.dt`` that it falls into; rasters of events
    remember the exact times, which the event engine uses.

    **Arguments:** ``sort``: sort events that do not ascend in time instead of raising.
    """
    dt = hxtorch_model.exp.dt
    found = {}
    for name, events in events_from_nir_data(nir_graph_data, sort=sort).items():
        if name not in nir_graph_data.nodes:
            raise ValueError(
                f"node {name!r} lies in a NIRGraphData within nir_graph_data, which has no "
                f"counterpart in an experiment; give the inner one"
            )
        observed = nir_graph_data.nodes[name].observables["spikes"]
        steps = round(observed.t_max / dt)
        neurons = observed.n_neurons
        per_neuron = torch.zeros(len(events.time), neurons + 1, dtype=torch.long)
        per_neuron.scatter_add_(1, (events.index + 1).long(), torch.ones_like(events.index).long())
        room = int(per_neuron[:, 1:].max()) if per_neuron.numel() else 0
        times = spike_times_from_events(events, neurons, max(room, 1))
        late = torch.isfinite(times) & (times >= steps * dt)
        if late.any():
            raise ValueError(f"node {name!r} has a spike at its t_max or later; raise its t_max")
        finite = torch.isfinite(times)
        step = torch.where(finite, times / dt + 1e-4, 0).floor().long()
        raster = torch.zeros(steps, *times.shape[:2])
        sample, neuron, _ = torch.nonzero(finite, as_tuple=True)
        raster[step[finite], sample, neuron] = 1
        found[name] = SpikeRaster.remembering(raster, times, dt)
    return found


def to_nir_data(hxtorch_dict: Mapping[str, Tensor], hxtorch_model: Any) -> Any:
    """Dense spikes ``(time, batch, neurons)`` by the name of the node as a ``nir.NIRGraphData``."""
    nir = nir_package()
    nodes = {}
    for name, spikes in hxtorch_dict.items():
        grid = np.moveaxis(spikes.detach().cpu().numpy() > 0, 0, 1)
        observed = nir.TimeGriddedData(np.ascontiguousarray(grid), hxtorch_model.exp.dt)
        nodes[name] = nir.NIRNodeData({"spikes": observed})
    return nir.NIRGraphData(nodes)


def _calls_of(snn: Any, input_sample: Any) -> list[Call]:
    """What the forward of a module with an experiment runs, in its order."""
    taken: list[Call] = []
    experiment = snn.exp
    take = experiment.take_calls
    experiment.take_calls = lambda: taken.extend(take()) or taken
    try:
        with torch.no_grad():
            snn(input_sample)
    finally:
        del experiment.take_calls
    return taken


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
    found = meaning(neuron, outputs, _CONVENTION)
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


def _node(nir: Any, module: Any) -> Any:
    if isinstance(module, Projection):
        return nir.Linear(weight=array(module.used_weight()))
    plain = isinstance(module, LI) or (isinstance(module, AELIF) and _is_lif(module))
    if not plain or not isinstance(module, Population):
        raise TypeError(
            f"{getattr(module, 'title', type(module).__name__)} has no counterpart in NIR; "
            f"synapses, LIF (AELIF without exponential term and adaptation) and LI have"
        )
    parameters = {
        name: np.broadcast_to(values(module.model(name)), module.size)
        for name in ("tau_mem", "tau_syn", "leak", "membrane_capacitance")
    }
    found = {
        "tau_mem": parameters["tau_mem"] * 1e3,
        "tau_syn": parameters["tau_syn"] * 1e3,
        "r": parameters["tau_mem"] / parameters["membrane_capacitance"],
        "v_leak": parameters["leak"].copy(),
    }
    if isinstance(module, LI):
        return nir.CubaLI(**found)
    for name, own in (("v_threshold", "threshold"), ("v_reset", "reset")):
        found[name] = np.broadcast_to(values(module.model(own)), module.size).copy()
    node = nir.CubaLIF(**found)
    refractory = values(module.model("refractory_time"))
    if refractory.any():
        each = refractory if refractory.size > 1 else float(refractory[0])
        node.metadata = {"evtorch": {"refractory": each}}
    return node


def _is_lif(module: AELIF) -> bool:
    terms = (module.exponential, module.subthreshold_adaptation, module.spike_triggered_adaptation)
    return module.leaky and module.fire and not any(terms)
