"""Sizes of populations."""

from typing import Any


def check_size(module: Any, neurons: int) -> None:
    """A module that hands spikes on must be as large as the population they come from."""
    if neurons != module.size:
        raise ValueError(
            f"{module.title}({module.size}) expects spikes of {module.size} neurons, got {neurons}"
        )
