"""What went wrong inside JAX, in terms of the call that the user wrote."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NoReturn

import jax
import torch

from ._guards import BridgeError
from ._jax_internals import jax_is_tracing
from ._torch_internals import is_captured

_NEEDS_VALUE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)
# What JAX says of a traced shape, in a plain TypeError.
_SHAPE = "concrete values of integer type"
# What JAX says where a rule for a derivative is missing; it has no exception type of its own.
_NO_DERIVATIVE = (
    "differentiation does not work",
    "differentiation rule for",
    "transpose rule (for reverse-mode differentiation) for",
    "forward-mode differentiation",
    "do not support JVP",
    "does not support autodiff",
    "reverse-mode differentiation",
    "do not support reverse-mode",
)
# What JAX says where a Python function that it called back failed (`eqx.error_if`,
# `jax.pure_callback`): behind this, a traceback of the whole program, and the message at its end.
_CALLBACK = "error calling callback: "
_FRAME = '  File "'
_ADVICE = "\n" + 20 * "-"  # Equinox on how to call it in JAX.


def _raised_inside(error: Exception) -> str:
    lines = str(error).partition(_CALLBACK)[2].splitlines()
    frames = [i for i, line in enumerate(lines) if line.startswith(_FRAME)]
    after = lines[frames[-1] + 1 :] if frames else lines
    message = "\n".join(itertools.dropwhile(lambda line: line.startswith("  "), after))
    return message.partition(_ADVICE)[0].strip()


def _described(names: Sequence[str], tensors: Sequence[torch.Tensor]) -> str:
    return ", ".join(
        f"{name} {str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
        for name, tensor in zip(names, tensors, strict=True)
    )


def reraise(
    error: Exception, name: str, names: Sequence[str], tensors: Sequence[torch.Tensor]
) -> NoReturn:
    """Raise what JAX or the user's function raised for a call of ``name`` with these tensors: as a
    clearer exception, or the same one with a note."""
    arguments = _described(names, tensors)
    if jax_is_tracing() and not is_captured():
        raise BridgeError(
            f"{name} was called with torch tensors inside a JAX transformation such as jax.jit, "
            "which would trace it; call the JAX function itself there, or call this one outside"
        ) from error
    if isinstance(error, _NEEDS_VALUE) or (isinstance(error, TypeError) and _SHAPE in str(error)):
        raise TypeError(
            f"{name} needs the concrete value of a traced array, but it is compiled for any value "
            f"of {arguments}. Use jax.numpy.where or jax.lax.cond, or pass the argument as a "
            f"Python number or through static_argnames. JAX says: {error}"
        ) from error
    if isinstance(error, TypeError | ValueError | NotImplementedError) and any(
        phrase in str(error) for phrase in _NO_DERIVATIVE
    ):
        raise BridgeError(
            f"{name} cannot be differentiated in the way that torch asked for, with respect to "
            f"{arguments}: this derivative does not exist in JAX. JAX says: {error}"
        ) from error
    raised = _raised_inside(error)
    if raised:
        raise BridgeError(f"{name} failed while it ran with {arguments}: {raised}") from error
    error.add_note(f"evtorch.bridge: while running {name} with {arguments}")
    raise error
