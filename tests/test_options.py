"""What signatures say of the defaults of options is what the one list says."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from evtorch import jax_core
from evtorch import torch_api as snn
from evtorch.jax_core.layer._options import DEFAULTS

FUNCTIONS = {
    f"{package.__name__}.{name}": each
    for package in (jax_core, snn, snn.functional, snn.hardware)
    for name, each in ((name, getattr(package, name)) for name in package.__all__)
    if callable(each) and hasattr(each, "__module__") and not isinstance(each, type(Any))
}


def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
    return {
        name: parameter.default
        for name, parameter in parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }


# Encoders find out by themselves how much room they need; the current of QIF is a constant.
OTHERS = {("max_spikes", None), ("current", 0.0)}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_defaults_agree(name: str) -> None:
    given = {key: value for key, value in defaults(FUNCTIONS[name]).items() if key in DEFAULTS}
    wrong = {key: value for key, value in given.items() if value != DEFAULTS[key]}
    assert {key: value for key, value in wrong.items() if (key, value) not in OTHERS} == {}


def test_all_kinds_of_layers_are_looked_at() -> None:
    named = {
        name: set(DEFAULTS) & set(defaults(FUNCTIONS[name]))
        for name in (
            "evtorch.jax_core.lif",
            "evtorch.torch_api.LIF",
            "evtorch.torch_api.RecurrentLIF",
        )
    }
    assert all(len(found) >= 10 for found in named.values()), named
