"""Checks of the numbers of a rule, when it is made."""

import math
import numbers
from collections.abc import Iterable
from typing import Any

TAUS = ("tau_plus", "tau_minus", "tau_x", "tau_y", "tau_trace", "tau_eligibility", "tau_reward")
_INFINITE = ("w_min", "w_max", "tau_eligibility")


def check_fields(rule: Any, names: Iterable[str]) -> None:
    """Check fields by name: finite numbers, time constants positive, ``w_min < w_max``.

    What is no number is a value that JAX traces, or ``None``, and was checked before.
    """
    for name in names:
        _check_number(name, getattr(rule, name))
    low, high = rule.w_min, rule.w_max
    if _is_number(low) and _is_number(high) and low >= high:
        raise ValueError(
            f"w_min must be below w_max, but w_min = {low} and w_max = {high}; lower w_min or "
            f"raise w_max"
        )


def check_choice(value: str, name: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def _check_number(name: str, value: Any) -> None:
    if isinstance(value, bool | str | list | tuple):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    if not _is_number(value):
        return
    if math.isnan(value) or (math.isinf(value) and name not in _INFINITE):
        raise ValueError(f"{name} must be finite, got {value}")
    if name in TAUS and value <= 0:
        raise ValueError(f"{name} must be > 0 seconds, got {value}; choose a positive time")


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
