"""`OptaxOptimizer` against optax itself and torch's optimiser protocol."""

import copy
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from torch import nn

from evtorch import bridge


@pytest.fixture(autouse=True)
def _standard_promotion():
    """optax itself mixes integers and floats."""
    with jax.numpy_dtype_promotion("standard"):
        yield


SCHEDULE = optax.exponential_decay(0.05, 10, 0.7)
TRANSFORMATIONS: dict[str, Any] = {
    "sgd": optax.sgd(0.05),
    "momentum": optax.sgd(0.05, momentum=0.9, nesterov=True),
    "adam": optax.adam(0.02),
    "adamw": optax.adamw(0.02, weight_decay=0.1),
    "lion": optax.lion(0.01),
    "clip and schedule": optax.chain(optax.clip_by_global_norm(0.5), optax.adam(SCHEDULE)),
    "lamb": optax.lamb(0.02),
}


def parameters(dtype=torch.float32):
    generator = torch.Generator().manual_seed(7)
    shapes = [(4, 3), (3,), (), (3, 2)]
    return [torch.randn(s, generator=generator, dtype=dtype, requires_grad=True) for s in shapes]


def loss_of(params, lib: Any):
    w, b, s, v = params
    x = lib.sin(w[:, 0:1] * 3 + 1)
    return lib.mean((lib.tanh(x * b + s) @ v) ** 2) + 0.1 * lib.sum(w * w)


@pytest.mark.parametrize("name", TRANSFORMATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_trajectory_is_that_of_pure_optax(name, dtype):
    transformation = TRANSFORMATIONS[name]
    params = parameters(dtype)
    optimizer = bridge.OptaxOptimizer(params, transformation)
    with jax.enable_x64(dtype is torch.float64):
        reference = bridge.to_jax([p.detach() for p in params], copy=True)
        state = transformation.init(reference)

        @jax.jit
        def step(params, state):
            gradients = jax.grad(lambda p: loss_of(p, jnp))(params)
            updates, state = transformation.update(gradients, state, params)
            return optax.apply_updates(params, updates), state

        for _ in range(100):
            reference, state = step(reference, state)
    for _ in range(100):
        optimizer.zero_grad()
        loss_of(params, torch).backward()
        optimizer.step()
    exact = dtype is torch.float64
    for found, expected in zip(params, bridge.to_torch(reference), strict=True):
        torch.testing.assert_close(
            found.detach(), expected, rtol=1e-9 if exact else 2e-4, atol=1e-10 if exact else 2e-5
        )


def test_param_groups_schedulers_and_factors():
    a, b = (nn.Parameter(torch.ones(2)) for _ in range(2))
    rated = optax.inject_hyperparams(optax.sgd)(learning_rate=0.5)
    optimizer = bridge.OptaxOptimizer(
        [{"params": [a]}, {"params": [b], "transformation": rated}], optax.sgd(1.0), lr=None
    )
    assert [g["lr"] for g in optimizer.param_groups] == [1.0, 0.5]
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1)
    for expected in ((0.0, 0.5), (-0.1, 0.45)):
        a.grad, b.grad = torch.ones(2), torch.ones(2)
        optimizer.step()
        scheduler.step()
        torch.testing.assert_close(a.detach(), torch.full((2,), expected[0]))
        torch.testing.assert_close(b.detach(), torch.full((2,), expected[1]))


def test_a_scheduled_rate_is_optaxs_and_lr_a_factor():
    a = nn.Parameter(torch.zeros(()))
    schedule = optax.linear_schedule(1.0, 0.0, 4)
    rule = optax.inject_hyperparams(optax.sgd)(learning_rate=schedule)
    optimizer = bridge.OptaxOptimizer([a], rule)
    assert optimizer.param_groups[0]["lr"] == 1
    for expected in (-1.0, -1.75, -6.75):
        if expected == -6.75:
            optimizer.param_groups[0]["lr"] = 10.0
        a.grad = torch.ones(())
        optimizer.step()
        torch.testing.assert_close(a.item(), expected)
    optimizer.load_optax_state(optimizer.optax_state())
    assert optimizer.param_groups[0]["lr"] == 10


