"""Networks of experiments to NIR, in hxtorch's convention."""

from typing import Any

import numpy as np
import torch
from torch import nn

from ...nir._convention import noted
from ...nir._package import nir_package
from ...nir._values import array, values
from ..modules._input_neuron import InputNeuron
from ..modules.neuron._aelif import AELIF
from ..modules.neuron._li import LI
from ..modules.types._population import Population
from ..modules.types._projection import Projection
from ._convention import CONVENTION


def to_nir(snn: nn.Module, input_sample: Any) -> Any:
    """Write the network that ``snn`` runs as a graph in hxtorch's convention.

    **Arguments:** ``snn``: a module with its `Experiment` as ``exp``, whose forward calls `run`;
    ``input_sample``: what its forward takes, to see which modules it connects.

    **Returns:** a ``nir.NIRGraph``; refractory times are noted beside the nodes.
    """
    nir = nir_package()
    experiment: Any = snn.exp
    with torch.no_grad(), experiment.recorded_calls() as calls:
        snn(input_sample)
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
        metadata={"evtorch": noted(CONVENTION)},
    )


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
