"""Learning rates in proportion to what they change."""

from typing import Any

import torch
from torch import Tensor, nn

from ..functional._loss_checks import check_number
from ..layers._delay import Delay
from ..layers._li import LI
from ..layers._model_layer import ModelLayer
from ..layers._neuron_layer import NeuronLayer
from ..layers._ode import ODELayer
from ..layers._projections import Projections, Synapses

_TAU_SYN = 1e-2
_KINDS = NeuronLayer, ModelLayer, LI, Delay, Projections, Synapses
# Beside those whose names begin with "v_".
_IN_VOLTS = "b", "current"


def parameter_groups(
    model: nn.Module, lr: float = 0.1, *, lr_others: float = 1e-3
) -> list[dict[str, Any]]:
    """Groups of parameters for an optimiser, with learning rates that fit their sizes.

    Adam and its kin change a parameter by about the learning rate in each step, whatever its
    gradient; but weights are of order 0.1 to 100, and time constants and delays of order 0.01. So
    ``lr`` is relative here: the rate of a weight is ``lr`` times its root mean square at the time
    of the call, that of a time constant likewise, that of a voltage ``lr`` times the
    distance from rest to threshold (1 for an `LI`), and that of a delay ``lr`` times the synaptic
    time constant (10 ms, the default one, where there is none). ``b`` of `AdaptiveLIF` and
    ``current`` of `QIF` count as voltages, ``a`` of the former as a number of order 1, constants of
    a `neuron` of your own by their root mean square, where that is 0 as 1.

        snn.initialise_(model, inputs)
        optimizer = torch.optim.Adam(snn.parameter_groups(model))

    **Arguments:**

    - ``model``: a module, with its weights initialised.
    - ``lr``: relative change per step, > 0. The default suits schedules that let it fall to 0.
    - ``lr_others``: absolute learning rate of the parameters of all other modules, and of those
      that parametrise weights, > 0.

    **Returns:** one group per parameter of a spiking layer and one for all others, dictionaries
    with ``params``, ``lr`` and ``name``.

    **Raises:** ``ValueError`` for a parameter that is 0 throughout, if its size is its own.
    """
    for name, value in (("lr", lr), ("lr_others", lr_others)):
        check_number(value, name, positive=True)
    groups: list[dict[str, Any]] = []
    seen: set[Tensor] = set()
    for prefix, module in model.named_modules():
        if not isinstance(module, _KINDS):
            continue
        for name, parameter in module.named_parameters(recurse=False):
            if parameter in seen or not parameter.requires_grad:
                continue
            seen.add(parameter)
            full = f"{prefix}.{name}" if prefix else name
            size = _size(module, name, parameter)
            if not size > 0:
                raise ValueError(
                    f"{full} is 0 throughout, so that no relative learning rate moves it; "
                    f"initialise it first, or make a group of its own for it"
                )
            groups.append({"params": [parameter], "lr": lr * size, "name": full})
    others = [p for p in model.parameters() if p.requires_grad and p not in seen]
    if others:
        groups.append({"params": others, "lr": lr_others, "name": "others"})
    return groups


def _size(layer: nn.Module, name: str, parameter: Tensor) -> float:
    if name.endswith("delay"):
        return _mean(getattr(layer, "tau_syn", _TAU_SYN))
    own = parameter.detach().square().mean().sqrt().item()
    if isinstance(layer, ODELayer) and name in layer.constant_names:
        return own or 1.0
    if name.startswith("v_") or name in _IN_VOLTS:
        return _height(layer)
    return 1.0 if name == "a" else own


def _height(layer: nn.Module) -> float:
    """From rest to threshold, or 1 where there is none."""
    if isinstance(layer, ModelLayer):
        return abs(_mean(layer.height()))
    if isinstance(layer, NeuronLayer | Projections):
        return abs(_mean(layer.v_threshold) - _mean(layer.v_leak)) or 1.0
    return 1.0


def _mean(constant: float | Tensor) -> float:
    return torch.as_tensor(constant, dtype=torch.float64).detach().mean().item()
