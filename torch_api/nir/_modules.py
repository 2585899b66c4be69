"""Weights and constants straight from the modules of time-stepped frameworks."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NoReturn, cast

import numpy as np
import torch
from torch import Tensor, nn

from ._convention import Convention
from ._package import nir_package
from ._read import from_nir
from ._values import array


def from_torch(
    model: nn.Module,
    dt: float,
    *,
    input_shape: Sequence[int] | None = None,
    tau_syn: float | None = None,
    bias: Literal["error", "rest"] = "error",
    lif: Mapping[str, Any] | None = None,
    li: Mapping[str, Any] | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> nn.Sequential:
    """Make layers of a model of Norse, snnTorch or SpikingJelly, weights and constants included.

    Known are ``Linear``, ``Conv1d``, ``Conv2d``, ``Flatten`` and ``Dropout`` (left out) with
    Norse's ``LIFCell``, ``LIFRecurrentCell``, ``LIFBoxCell``, ``LICell`` and ``LIBoxCell``,
    snnTorch's ``Synaptic``, ``RSynaptic``, ``Leaky`` and ``RLeaky``, SpikingJelly's ``CUBALIFNode``
    and ``LIFNode``, in a row in an ``nn.Sequential``.
    ``docs/nir.md`` has the equations. Time constants are those of the model; a decay ``beta`` per
    step becomes ``-dt / log(beta)``. Spikes agree as ``dt`` goes to 0.

    Other than files of these frameworks, this knows their reset: what resets by subtraction is an
    error. The package ``nir`` must be installed.

    **Arguments:**

    - ``model``: the model.
    - ``dt``: its time step, seconds.
    - ``input_shape``: (channels, height, width) of the input, for a model that begins with a
      ``Conv2d``; (channels, length) for a ``Conv1d``.
    - the others: as in `from_nir`.

    **Raises:** ``ValueError`` naming the module that cannot be represented, the reason, a remedy.
    """
    if not 0 < dt < math.inf:
        raise ValueError(f"dt must be finite and > 0 (seconds), got {dt}")
    nir = nir_package()
    nodes, loops = _nodes(nir, model, dt)
    if not nodes:
        raise ValueError("model has no layers; pass an nn.Sequential of projections and neurons")
    shape = input_shape
    if shape is None:
        shape = next(iter(nodes.values())).input_type["input"]
    if shape is None:
        raise ValueError("input_shape must be given for a model that begins with a Conv2d")
    source, target = (f"{'_' * (end in nodes)}{end}" for end in ("input", "output"))
    nodes = {
        source: nir.Input(input_type={"input": np.array(shape)}),
        **nodes,
        target: nir.Output(output_type={"output": None}),
    }
    edges = list(itertools.pairwise(nodes))
    for name, (loop_name, loop) in loops.items():
        nodes[loop_name] = loop
        edges += [(name, loop_name), (loop_name, name)]
    graph = nir.NIRGraph(nodes, edges, type_check=False)
    convention = Convention(current_jump="weight", spike_area=dt)
    settings = {"tau_syn": tau_syn, "bias": bias, "lif": lif, "li": li}
    return from_nir(graph, convention, **settings, device=device, dtype=dtype)


def _nodes(
    nir: Any, model: nn.Module, dt: float
) -> tuple[dict[str, Any], dict[str, tuple[str, Any]]]:
    """The nodes of all modules by name, and by that of neurons the name and node of their loop."""
    nodes: dict[str, Any] = {}
    loops: dict[str, tuple[str, Any]] = {}
    for name, module in _flat(model, ""):
        node = _node(nir, module, name, dt)
        if node is None:
            continue
        if hasattr(module, "input_weights"):
            nodes[f"{name}.input_weights"] = nir.Linear(
                weight=array(cast(Tensor, module.input_weights))
            )
        nodes[name] = node
        loop = _loop(nir, module, name, dt)
        if loop is not None:
            loops[name] = f"{name}.recurrent", loop
    return nodes, loops


def _flat(module: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    if isinstance(module, nn.Sequential):
        for name, child in module.named_children():
            yield from _flat(child, f"{path}.{name}" if path else name)
    else:
        yield path or "model", module


def _node(nir: Any, module: nn.Module, name: str, dt: float) -> Any:
    """The NIR node of a module, in seconds, with a current that jumps by the weight."""
    if isinstance(module, nn.Dropout | nn.Identity):
        return None
    if isinstance(module, nn.Linear):
        weight = array(module.weight)
        if module.bias is None:
            return nir.Linear(weight=weight)
        return nir.Affine(weight=weight, bias=array(module.bias))
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        return _convolution(nir, module, name)
    if isinstance(module, nn.Flatten):
        start, end = (d - 1 if d > 0 else d for d in (module.start_dim, module.end_dim))
        return nir.Flatten(input_type=None, start_dim=start, end_dim=end)
    framework = type(module).__module__.partition(".")[0]
    known = _NEURONS.get((framework, type(module).__name__))
    if known is None:
        _refuse(
            module,
            name,
            "has no counterpart",
            f"supported neurons are {', '.join('.'.join(key) for key in _NEURONS)}",
        )
    return known(nir, module, name, dt)


def _convolution(nir: Any, module: nn.Conv1d | nn.Conv2d, name: str) -> Any:
    if module.padding_mode != "zeros":
        _refuse(module, name, f"pads with {module.padding_mode!r}", "use padding_mode='zeros'")
    bias = np.zeros(module.out_channels) if module.bias is None else array(module.bias)
    kind = nir.Conv1d if isinstance(module, nn.Conv1d) else nir.Conv2d
    return kind(
        input_shape=None,
        weight=array(module.weight),
        stride=module.stride,
        padding=module.padding,
        dilation=module.dilation,
        groups=module.groups,
        bias=bias,
    )


def _loop(nir: Any, module: nn.Module, name: str, dt: float) -> Any:
    """The recurrent connection of a module that has one."""
    if hasattr(module, "recurrent_weights"):
        return nir.Linear(weight=array(cast(Tensor, module.recurrent_weights)))
    recurrent = getattr(module, "recurrent", None)
    if recurrent is None:
        return None
    if not isinstance(recurrent, nn.Linear):
        _refuse(module, name, "is not connected all to all", "construct it with linear_features")
    return _node(nir, recurrent, name, dt)


def _norse(nir: Any, module: Any, name: str, dt: float) -> Any:
    """``tau_mem v' = v_leak - v + i``, ``i`` jumps by the weight; box: the input is the current."""
    p = module.p
    own = float(getattr(module, "dt", dt))
    if not math.isclose(own, dt, rel_tol=1e-6):
        _refuse(module, name, f"has a step of {own}", "pass its step as dt")
    found = {"v_leak": p.v_leak}
    cuba = hasattr(p, "tau_syn_inv")
    found["tau_mem" if cuba else "tau"] = 1 / torch.as_tensor(p.tau_mem_inv)
    if cuba:
        found["tau_syn"] = 1 / torch.as_tensor(p.tau_syn_inv)
    if hasattr(p, "v_th"):
        found |= {"v_threshold": p.v_th, "v_reset": p.v_reset}
        method = getattr(getattr(p, "reset_method", None), "__name__", "reset_value")
        if method != "reset_value":
            _refuse_reset(module, name, method)
    kind = ("CubaLI" if cuba else "LI") + ("F" if "v_threshold" in found else "")
    return _neuron(nir, kind, found, r=1.0)


