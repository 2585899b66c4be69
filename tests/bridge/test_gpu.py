"""The CUDA path: run only where torch and JAX both have a card."""

import jax
import jax.numpy as jnp
import pytest
import torch

from evtorch import bridge


def _has_card() -> bool:
    if not torch.cuda.is_available():
        return False
    try:
        return bool(jax.devices("cuda"))
    except RuntimeError:
        return False


pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not _has_card(), reason="no CUDA device that both torch and JAX can use"),
    pytest.mark.filterwarnings("ignore:JAX has reserved most:UserWarning"),
]


def test_conversions_stay_on_the_device():
    x = torch.randn(8, device="cuda")
    array = bridge.to_jax(x)
    assert next(iter(array.devices())).platform == "gpu"
    back = bridge.to_torch(array)
    assert back.device == x.device
    assert back.data_ptr() == x.data_ptr()


def test_gradients():
    f = bridge.as_torch_function(lambda x, w: jnp.tanh(x @ w))
    x = torch.randn(64, 5, device="cuda", dtype=torch.float64, requires_grad=True)
    w = torch.randn(5, 6, device="cuda", dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(f, (x, w))


def test_stream_order_both_ways():
    f = bridge.as_torch_function(lambda x: jax.lax.fori_loop(0, 20, lambda i, x: x @ x / 1000, x))
    for stream in (torch.cuda.default_stream(), torch.cuda.Stream()):
        with torch.cuda.stream(stream):
            for _ in range(50):
                x = torch.randn(1000, 1000, device="cuda") @ torch.randn(1000, 1000, device="cuda")
                expected = x.clone()
                y = f(x)
                x.fill_(float("nan"))
                for _ in range(20):
                    expected = expected @ expected / 1000
                torch.testing.assert_close(y, expected, rtol=1e-3, atol=1e-3, equal_nan=True)


def test_mixed_devices_are_named():
    f = bridge.as_torch_function(lambda x, w: x + w)
    with pytest.raises(ValueError, match=r"`w` is on device 'cpu' but `x` is on 'cuda:0'"):
        f(torch.ones(2, device="cuda"), torch.ones(2))
