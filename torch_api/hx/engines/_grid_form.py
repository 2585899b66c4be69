"""Which forward functions have the place of a module's equations on the time grid."""

from collections.abc import Callable
from typing import Any, TypeVar

Form = TypeVar("Form", bound=Callable[..., Any])
_forms: set[Callable[..., Any]] = set()


def grid_form(forward_func: Form) -> Form:
    """Say of a ``forward_func`` that it is what its module computes, on the time grid.

    Engines without steps compute the module in their own way. What a user writes in its place takes
    precedence over that.
    """
    _forms.add(forward_func)
    return forward_func


def is_grid_form(forward_func: Callable[..., Any]) -> bool:
    """Whether a function was marked so itself, not one that it replaces."""
    return forward_func in _forms
