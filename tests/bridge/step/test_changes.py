"""What changes between compiled steps is looked at again, and compiles no more than it must."""

from collections.abc import Callable
from typing import Any

import jax
import optax
import pytest
import torch
from torch import nn

from evtorch import bridge
from evtorch import torch_api as snn

from ._loops import assert_same, batches, network, plain_step


def test_a_model_that_changes_is_looked_at_again() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.scale = network(), 1.0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.scale * self.inner(x)

    plain, compiled = Scaled(), Scaled()
    one = torch.optim.SGD(plain.parameters(), 0.1)
    step = bridge.compile_step(
        compiled, nn.CrossEntropyLoss(), torch.optim.SGD(compiled.parameters(), 0.1)
    )

    def both() -> None:
        data = batches(1)[0]
        expected = plain_step(plain, nn.CrossEntropyLoss(), one, [data])
        torch.testing.assert_close(step(*data), expected)
        assert_same(plain, compiled)

    both()
    plain.scale = compiled.scale = 3.0
    both()
    for model in (plain, compiled):
        model.inner[0].requires_grad_(False)
    both()
    for model in (plain, compiled):
        model.inner[1] = nn.ReLU()
    both()
    saved = {name: 0.9 * t for name, t in plain.state_dict().items()}
    for model in (plain, compiled):
        model.load_state_dict(saved)
        with torch.no_grad():
            model.inner[2].weight.mul_(0.5)
    both()
    compiled.inner[2] = nn.Linear(7, 3)
    for _ in range(2):
        with pytest.raises(ValueError, match="holds 2 parameters that are none of the model's"):
            step(*batches(1)[0])


def test_functions_hooks_and_constants_that_change_are_looked_at_again() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.act, self.powers = network(), torch.tanh, [1]
            self.shift = torch.ones(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = self.act(self.inner(x) + self.shift)
            return torch.stack([out**power for power in self.powers]).sum(0)

    plain, compiled, weight = Model(), Model(), torch.ones(3)

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(output, target, weight)

    one = torch.optim.SGD(plain.parameters(), 0.1)
    step = bridge.compile_step(compiled, loss, torch.optim.SGD(compiled.parameters(), 0.1))
    hooks: list[Any] = []
    changes: list[Callable[[Model], Any]] = [
        lambda m: None,
        lambda m: setattr(m, "act", torch.sin),
        lambda m: m.powers.append(2),
        lambda m: hooks.append(m.inner.register_forward_hook(lambda *args: 2 * args[2])),
        lambda m: hooks.pop().remove(),
        lambda m: m.shift.mul_(2),
        lambda m: setattr(m, "shift", torch.zeros(3)),
        lambda m: weight[0].add_(0.5),
        lambda m: None,
    ]
    for change in changes:
        change(plain)
        change(compiled)
        data = batches(1)[0]
        expected = plain_step(plain, loss, one, [data])
        torch.testing.assert_close(step(*data), expected)
    assert_same(plain, compiled)
    step(*batches(1)[0])
    assert len(step._losses) == 1  # Since the hooks; a constant takes the place of the one before.


def test_a_constant_that_changes_in_each_step_is_warned_of() -> None:
    weight = torch.ones(3)
    step = bridge.compile_step(
        nn.Linear(5, 3),
        lambda o, y: nn.functional.cross_entropy(o, y, weight),
        optax.sgd(0.1),
    )
    for data in batches(8):
        step(*data)
        weight.mul_(0.9)
    with pytest.warns(UserWarning, match="neither a parameter nor a buffer"):
        step(*batches(1)[0])


def test_memory_that_is_laid_out_anew_is_looked_at_again() -> None:
    def made() -> nn.Sequential:
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 3))

    plain, compiled = made(), made()
    one = torch.optim.SGD(plain.parameters(), 0.1)
    step = bridge.compile_step(
        compiled, nn.CrossEntropyLoss(), torch.optim.SGD(compiled.parameters(), 0.1)
    )
    for i, data in enumerate(batches(4)):
        for model in (plain, compiled):
            weight: Any = model[0].weight
            if i == 1:
                weight.data = weight.data.t()
            if i == 2:
                weight.data, model[0].bias.data = torch.ones(7, 5), torch.zeros(7)
                model[2].weight.data = torch.full((3, 7), 0.1)
        plain_step(plain, nn.CrossEntropyLoss(), one, [data])
        step(*data)
    assert_same(plain, compiled)


