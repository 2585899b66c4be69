"""A module that changes after it became JAX is looked at again, or that it cannot is said."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from torch import nn

from evtorch import bridge

X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.act, self.scale, self.sizes = torch.tanh, 2.0, {"by": [1]}
        self.shift = torch.tensor(0.5)

    def forward(self, x):
        return self.act(self.layer(x)) * self.scale / sum(self.sizes["by"]) + self.shift


CHANGES = [
    lambda m: None,
    lambda m: setattr(m, "scale", 3.0),
    lambda m: setattr(m, "act", torch.sin),
    lambda m: m.sizes.update(by=[1, 4]),
    lambda m: m.shift.mul_(2),
    lambda m: setattr(m, "shift", torch.tensor(-1.0)),
    lambda m: m.layer.register_forward_hook(lambda *args: 2 * args[2]),
    lambda m: m.layer._forward_hooks.clear(),
    lambda m: setattr(m, "layer", nn.Sequential()) or setattr(m, "layer", nn.Linear(3, 2)),
]


@pytest.mark.parametrize("lowering", ["native", "callback"])
def test_changes_are_followed(lowering):
    model = Model()
    fn, _ = bridge.as_jax_function(model, lowering=lowering)
    for place, change in enumerate(CHANGES):
        change(model)
        found = fn(bridge.export_parameters(model), X)
        expected = model(torch.tensor(X)).detach().numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=f"change {place}")


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.layer.register_parameter("bias", None),
        lambda m: setattr(m, "layer", nn.Linear(3, 4)),
        lambda m: m.add_module("more", nn.Linear(2, 2)),
        lambda m: m.register_buffer("more", torch.ones(2)),
    ],
)
def test_other_parameters_are_an_error(change):
    model = Model()
    fn, params = bridge.as_jax_function(model)
    fn(params, X)
    change(model)
    with pytest.raises(ValueError, match="other parameters or buffers than when as_jax_function"):
        fn(params, X)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Linear(3, 2, device="meta"), r"`weight` of the model is on device 'meta'.*to_empty"),
        (nn.Sequential(nn.LazyLinear(2)), "`0.weight` of the model belongs to a lazy module"),
        (nn.LazyBatchNorm1d(), "`weight` of the model belongs to a lazy module"),
    ],
)
def test_modules_without_values_are_named(module, message):
    with pytest.raises(ValueError, match=message):
        bridge.as_jax_function(module)


def test_several_dtypes_fail_as_in_torch(x64):
    fn, params = bridge.as_jax_function(nn.Linear(3, 2).double(), lowering="native")
    with pytest.raises(RuntimeError, match=r"dtypes torch.float64, torch.float32.*convert"):
        fn(params, jnp.asarray(X))


@pytest.mark.parametrize("lowering", ["native", "callback"])
def test_a_module_under_several_names_keeps_its_parameters(lowering):
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    module = nn.Sequential(module, module[0], module[1])
    before = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    fn, params = bridge.as_jax_function(module, lowering=lowering)
    found, buffers = fn(params, X, buffers=fn.buffers)
    step = bridge.compile_step(module, lambda o, y: (o - y).square().mean(), optax.sgd(0.0))
    for name, tensor in {**dict(module.named_parameters()), **dict(module.named_buffers())}.items():
        assert tensor is before[name]
    expected = module(torch.tensor(X))
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-4, atol=1e-5)
    for name, buffer in module.named_buffers():
        np.testing.assert_allclose(buffers[name], buffer.numpy(), rtol=1e-5, err_msg=name)
    step(torch.tensor(X), expected.detach())
    assert all(p is before[n] for n, p in module.named_parameters())
