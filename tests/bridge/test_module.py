"""`JaxModule`, and bridged functions inside torch's machinery."""

import copy
import importlib.util
import pickle
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
import torch
from torch.utils.checkpoint import checkpoint

from evtorch import bridge


def _load_workers():
    # pytest imports tests by file; pickle and child processes need a module of this name.
    folder = str(Path(__file__).parent)
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module("_workers")


workers = _load_workers()


@pytest.fixture
def module():
    return bridge.JaxModule(workers.mlp, workers.mlp_parameters())


def torch_mlp(module, x):
    p = dict(module.named_parameters())
    return torch.tanh(x @ p["first.w"] + p["first.b"]) @ p["second"]


def test_parameters_have_the_pytrees_names(module):
    assert set(module.state_dict()) == {"first.b", "first.w", "second"}
    assert module.params()["first"]["w"] is dict(module.named_parameters())["first.w"]
    x = torch.randn(5, 3)
    torch.testing.assert_close(module(x), torch_mlp(module, x))


def test_training_moves_the_parameters(module):
    x = torch.randn(32, 3)
    target = x[:, :2] * 2
    optimiser = torch.optim.Adam(module.parameters(), lr=0.03)
    losses = []
    for _ in range(100):
        optimiser.zero_grad()
        loss = (module(x) - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


def test_integers_are_buffers_and_other_leaves_stay():
    def fn(params, x):
        return jnp.take(x, params["index"], 0) * params["scale"] + params["act"](params["w"])

    params = {"index": torch.tensor([1, 0]), "scale": 2.0, "act": jnp.sin, "w": jnp.zeros(2)}
    module = bridge.JaxModule(fn, params)
    assert [n for n, _ in module.named_buffers()] == ["index"]
    assert [n for n, _ in module.named_parameters()] == ["w"]
    assert torch.equal(module(torch.tensor([3.0, 4.0])), torch.tensor([8.0, 6.0]))


def test_copies_and_pickles_are_independent(module):
    x = torch.randn(5, 3)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(other(x), module(x))
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.zero_()
        assert not torch.equal(other(x), module(x))


def test_functions_pickle_by_import_path():
    assert pickle.loads(pickle.dumps(workers.decorated)) is workers.decorated
    f = bridge.as_torch_function(workers.mlp, residuals="residual")
    assert pickle.loads(pickle.dumps(f)) == f
    assert copy.deepcopy(f) is f


def test_dtype_functional_call_and_state_dict(module):
    x = torch.randn(5, 3, dtype=torch.float64)
    double = copy.deepcopy(module).double()
    assert double(x).dtype == torch.float64
    torch.testing.assert_close(double(x), torch_mlp(double, x), rtol=1e-13, atol=1e-13)
    zeros = {n: torch.zeros_like(p) for n, p in module.named_parameters()}
    assert torch.equal(torch.func.functional_call(module, zeros, x.float()), torch.zeros(5, 2))
    fresh = bridge.JaxModule(workers.mlp, {**workers.mlp_parameters(), "second": jnp.zeros((8, 2))})
    fresh.load_state_dict(module.state_dict())
    assert torch.equal(fresh(x.float()), module(x.float()))


def test_names_that_torch_modules_use_get_an_underscore():
    # As Flax's `net.init` returns them.
    tree = {"params": {"Dense_0": {"kernel": jnp.full((3, 2), 2.0), "half": jnp.ones(2)}}}

    def apply(variables, x, *, train=False):
        dense = variables["params"]["Dense_0"]
        return (x @ dense["kernel"] + dense["half"]) * (3 if train else 1)

    module = bridge.JaxModule(apply, tree)
    names = {"params_.Dense_0.kernel", "params_.Dense_0.half_"}
    assert set(module.state_dict()) == names == set(bridge.export_parameters(module))
    module(torch.ones(1, 3), train=True).sum().backward()
    torch.testing.assert_close(
        module.get_parameter("params_.Dense_0.kernel").grad, torch.full((3, 2), 3.0)
    )
    assert module.params()["params"]["Dense_0"]["kernel"].shape == (3, 2)
    doubled = {name: 2 * p for name, p in module.named_parameters()}
    found = torch.func.functional_call(module, doubled, torch.ones(1, 3))
    torch.testing.assert_close(found, torch.full((1, 2), 14.0))


@pytest.mark.parametrize(
    "name", ["params", "buffers", "train", "half", "type", "apply", "forward", "training", "to"]
)
def test_any_key_is_taken(name):
    module = bridge.JaxModule(lambda p, x: p[name] * x, {name: jnp.full(2, 3.0)})
    assert list(module.state_dict()) == [f"{name}_"]
    assert module.double().train()(torch.ones(2).double()).tolist() == [3, 3]


def test_two_entries_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"`params` has two entries .* 'a_b'; rename"):
        bridge.JaxModule(lambda p: p, {"a.b": jnp.ones(1), "a_b": jnp.ones(1)})


def test_arguments_go_by_the_functions_names():
    def fn(p, x, act):
        return act(x * p["w"])

    module = bridge.JaxModule(fn, {"w": jnp.ones(2)}, static_argnames="act")
    x = torch.tensor([1.0, -1.0])
    assert torch.equal(module(x, jnp.negative), -x)
    assert torch.equal(module(x, act=jnp.negative), -x)
    with pytest.raises(TypeError, match="`x` of fn is a object"):
        module(object(), jnp.negative)
    with pytest.raises(ValueError, match="'axt', but fn has no such parameter"):
        bridge.JaxModule(fn, {"w": jnp.ones(2)}, static_argnames="axt")
    with pytest.raises(TypeError, match=r"`params\['k'\]` has dtype key<fry>.*key_data"):
        bridge.JaxModule(fn, {"k": jax.random.key(0)})


def gradients(module, loss):
    module.zero_grad()
    loss.backward()
    return [p.grad.clone() for p in module.parameters()]


@pytest.mark.parametrize("policy", ["residual", "recompute"])
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing(policy, reentrant):
    module = bridge.JaxModule(workers.mlp, workers.mlp_parameters(), residuals=policy)
    x = torch.randn(5, 3, requires_grad=True)
    expected = gradients(module, module(x).square().sum())
    found = gradients(module, checkpoint(module, x, use_reentrant=reentrant).square().sum())
    torch.testing.assert_close(found, expected)


def test_saved_tensor_hooks_see_inputs_and_residuals():
    packed = []

    def pack(tensor):
        packed.append(tensor)
        return tensor.clone()

    module = bridge.JaxModule(workers.mlp, workers.mlp_parameters(), residuals="residual")
    x = torch.randn(5, 3)
    expected = gradients(module, module(x).sum())
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = module(x).sum()
    assert len(packed) > 4
    torch.testing.assert_close(gradients(module, loss), expected)


def test_autocast_leaves_dtypes_alone(module):
    x = torch.randn(5, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert module(x).dtype == torch.float32
        hidden = torch.nn.functional.linear(x, torch.eye(3))
        assert bridge.as_torch_function(jnp.sin)(hidden).dtype == torch.bfloat16


def test_distributed_data_parallel(module, tmp_path):
    data = torch.randn(8, 3)
    expected = gradients(module, module(data).square().mean())
    context = torch.multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [
        context.Process(
            target=workers.distributed_step, args=(rank, str(tmp_path / "store"), data, queue)
        )
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    found = [torch.tensor(g) for g in queue.get(timeout=120)]
    for process in processes:
        process.join(timeout=60)
        assert process.exitcode == 0
    torch.testing.assert_close(found, expected)
