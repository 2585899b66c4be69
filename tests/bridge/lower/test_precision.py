"""How exact products of float32 are in lowered code."""

import jax
import jax.numpy as jnp
import torch
from torch import nn

from evtorch import bridge


def _product_precision() -> str:
    fn, params = bridge.as_jax_function(nn.Linear(3, 4), lowering="native")
    text = str(jax.make_jaxpr(fn)(params, jnp.ones((2, 3))))
    return next((line for line in text.splitlines() if "precision=" in line), "")


def test_products_are_as_exact_as_torchs():
    assert "(Precision.HIGHEST, Precision.HIGHEST)" in _product_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert "HIGH" not in _product_precision()
    finally:
        torch.set_float32_matmul_precision("highest")
    with jax.default_matmul_precision("high"):
        assert "(Precision.HIGH, Precision.HIGH)" in _product_precision()
