"""Neuron constants as attributes of a module: numbers, buffers, or parameters."""

import numbers
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .._validate import check_constant_values

Constant = float | Tensor


def register_constants(
    module: nn.Module,
    constants: dict[str, Any],
    learn: Iterable[str],
    neurons: int,
    *,
    device: torch.device | str | None,
    dtype: torch.dtype,
    infinite: tuple[str, ...] = ("refractory",),
) -> None:
    """Set neuron constants as attributes of ``module``, after a check of their values.

    A number stays a Python number (for which faster closed forms may exist); a tensor becomes a
    buffer; one named in ``learn`` becomes a parameter of shape ``(neurons,)``. ``infinite``: names
    of those that may be ``inf``, if they are not learned.
    """
    if not isinstance(learn, Iterable):
        raise TypeError(
            f"learn must hold names of neuron constants, such as ('tau_mem',), got {learn!r}"
        )
    names = {learn} if isinstance(learn, str) else set(learn)
    unknown = names - set(constants)
    if unknown:
        raise ValueError(
            f"learn must name neuron constants ({', '.join(constants)}), got "
            f"{', '.join(sorted(map(repr, unknown)))}; the weight is always learned"
        )
    constants = {name: _plain(value) for name, value in constants.items()}
    check_constant_values(constants, neurons, infinite)
    for name, value in constants.items():
        if name in names:
            initial = torch.as_tensor(value, device=device, dtype=dtype).detach()
            source = value if isinstance(value, Tensor) else torch.tensor(value, device="cpu")
            if name in infinite and not source.is_meta and bool(source.isinf().any()):
                raise ValueError(f"{name} = inf cannot be learned; choose a finite value")
            setattr(module, name, nn.Parameter(initial.expand(neurons).clone()))
        elif isinstance(value, Tensor):
            buffer = value.detach().to(device=device, dtype=dtype).expand(neurons).clone()
            module.register_buffer(name, buffer)
        else:
            setattr(module, name, value)


def constant_numbers(module: nn.Module, names: Iterable[str]) -> dict[str, float]:
    """Those constants of a module that are numbers; the others are among its tensors."""
    given = {name: getattr(module, name) for name in names}
    return {name: value for name, value in given.items() if not isinstance(value, Tensor)}


def constants_repr(module: nn.Module, names: Iterable[str]) -> str:
    """The constants of a module as text."""
    parts = []
    for name in names:
        value = getattr(module, name)
        if isinstance(value, nn.Parameter):
            parts.append(f"{name}=learned")
        elif isinstance(value, Tensor):
            parts.append(f"{name}=per neuron")
        else:
            parts.append(f"{name}={value:g}")
    return ", ".join(parts)


def _plain(value: Any) -> Any:
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value)
    return value