def _snntorch(nir: Any, module: Any, name: str, dt: float) -> Any:
    """``mem = beta mem + syn`` each step, ``syn = alpha syn + input``, or the input itself."""
    if module.reset_mechanism != "zero":
        _refuse_reset(module, name, module.reset_mechanism)
    if module.inhibition or float(module.graded_spikes_factor) != 1:
        _refuse(module, name, "has inhibition or graded spikes", "switch them off")
    tau_mem = _time_constant(module, name, "beta", dt)
    found = {"v_leak": 0.0, "v_threshold": module.threshold, "v_reset": 0.0}
    if hasattr(module, "alpha"):
        found |= {"tau_mem": tau_mem, "tau_syn": _time_constant(module, name, "alpha", dt)}
        return _neuron(nir, "CubaLIF", found, r=tau_mem / dt)
    return _neuron(nir, "LIF", {**found, "tau": tau_mem}, r=tau_mem / dt)


def _jelly_cuba(nir: Any, module: Any, name: str, dt: float) -> Any:
    """As snnTorch's Synaptic, with ``c_decay`` and ``v_decay``."""
    if module.v_reset is None:
        _refuse_reset(module, name, "subtract")
    tau_mem = _time_constant(module, name, "v_decay", dt)
    found = {"v_leak": 0.0, "v_threshold": module.v_threshold, "v_reset": module.v_reset}
    found |= {"tau_mem": tau_mem, "tau_syn": _time_constant(module, name, "c_decay", dt)}
    return _neuron(nir, "CubaLIF", found, r=tau_mem / dt)


