"""Exporting and loading parameters and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from torch import nn

from evtorch import bridge


@pytest.fixture
def module():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_snapshots_and_aliases(module):
    snapshot = bridge.export_parameters(module)
    shared = bridge.export_parameters(module, copy=False)
    assert list(snapshot) == list(module.state_dict())
    with torch.no_grad():
        module[0].weight.zero_()
    assert float(jnp.abs(shared["0.weight"]).sum()) == 0
    assert float(jnp.abs(snapshot["0.weight"]).sum()) > 0


@pytest.mark.parametrize("ending", ["safetensors", "npz"])
def test_files(module, tmp_path, ending):
    path = tmp_path / f"model.{ending}"
    module(torch.randn(5, 3)).sum().backward()
    exported = bridge.export_parameters(module, path)
    other = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    bridge.load_parameters(other, path)
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, module.state_dict()[name])
        np.testing.assert_array_equal(exported[name], tensor)
    gradients = bridge.export_gradients(module, tmp_path / f"gradients.{ending}")
    bridge.load_gradients(other, tmp_path / f"gradients.{ending}")
    for name, parameter in other.named_parameters():
        np.testing.assert_array_equal(parameter.grad, gradients[name])


def test_training_continues_in_jax_and_back():
    module = nn.Linear(3, 1)
    x, y = torch.randn(20, 3), torch.randn(20, 1)

    def torch_step():
        loss = (module(x) - y).square().mean()
        gradients = torch.autograd.grad(loss, list(module.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(module.parameters(), gradients, strict=True):
                parameter -= 0.1 * gradient
        return loss.item()

    def jax_loss(p):
        return jnp.mean((bridge.to_jax(x) @ p["weight"].T + p["bias"] - bridge.to_jax(y)) ** 2)

    torch_step()
    params = bridge.export_parameters(module)
    expected = [torch_step() for _ in range(4)]
    rule = optax.sgd(0.1)
    state, found = rule.init(params), []
    for _ in range(3):
        loss, gradients = jax.value_and_grad(jax_loss)(params)
        updates, state = rule.update(gradients, state)
        params = optax.apply_updates(params, updates)
        found.append(float(loss))
    bridge.load_parameters(module, params)
    found.append(torch_step())
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_jax_gradients_drive_a_torch_optimiser(module):
    gradients = {n: jnp.ones(p.shape) for n, p in module.named_parameters()}
    before = module[0].weight.detach().clone()
    bridge.load_gradients(module, gradients)
    torch.optim.SGD(module.parameters(), lr=0.5).step()
    torch.testing.assert_close(module[0].weight.detach(), before - 0.5)
    np.testing.assert_array_equal(gradients["0.weight"], 1)


def test_complex_gradients_change_their_convention(tmp_path):
    module = nn.Module()
    module.z = nn.Parameter(torch.tensor([1 + 2j, -0.5j, 3.0 + 0j]))
    target = jnp.array([0.5 - 1j, 2j, 1.0])

    def loss(params):
        return jnp.sum(jnp.abs(params["z"] - target) ** 2 * jnp.array([1.0, 2.0, 3.0]))

    expected = jax.grad(loss)(bridge.export_parameters(module))["z"]
    distance = (module.z - bridge.to_torch(target)).abs().square()
    (distance * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    own = module.z.grad.clone()
    for path in (None, tmp_path / "z.npz", tmp_path / "z.safetensors"):
        exported = bridge.export_gradients(module, path)
        np.testing.assert_allclose(exported["z"], expected, rtol=1e-6)
        module.z.grad = None
        bridge.load_gradients(module, exported if path is None else path)
        torch.testing.assert_close(module.z.grad, own)
    bridge.load_gradients(module, {"z": expected})
    torch.testing.assert_close(module.z.grad, own)


def test_tied_parameters():
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    module[1].weight = module[0].weight
    x = torch.randn(3, 2)
    (module(x) ** 2).sum().backward()
    expected = module[0].weight.grad.clone()
    params = bridge.export_parameters(module)

    def loss(p):
        return jnp.sum((bridge.to_jax(x) @ p["0.weight"].T @ p["1.weight"].T) ** 2)

    bridge.load_gradients(module, jax.grad(loss)(params))
    torch.testing.assert_close(module[0].weight.grad, expected)
    exported = bridge.export_gradients(module)
    assert list(exported) == ["0.weight"]
    bridge.load_gradients(module, exported)
    torch.testing.assert_close(module[0].weight.grad, expected)
    before = module[0].weight.detach().clone()
    with pytest.raises(ValueError, match=r"'0.weight' and '1.weight' are one tied parameter"):
        bridge.load_parameters(module, {**params, "1.weight": 2 * params["1.weight"]})
    assert torch.equal(module[0].weight, before)
    missing = jnp.full((2, 2), jnp.nan)
    bridge.load_parameters(module, {"0.weight": missing, "1.weight": missing})
    bridge.load_parameters(module, {"1.weight": params["1.weight"]})
    assert torch.equal(module[0].weight, before)


def test_aliases_may_be_swapped():
    module = nn.ParameterDict({"a": torch.zeros(16), "b": torch.ones(16)})
    shared = bridge.export_parameters(module, copy=False)
    bridge.load_parameters(module, {"a": shared["b"], "b": shared["a"]})
    assert (module["a"][0], module["b"][0]) == (1, 0)


class WithExtraState(nn.Linear):
    def get_extra_state(self):
        return {"version": 1}

    def set_extra_state(self, state):
        raise AssertionError


def test_odd_modules(tmp_path):
    extra = WithExtraState(2, 2)
    exported = bridge.export_parameters(extra, tmp_path / "extra.npz")
    assert list(exported) == ["weight", "bias"]
    bridge.load_parameters(extra, tmp_path / "extra.npz")
    named = nn.ParameterDict({"file": torch.ones(2), "allow_pickle": torch.zeros(2)})
    path = tmp_path / "named.npz"
    bridge.export_parameters(named, path)
    with torch.no_grad():
        named["file"].zero_()
    bridge.load_parameters(named, path)
    assert torch.equal(named["file"], torch.ones(2))
    with pytest.raises(ValueError, match=r"'weight' is on device 'meta'.*to_empty"):
        bridge.load_parameters(nn.Linear(2, 2, device="meta"), exported)
    with pytest.raises(ValueError, match="'weight' is on device 'meta'"):
        bridge.export_parameters(nn.Linear(2, 2, device="meta"))
    wide = nn.Linear(2, 2, dtype=torch.complex128)
    with pytest.raises(TypeError, match=r"\['weight', 'bias'\] have dtype torch.complex128.*npz"):
        bridge.export_parameters(wide, tmp_path / "wide.safetensors")


def test_mistakes_change_nothing(module):
    good = bridge.export_parameters(module)
    before = {n: t.clone() for n, t in module.state_dict().items()}
    zeros = {n: np.zeros(a.shape, a.dtype) for n, a in good.items()}
    with pytest.raises(KeyError, match=r"missing \['0.weight'\], unknown \['w'\].*strict=False"):
        bridge.load_parameters(module, {"w": zeros.pop("0.weight"), **zeros})
    with pytest.raises(ValueError, match=r"`source\['0.weight'\]` has shape \(1,\)"):
        bridge.load_parameters(module, {**zeros, "0.weight": jnp.zeros(1)})
    with pytest.raises(TypeError, match=r"`source\['0.weight'\]` has dtype torch.float16"):
        bridge.load_parameters(module, {**zeros, "0.weight": jnp.zeros((4, 3), jnp.float16)})
    with pytest.raises(TypeError, match=r"`source\['0.weight'\]` is a list"):
        bridge.load_parameters(module, {**zeros, "0.weight": [1]})
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])
    bridge.load_parameters(module, {"0.bias": jnp.zeros(4)}, strict=False)
    assert torch.equal(module[0].bias, torch.zeros(4))


def test_other_mistakes(module, tmp_path):
    with pytest.raises(bridge.BridgeError, match="no gradients; call backward"):
        bridge.export_gradients(module)
    with pytest.raises(ValueError, match=r"must end in .safetensors or .npz"):
        bridge.export_parameters(module, tmp_path / "model.bin")
    with pytest.raises(TypeError, match=r"cannot hold; write a .safetensors"):
        bridge.export_parameters(module.bfloat16(), tmp_path / "model.npz")