def test_state_dict_round_trip(tmp_path):
    def run(steps, params, optimizer):
        for _ in range(steps):
            optimizer.zero_grad()
            loss_of(params, torch).backward()
            optimizer.step()

    make = TRANSFORMATIONS["clip and schedule"]
    params = parameters()
    optimizer = bridge.OptaxOptimizer(params, make)
    run(5, params, optimizer)
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    resumed = [p.detach().clone().requires_grad_() for p in params]
    other = bridge.OptaxOptimizer(resumed, make)
    other.load_state_dict(torch.load(tmp_path / "state.pt"))
    run(5, params, optimizer)
    run(5, resumed, other)
    for found, expected in zip(resumed, params, strict=True):
        assert torch.equal(found, expected)
    with pytest.raises(ValueError, match="needs"):
        bridge.OptaxOptimizer(parameters(), optax.sgd(0.1)).load_state_dict(optimizer.state_dict())
    with pytest.raises(ValueError, match="does not come from an OptaxOptimizer"):
        optimizer.load_state_dict(torch.optim.SGD(params).state_dict())


NAMES = ("w", "b", "s", "v")


def named_loss(params, lib: Any):
    return loss_of([params[name] for name in NAMES], lib)


def decayed(params):
    return {name: value.ndim > 1 for name, value in params.items()}


@pytest.mark.parametrize(
    "rule",
    [
        optax.chain(optax.clip_by_global_norm(0.5), optax.adam(SCHEDULE)),
        optax.adamw(0.02, weight_decay=0.3, mask=decayed),
        optax.inject_hyperparams(optax.adam)(learning_rate=0.02),
    ],
    ids=["clip and schedule", "masked by name", "injected rate"],
)
def test_state_goes_to_pure_optax_and_back(rule, x64):
    tensors = dict(zip(NAMES, parameters(torch.float64), strict=True))
    optimizer = bridge.OptaxOptimizer(tensors.items(), rule)
    reference = bridge.to_jax({n: t.detach() for n, t in tensors.items()}, copy=True)
    reference_state = rule.init(reference)

    @jax.jit
    def step(params, state):
        gradients = jax.grad(lambda p: named_loss(p, jnp))(params)
        updates, state = rule.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    def torch_steps():
        for _ in range(5):
            optimizer.zero_grad()
            named_loss(tensors, torch).backward()
            optimizer.step()

    torch_steps()
    params = bridge.to_jax({n: t.detach() for n, t in tensors.items()}, copy=True)
    state = optimizer.optax_state()
    assert jax.tree.structure(state) == jax.tree.structure(reference_state)
    for _ in range(5):
        params, state = step(params, state)
    with torch.no_grad():
        for name, value in bridge.to_torch(params).items():
            tensors[name].copy_(value)
    optimizer.load_optax_state(state)
    torch_steps()
    for _ in range(15):
        reference, reference_state = step(reference, reference_state)
    for found, expected in (
        ({n: bridge.to_jax(t.detach()) for n, t in tensors.items()}, reference),
        (optimizer.optax_state(), reference_state),
    ):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11), found, expected)


def test_states_that_do_not_fit_are_refused():
    params = parameters()
    optimizer = bridge.OptaxOptimizer(params, optax.adam(0.1))
    state = optimizer.optax_state()
    with pytest.raises(ValueError, match=r"`state` has the structure .*parameters as a list"):
        optimizer.load_optax_state(optax.sgd(0.1).init([jnp.zeros(2)]))
    halves = jax.tree.map(lambda x: x.astype(jnp.float16), state)
    with pytest.raises(ValueError, match=r"`state\[0\].count` is float16\[\].*needs int32\[\]"):
        optimizer.load_optax_state(halves)
    with pytest.raises(ValueError, match=r"`group` must be from 0 to 0, got 1"):
        optimizer.optax_state(1)
    for p in params:
        p.grad = torch.ones_like(p)
        p.data, p.grad = p.data.double(), p.grad.double()
    with pytest.raises(TypeError, match="convert the module first"):
        optimizer.step()


def test_random_transformations_and_copies_go_on_alike():
    params = [torch.ones(3, requires_grad=True), torch.ones(2, requires_grad=True)]
    optimizer = bridge.OptaxOptimizer(params, optax.add_noise(0.1, 0.1, 3))
    saved = optimizer.state_dict()
    twins, twin = copy.deepcopy((params, optimizer))
    for tensors, rule in ((params, optimizer), (twins, twin)):
        for tensor in tensors:
            tensor.grad = torch.ones_like(tensor)
        rule.step()
        first = [t.detach().clone() for t in tensors]
        rule.load_state_dict(saved)
        rule.step()
        for tensor, after_one in zip(tensors, first, strict=True):
            torch.testing.assert_close(tensor.detach() - after_one, after_one - 1)
    torch.testing.assert_close(params, twins)


