"""Settings and fixtures that every test shares."""

import os
from collections.abc import Iterator

import hypothesis
import jax
import numpy as np
import pytest
import torch

# In CI a failure must come from the change under test, so examples are drawn the same every time.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Start every test from the same state of torch's global generator, whatever ran before."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _strict_promotion() -> Iterator[None]:
    """Make JAX refuse to mix dtypes, which would hide a loss of precision."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def x64() -> Iterator[None]:
    """Let JAX compute in float64 for the duration of one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded NumPy generator."""
    return np.random.default_rng(0)