def _more_parameters(model: Any, optimizer: torch.optim.Optimizer) -> None:
    optimizer.add_param_group({"params": list(model[2].parameters()), "lr": 0.2})


def _another_count(model: Any, optimizer: torch.optim.Optimizer) -> None:
    for state in optimizer.state.values():
        state["step"] = torch.tensor(100.0)


def _another_rate(model: Any, optimizer: torch.optim.Optimizer) -> None:
    saved = optimizer.state_dict()
    saved["param_groups"][0]["lr"] = 0.3
    optimizer.load_state_dict(saved)


@pytest.mark.parametrize("change", [_more_parameters, _another_count, _another_rate])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_an_optimiser_that_changes_is_looked_at_again(kind: Any, change: Any) -> None:
    plain, compiled = network(), network()
    held: Any = (
        (lambda m: m[0].parameters()) if change is _more_parameters else nn.Module.parameters
    )
    one, other = kind(held(plain), 0.1), kind(held(compiled), 0.1)
    step = bridge.compile_step(compiled, nn.CrossEntropyLoss(), other)
    for i, data in enumerate(batches(4)):
        if i == 2:
            change(plain, one)
            change(compiled, other)
        plain_step(plain, nn.CrossEntropyLoss(), one, [data])
        step(*data)
    assert_same(plain, compiled)


def test_moments_outlive_amsgrad_that_is_switched_on() -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 0.1, fused=True)
    step = bridge.compile_step(model, nn.CrossEntropyLoss(), optimizer)
    first, second = batches(2)
    step(*first)
    optimizer.param_groups[0]["amsgrad"] = True
    step(*second)
    for state in optimizer.state.values():
        assert state["step"] == 2
        assert state["step"].dtype is torch.float32  # as torch's fused one has it
        torch.testing.assert_close(state["max_exp_avg_sq"], state["exp_avg_sq"])


def test_a_loss_that_changes_is_looked_at_again() -> None:
    plain, compiled = network(), network()
    loss = nn.CrossEntropyLoss(weight=torch.ones(3))
    one = torch.optim.SGD(plain.parameters(), 0.1)
    step = bridge.compile_step(compiled, loss, torch.optim.SGD(compiled.parameters(), 0.1))
    for i, data in enumerate(batches(3)):
        loss.label_smoothing = 0.1 * i
        loss.weight.copy_(torch.tensor([1.0, 2.0, 3.0 + i]))
        plain_step(plain, loss, one, [data])
        step(*data)
    assert_same(plain, compiled)