def _jelly_lif(nir: Any, module: Any, name: str, dt: float) -> Any:
    """``v += (input - v + v_reset) / tau`` each step; the input undivided without decay_input."""
    if module.v_reset is None:
        _refuse_reset(module, name, "subtract")
    tau = float(module.tau)
    found = {"tau": tau * dt, "v_leak": module.v_reset, "v_reset": module.v_reset}
    found |= {"v_threshold": module.v_threshold}
    return _neuron(nir, "LIF", found, r=1.0 if module.decay_input else tau)


_NEURONS: dict[tuple[str, str], Callable[[Any, Any, str, float], Any]] = {
    ("norse", "LIFCell"): _norse,
    ("norse", "LIFRecurrentCell"): _norse,
    ("norse", "LIFBoxCell"): _norse,
    ("norse", "LICell"): _norse,
    ("norse", "LIBoxCell"): _norse,
    ("snntorch", "Synaptic"): _snntorch,
    ("snntorch", "Leaky"): _snntorch,
    ("snntorch", "RSynaptic"): _snntorch,
    ("snntorch", "RLeaky"): _snntorch,
    ("spikingjelly", "CUBALIFNode"): _jelly_cuba,
    ("spikingjelly", "LIFNode"): _jelly_lif,
}


def _time_constant(module: nn.Module, name: str, attribute: str, dt: float) -> np.ndarray:
    """The time constant, seconds, of a decay per step."""
    decay = array(torch.as_tensor(getattr(module, attribute))).astype(np.float64)
    if not ((decay > 0) & (decay < 1)).all():
        _refuse(module, name, f"has {attribute} outside of (0, 1)", f"correct {attribute}")
    return -dt / np.log(decay)


def _neuron(nir: Any, kind: str, found: dict[str, Any], r: Any) -> Any:
    values = {name: array(torch.as_tensor(value)) for name, value in {**found, "r": r}.items()}
    shape = np.broadcast_shapes(*(value.shape for value in values.values()), (1,))
    arrays = {name: np.broadcast_to(value, shape).copy() for name, value in values.items()}
    return getattr(nir, kind)(**arrays)


def _refuse_reset(module: nn.Module, name: str, mechanism: str) -> NoReturn:
    _refuse(
        module,
        name,
        f"resets by {mechanism!r}, while these neurons go to v_reset",
        "train it with a reset to a value (snnTorch: reset_mechanism='zero'); for a model of which "
        "only first spikes count, set it before the conversion",
    )


def _refuse(module: nn.Module, name: str, reason: str, remedy: str) -> NoReturn:
    raise ValueError(f"module {name!r} ({type(module).__name__}) {reason}; {remedy}")
