"""Settings of the tests of compiled steps."""

from collections.abc import Iterator

import jax
import pytest
import torch


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    with jax.numpy_dtype_promotion("standard"):  # optax relies on it
        yield
    torch.set_default_dtype(torch.float32)
