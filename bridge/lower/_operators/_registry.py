"""The table of operators, and how an implementation gets into it."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

import torch


class Needs(Enum):
    """What an implementation takes before the operator's own arguments."""

    NOTHING = "nothing"
    OUTPUT = "output"
    """`jax.ShapeDtypeStruct` of the output, or a list of them."""
    KEY = "key"
    """A JAX key, then the output as above: the operator draws random numbers."""


class Unsupported(Exception):
    """An operator is in the table, but not what it is asked for here; the message says what."""


class Operator(NamedTuple):
    """How JAX computes an operator: ``run(*args, **kwargs)`` on arrays and Python values.

    Arrays have the dtypes of torch's tensors, in JAX's present x64 mode. Results are broadcast and
    cast to what torch says of its output.
    """

    run: Callable[..., Any]
    needs: Needs = Needs.NOTHING


TABLE: dict[Any, Operator] = {}
"""By overload of the operator."""

RULES: dict[Any, Callable[..., Any]] = {}
"""By overload: functions of torch that compute an operator by simpler ones, where the shapes of its
outputs depend on values or torch has no such rule."""

NAMES: dict[str, str] = {}
"""All names, also of overloads that this version of torch lacks, with the module that they are
implemented in."""


def find_overload(name: str) -> Any:
    """The overload ``"add.Tensor"`` of aten, ``"mm"`` meaning ``"mm.default"``; None where this
    version of torch has none."""
    packet, _, overload = name.partition(".")
    return getattr(getattr(torch.ops.aten, packet, None), overload or "default", None)


def lowers(*names: str, needs: Needs = Needs.NOTHING) -> Callable[[Callable[..., Any]], Any]:
    """Enter the decorated implementation for these overloads."""

    def enter(run: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            NAMES[name] = run.__module__.rpartition(".")[2]
            overload = find_overload(name)
            if overload is not None:
                TABLE[overload] = Operator(run, needs)
        return run

    return enter


def simplifies(*names: str) -> Callable[[Callable[..., Any]], Any]:
    """Enter the decorated rule for these overloads."""

    def enter(rule: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            NAMES[name] = rule.__module__.rpartition(".")[2]
            overload = find_overload(name)
            if overload is not None:
                RULES[overload] = rule
        return rule

    return enter