def test_autocast_compiles_another_program() -> None:
    model = network().float()
    step = bridge.compile_step(model, lambda o, y: (o.float().mean() * y, o), optax.sgd(0.0))
    x, y = torch.ones(2, 5, dtype=torch.float32), torch.tensor(1.0, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert step(x, y)[1].dtype is torch.bfloat16
    assert step(x, y)[1].dtype is torch.float32


def test_the_x64_mode_may_alternate() -> None:
    plain, compiled = (nn.Sequential(network(), nn.BatchNorm1d(3)).float() for _ in range(2))
    one = torch.optim.SGD(plain.parameters(), 0.1)
    optimizer = torch.optim.SGD(compiled.parameters(), 0.1)
    step = bridge.compile_step(compiled, nn.CrossEntropyLoss(), optimizer)
    for i, (x, y) in enumerate(batches(4)):
        expected = plain_step(plain, nn.CrossEntropyLoss(), one, [(x.float(), y)])
        with jax.enable_x64(i % 2 == 0):
            torch.testing.assert_close(step(x.float(), y), expected)
    assert_same(plain, compiled, 1e-5)


class _Initialised(nn.Module):
    """Sets its scale from the first batch."""

    scale: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.initialised = network(), False
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.initialised:
            self.scale.copy_(1 / x.std())
            self.initialised = True
        return self.inner(self.scale * x)


def test_what_a_forward_notes_in_attributes_counts_in_the_next_step() -> None:
    plain, compiled = _Initialised(), _Initialised()
    one = torch.optim.SGD(plain.parameters(), 0.1)
    optimizer = torch.optim.SGD(compiled.parameters(), 0.1)
    step = bridge.compile_step(compiled, nn.CrossEntropyLoss(), optimizer)
    for data in batches(3):
        expected = plain_step(plain, nn.CrossEntropyLoss(), one, [data])
        torch.testing.assert_close(step(*data), expected)
    assert len(step._programs) == 2


def test_a_counter_that_compiles_each_step_is_warned_of() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.calls = nn.Linear(5, 3), 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return self.layer(x)

    step = bridge.compile_step(Counting(), nn.CrossEntropyLoss(), optax.sgd(0.1))
    for data in batches(8):
        step(*data)
    with pytest.warns(UserWarning, match="keep counters in buffers"):
        step(*batches(1)[0])


def test_a_look_at_the_model_in_torch_compiles_nothing() -> None:
    model = nn.Sequential(snn.LIF(5, 6, refractory=float("inf"), t_max=0.04), snn.LI(6, 3))
    step = bridge.compile_step(model, nn.CrossEntropyLoss(), optax.sgd(0.0))
    spikes, target = torch.rand(4, 5, 1) * 0.02, torch.tensor([0, 1, 2, 0])
    for _ in range(2):
        value = nn.functional.cross_entropy(model(spikes), target)
        torch.testing.assert_close(step(spikes, target), value.detach())
    assert len(step._programs) == 1


@pytest.mark.parametrize("wrapped", [False, True])
def test_numbers_compile_nothing_and_shapes_compile_once(wrapped: bool) -> None:
    model = network()
    optimizer: Any = torch.optim.Adam(model.parameters(), 0.01)
    if wrapped:
        rule = optax.inject_hyperparams(optax.adam)(learning_rate=0.01)
        optimizer = bridge.OptaxOptimizer(model.parameters(), rule)
    step = bridge.compile_step(model, nn.CrossEntropyLoss(), optimizer, max_norm=1.0)
    for i, data in enumerate([*batches(3), *batches(3, size=4), *batches(3)]):
        optimizer.param_groups[0]["lr"] = 0.1 / (i + 1)
        step.max_norm = 1.0 + i
        step(*data)
    assert len(step._programs) == 2
    compiled: list[Any] = [program.jitted for program in step._programs._found.values()]
    assert all(jitted._cache_size() == 1 for jitted in compiled)


class _Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.trunk, self.first, self.second = nn.Linear(5, 7), nn.Linear(7, 3), nn.Linear(7, 3)

    def forward(self, x: torch.Tensor, *, head: str) -> torch.Tensor:
        return getattr(self, head)(torch.tanh(self.trunk(x)))


def test_accumulated_gradients_are_those_of_their_parameters() -> None:
    plain, compiled = _Heads(), _Heads()
    one = torch.optim.Adam(plain.parameters(), 0.01)
    other = torch.optim.Adam(compiled.parameters(), 0.01)
    step = bridge.compile_step(compiled, nn.CrossEntropyLoss(), other, accumulate=2)
    for i, (x, y) in enumerate(batches(5)):
        heads = ["first", "second"] if i < 4 else ["first", "first"]
        one.zero_grad()
        for head in heads:
            step(x, y, head=head)
            (nn.functional.cross_entropy(plain(x, head=head), y) / 2).backward()
        one.step()
    assert_same(plain, compiled)


def test_accumulated_gradients_outlive_changes_of_the_model() -> None:
    plain, compiled = network(), network()
    one = torch.optim.SGD(plain.parameters(), 0.1)
    step = bridge.compile_step(
        compiled, nn.CrossEntropyLoss(), torch.optim.SGD(compiled.parameters(), 0.1), accumulate=2
    )
    first, second = batches(2)
    (nn.functional.cross_entropy(plain(first[0]), first[1]) / 2).backward()
    step(*first)
    for model in (plain, compiled):
        model[1] = nn.ReLU()
    (nn.functional.cross_entropy(plain(second[0]), second[1]) / 2).backward()
    step(*second)
    one.step()
    assert_same(plain, compiled)