def test_closure_versions_and_missing_gradients():
    a, b = (torch.ones(3, requires_grad=True) for _ in range(2))
    optimizer = bridge.OptaxOptimizer([a, b], optax.adamw(0.1, weight_decay=0.5))

    def closure():
        optimizer.zero_grad()
        loss = (a**2).sum()
        loss.backward()
        return loss

    version = a._version
    assert optimizer.step(closure).item() == 3
    assert a._version > version
    assert b.grad is None
    assert torch.equal(b, torch.ones(3))
    y = a * a
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_grad_scaler_skips_overflowing_steps():
    a = torch.ones(3, requires_grad=True)
    optimizer = bridge.OptaxOptimizer([a], optax.sgd(0.1))
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for factor, expected in ((1.0, 0.9), (float("inf"), 0.9), (1.0, 0.8)):
        optimizer.zero_grad()
        scaler.scale((a * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        torch.testing.assert_close(a.detach(), torch.full((3,), expected))


def test_extra_arguments_reach_the_transformation():
    a = torch.ones(1, requires_grad=True)
    plateau = optax.contrib.reduce_on_plateau(factor=0.5, patience=1, cooldown=0)
    optimizer = bridge.OptaxOptimizer([a], optax.chain(optax.sgd(1.0), plateau))
    steps = []
    for _ in range(4):
        before = a.item()
        a.grad = torch.ones(1)
        optimizer.step(value=torch.tensor(1.0))
        steps.append(before - a.item())
    assert steps == [1.0, 0.5, 0.25, 0.125]


def test_large_and_mixed_parameters():
    params = [
        torch.randn(300, 300).requires_grad_(),
        torch.randn(3).requires_grad_(),
        torch.randn(3, dtype=torch.bfloat16).requires_grad_(),
        torch.randn(2, 3).T.detach().requires_grad_(),
    ]
    before = [p.detach().clone() for p in params]
    for p in params:
        p.grad = torch.ones_like(p)
    bridge.OptaxOptimizer(params, optax.sgd(0.5)).step()
    for p, b in zip(params, before, strict=True):
        torch.testing.assert_close(p.detach(), b - 0.5)


def test_queued_work_and_deepcopied_modules():
    module = nn.Linear(3, 2)
    clone = copy.deepcopy(module)
    optimizer = bridge.OptaxOptimizer(module.parameters(), optax.sgd(0.1))
    reference = torch.optim.SGD(clone.parameters(), lr=0.1)
    x = torch.randn(5, 3)
    for _ in range(50):
        for model, rule in ((module, optimizer), (clone, reference)):
            rule.zero_grad(set_to_none=False)
            model(x).square().mean().backward()
            rule.step()
    torch.testing.assert_close(list(module.parameters()), list(clone.parameters()))


def test_bad_arguments_are_named():
    def make(params: Any = None, transformation: Any = None, **settings: Any):
        params = params or [torch.ones(1, requires_grad=True)]
        return bridge.OptaxOptimizer(params, transformation or optax.sgd(0.1), **settings)

    with pytest.raises(TypeError, match=r"`transformation` must be an optax.Grad"):
        make(transformation=0.1)
    with pytest.raises(TypeError, match="`lr` must be a number or None, got 'a'"):
        make(lr="a")
    a = torch.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match="names several parameters alike"):
        make([("a", a), ("a", torch.ones(1, requires_grad=True))])
    with pytest.raises(TypeError, match=r"`value_fn` of OptaxOptimizer.step is a function"):
        make().step(value_fn=make)
    with pytest.raises(TypeError, match="cannot be used: it evaluates the loss itself"):
        make([a], optax.chain(optax.clip(1.0), optax.lbfgs()))
    exchanged = make([a])
    exchanged.param_groups[0]["params"][0] = torch.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match="`param_groups` holds another tensor"):
        exchanged.step()
    a.grad = torch.ones(2).to_sparse()
    with pytest.raises(TypeError, match=r"a gradient has layout torch.sparse_coo"):
        make([a]).step()
