"""A compiled step does what the plain loop of torch does."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from torch import nn

from evtorch import bridge
from evtorch import torch_api as snn

from ..._thorough import usual
from ._loops import assert_same, batches, network, plain_step

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "Adam": lambda p: torch.optim.Adam(p, 0.01),
    "Adam with all": lambda p: torch.optim.Adam(
        p, 0.01, (0.8, 0.95), 1e-5, 0.1, amsgrad=True, maximize=True
    ),
    "AdamW": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.2),
    "SGD": lambda p: torch.optim.SGD(p, 0.1),
    "SGD with all": lambda p: torch.optim.SGD(p, 0.1, 0.9, 0.3, 0.01, maximize=True),
    "Nesterov": lambda p: torch.optim.SGD(p, 0.1, 0.9, nesterov=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_torchs_optimisers_step_as_in_a_plain_loop(name: str) -> None:
    plain, compiled = network(), network()
    one, other = OPTIMIZERS[name](plain.parameters()), OPTIMIZERS[name](compiled.parameters())
    step = bridge.compile_step(compiled, nn.CrossEntropyLoss(), other)
    for i, data in enumerate(batches(6)):
        if i == 3:  # Either loop goes on where the other stopped.
            found = plain_step(compiled, nn.CrossEntropyLoss(), other, [data])
        else:
            found = step(*data)
        expected = plain_step(plain, nn.CrossEntropyLoss(), one, [data])
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    assert_same(plain, compiled)
    states = zip(one.state.values(), other.state.values(), strict=True)
    for state, found in states:
        assert state.keys() == found.keys()
        for key, value in state.items():
            torch.testing.assert_close(found[key], value, rtol=1e-12, atol=1e-14)


def test_groups_schedulers_clipping_and_accumulation_are_torchs() -> None:
    def made(model: nn.Sequential) -> tuple[torch.optim.Optimizer, Any]:
        groups = [
            {"params": model[2].parameters(), "lr": 0.05, "weight_decay": 0.1},
            {"params": [model[0].weight]},
        ]
        optimizer = torch.optim.Adam(groups, 0.01)
        return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)

    plain, compiled = network(), network()
    one, schedule = made(plain)
    other, other_schedule = made(compiled)
    step = bridge.compile_step(
        compiled, nn.functional.cross_entropy, other, max_norm=0.1, accumulate=3
    )
    data = batches(9)
    for i in range(0, 9, 3):
        before = compiled[0].weight.clone()
        step(*data[i])
        step(*data[i + 1])
        assert torch.equal(before, compiled[0].weight)
        step(*data[i + 2])
        other_schedule.step()
        loss = nn.functional.cross_entropy
        plain_step(plain, loss, one, data[i : i + 3], max_norm=0.1)
        # torch clips what the optimiser does not hold, too: here the first layer's bias.
        schedule.step()
        plain[0].bias.grad = None
    assert other.param_groups[0]["lr"] == 0.05 / 8
    torch.testing.assert_close(compiled[0].bias, network()[0].bias)


@pytest.mark.parametrize("bounds", [{"max_norm": 0.01}, {"max_norm": 0.01, "max_value": 0.003}])
def test_gradients_are_clipped_as_torch_does(bounds: dict[str, float]) -> None:
    plain, compiled = network(), network()
    one = torch.optim.SGD(plain.parameters(), 1.0)
    step = bridge.compile_step(
        compiled,
        nn.functional.cross_entropy,
        torch.optim.SGD(compiled.parameters(), 1.0),
        **bounds,
    )
    for data in batches(3):
        step(*data)
        plain_step(plain, nn.functional.cross_entropy, one, [data], **bounds)
    assert_same(plain, compiled)


@pytest.mark.parametrize("wrapped", [False, True])
def test_optax_steps_as_by_hand(wrapped: bool) -> None:
    rule = optax.chain(optax.clip_by_global_norm(0.1), optax.adamw(0.01))
    compiled = network()
    optimizer = bridge.OptaxOptimizer(compiled.parameters(), rule) if wrapped else rule
    step = bridge.compile_step(compiled, nn.CrossEntropyLoss(), optimizer)
    with jax.enable_x64(True):
        fn, params = bridge.as_jax_function(network())
        state = rule.init(params)
        for x, y in batches(4):
            x, y = jnp.asarray(x.numpy()), jnp.asarray(y.numpy())

            def loss(params: Any, x: Any = x, y: Any = y) -> Any:
                logits = fn(params, x)
                return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

            gradients = jax.grad(loss)(params)
            updates, state = rule.update(gradients, state, params)
            params: Any = optax.apply_updates(params, updates)
    for data in batches(4):
        step(*data)
    for name, parameter in compiled.named_parameters():
        np.testing.assert_allclose(parameter.detach().numpy(), params[name], rtol=0, atol=1e-13)


def test_a_loss_of_jax_and_what_it_returns_beside() -> None:
    def loss(output: Any, target: Any) -> Any:
        error = output - jax.nn.one_hot(target, 3, dtype=output.dtype)
        return jnp.mean(error**2), {"worst": jnp.max(jnp.abs(error)), "output": output}

    def in_torch(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return ((output - nn.functional.one_hot(target, 3)) ** 2).mean()

    plain, compiled = network(), network()
    one = torch.optim.SGD(plain.parameters(), 0.1)
    step = bridge.compile_step(compiled, loss, torch.optim.SGD(compiled.parameters(), 0.1))
    for x, y in batches(3):
        output = plain(x)
        value, others = step(x, y)
        torch.testing.assert_close(others["output"], output.detach())
        torch.testing.assert_close(value, plain_step(plain, in_torch, one, [(x, y)]))
        assert others["worst"].shape == ()
    assert_same(plain, compiled)


def test_batch_norm_tied_weights_frozen_and_unused_parameters() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.first, self.norm = nn.Linear(5, 5, bias=False), nn.BatchNorm1d(5)
            self.again = nn.Linear(5, 5)
            self.again.weight = self.first.weight
            self.last, self.unused = nn.Linear(5, 3), nn.Linear(2, 2)
            self.last.bias.requires_grad_(False)

        def forward(self, x: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
            x = self.again(torch.tanh(self.norm(self.first(x))))
            return self.last(x * scale) + self.unused.bias.detach().sum()

    plain, compiled = Odd(), Odd()
    one = torch.optim.AdamW(plain.parameters(), 0.01, weight_decay=0.3)
    other = torch.optim.AdamW(compiled.parameters(), 0.01, weight_decay=0.3)
    step = bridge.compile_step(compiled, nn.CrossEntropyLoss(), other)
    for x, y in batches(4):
        step(x, y, scale=2.0)
        plain_step(lambda x: plain(x, scale=2.0), nn.CrossEntropyLoss(), one, [(x, y)])
    assert_same(plain, compiled)
    assert plain.norm.num_batches_tracked == 4
    assert len(one.state) == len(other.state)


def test_dropout_draws_from_torchs_generator() -> None:
    def run() -> list[float]:
        model = nn.Sequential(nn.Linear(5, 40), nn.Dropout(0.5), nn.Linear(40, 3))
        step = bridge.compile_step(model, nn.CrossEntropyLoss(), optax.sgd(0.0))
        torch.manual_seed(5)
        return [step(*batches(1)[0]).item() for _ in range(4)]

    torch.manual_seed(1)
    first = run()
    torch.manual_seed(1)
    assert first == run()
    # `batches` seeds the generator, so that only steps after the first seed are alike.
    model = nn.Sequential(nn.Linear(5, 40), nn.Dropout(0.5), nn.Linear(40, 3))
    step = bridge.compile_step(model, nn.CrossEntropyLoss(), optax.sgd(0.0))
    data = batches(1)[0]
    assert len({step(*data).item() for _ in range(4)}) == 4
    model.eval()
    assert len({step(*data).item() for _ in range(4)}) == 1


@pytest.mark.parametrize("rule", ["torch", "optax"])
def test_training_goes_on_bit_by_bit(rule: str) -> None:
    def made(model: nn.Module) -> bridge.CompiledStep:
        optimizer = (
            torch.optim.Adam(model.parameters(), 0.01) if rule == "torch" else optax.adam(0.01)
        )
        return bridge.compile_step(model, nn.CrossEntropyLoss(), optimizer, accumulate=2)

    data = batches(8)
    whole, part = network(), network()
    step = made(whole)
    for each in data:
        step(*each)
    step = made(part)
    for each in data[:5]:
        step(*each)
    saved = part.state_dict(), step.state_dict()
    fresh = network()
    fresh.load_state_dict(saved[0])
    step = made(fresh)
    step.load_state_dict(saved[1])
    for each in data[5:]:
        step(*each)
    assert_same(whole, fresh, 0)


@pytest.mark.parametrize("recurrent", usual({True}, [False, True]))
def test_spiking_layers_step_as_in_a_plain_loop(recurrent: bool) -> None:
    def made() -> nn.Sequential:
        torch.manual_seed(3)
        hidden: Any = snn.RecurrentLIF if recurrent else snn.LIF
        return nn.Sequential(hidden(5, 6, max_spikes=16, t_max=0.03), snn.LI(6, 3))

    plain, compiled = made(), made()
    one, other = (torch.optim.Adam(m.parameters(), 1e-3) for m in (plain, compiled))
    step = bridge.compile_step(compiled, nn.CrossEntropyLoss(), other)
    spikes, target = torch.rand(4, 5, 2).sort(-1).values * 0.02, torch.tensor([0, 1, 2, 0])
    # Long enough for what is not rounding to show, and too short for rounding to grow to 1e-10, as
    # it does in training of spiking layers sooner or later (benchmarks/parting.py).
    for _ in range(50):
        expected = plain_step(plain, nn.CrossEntropyLoss(), one, [(spikes, target)])
        torch.testing.assert_close(step(spikes, target), expected, rtol=1e-10, atol=0)
    assert_same(plain, compiled, 1e-10)
    assert len(step._programs) == 1


def test_narrow_parameters_step_in_single_precision() -> None:
    plain, compiled = network().bfloat16(), network().bfloat16()
    one = torch.optim.AdamW(plain.parameters(), 0.01)
    other = torch.optim.AdamW(compiled.parameters(), 0.01)
    step = bridge.compile_step(compiled, nn.CrossEntropyLoss(), other)
    for i, (x, y) in enumerate(batches(30)):
        data = [(x.bfloat16() * (3 if i < 5 else 0.01), y)]
        plain_step(plain, nn.CrossEntropyLoss(), one, data)
        step(*data[0])
    for state, found in zip(one.state.values(), other.state.values(), strict=True):
        assert found["exp_avg_sq"].dtype is torch.bfloat16
        torch.testing.assert_close(found["exp_avg_sq"], state["exp_avg_sq"], rtol=0.1, atol=1e-5)


def test_a_loss_may_look_at_the_models_parameters() -> None:
    def loss_of(model: Any) -> Callable[..., torch.Tensor]:
        return lambda output, target: (
            nn.functional.cross_entropy(output, target) + 0.1 * model[0].weight.square().sum()
        )

    plain, compiled = network(), network()
    one = torch.optim.SGD(plain.parameters(), 0.1)
    step = bridge.compile_step(
        compiled, loss_of(compiled), torch.optim.SGD(compiled.parameters(), 0.1)
    )
    for data in batches(3):
        torch.testing.assert_close(step(*data), plain_step(plain, loss_of(plain), one, [data]))
    assert_same(plain, compiled)


def test_numpy_inputs_may_be_views() -> None:
    model = network()
    step = bridge.compile_step(model, nn.CrossEntropyLoss(), optax.sgd(0.0))
    x, y = batches(1)[0]
    expected = step(x, y)
    assert step(x.numpy()[::-1], y.numpy()[::-1]) == pytest.approx(expected.item())
    assert step(np.broadcast_to(x.numpy(), x.shape), y.numpy()) == expected
    assert step(x.numpy()[0], np.int64(y[0])).shape == ()
