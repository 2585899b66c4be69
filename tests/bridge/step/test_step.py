"""A compiled step does what the plain loop of torch does."""

from collections.abc import Callable, Iterator
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

pytestmark = pytest.mark.usefixtures("_double")


@pytest.fixture
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    with jax.numpy_dtype_promotion("standard"):  # optax relies on it
        yield
    torch.set_default_dtype(torch.float32)


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))


def batches(count: int, size: int = 6) -> list[tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(2)
    return [(torch.randn(size, 5), torch.randint(0, 3, (size,))) for _ in range(count)]


def plain_step(
    model: nn.Module,
    loss: Callable[..., torch.Tensor],
    optimizer: torch.optim.Optimizer,
    data: list[tuple[torch.Tensor, torch.Tensor]],
    max_norm: float | None = None,
    max_value: float | None = None,
) -> torch.Tensor:
    """The mean loss over ``data``, whose gradients are averaged."""
    optimizer.zero_grad()
    losses = [loss(model(x), y) for x, y in data]
    total = torch.stack(losses).mean()
    total.backward()
    if max_value is not None:
        nn.utils.clip_grad_value_(model.parameters(), max_value)
    if max_norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    return losses[-1].detach()


def assert_same(one: nn.Module, other: nn.Module, tolerance: float = 1e-12) -> None:
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance, msg=name)


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


@pytest.mark.parametrize("recurrent", [False, True])
def test_spiking_layers_step_as_in_a_plain_loop(recurrent: bool) -> None:
    def made() -> nn.Sequential:
        torch.manual_seed(3)
        hidden: Any = snn.RecurrentLIF if recurrent else snn.LIF
        return nn.Sequential(hidden(5, 6, max_spikes=16, t_max=0.03), snn.LI(6, 3))

    plain, compiled = made(), made()
    one = torch.optim.Adam(plain.parameters(), 0.01)
    step = bridge.compile_step(
        compiled, nn.CrossEntropyLoss(), torch.optim.Adam(compiled.parameters(), 0.01)
    )
    spikes, target = torch.rand(4, 5, 2).sort(-1).values * 0.02, torch.tensor([0, 1, 2, 0])
    for _ in range(3):
        expected = plain_step(plain, nn.CrossEntropyLoss(), one, [(spikes, target)])
        torch.testing.assert_close(step(spikes, target), expected, rtol=1e-10, atol=0)
    assert_same(plain, compiled, 1e-10)
    assert len(step._programs) == 1


def test_a_step_that_fails_changes_nothing() -> None:
    torch.manual_seed(3)
    model = snn.LIF(5, 6, max_spikes=1, t_max=0.04)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)

    def loss(out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return torch.where(out.isfinite(), out, 0).sum() * target

    step = bridge.compile_step(model, loss, optimizer)
    before = model.weight.clone()
    with pytest.raises(snn.SpikeOverflowError, match="max_spikes"):
        step(torch.rand(4, 5, 8).sort(-1).values * 0.02, torch.tensor(1.0))
    assert torch.equal(model.weight, before)
    assert not optimizer.state


def test_parameters_keep_their_memory_and_saved_graphs_notice() -> None:
    model = network()
    weight: Any = model[0].weight
    place, alias = weight.data_ptr(), weight.detach()
    out = weight.square().sum()
    step = bridge.compile_step(model, nn.CrossEntropyLoss(), optax.sgd(0.1))
    step(*batches(1)[0])
    assert weight.data_ptr() == place
    assert torch.equal(alias, weight)
    assert weight.grad is None
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward()


class _Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) if x.sum() > 0 else -self.layer(x)


class _Clamped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            self.layer.weight.clamp_(-0.1, 0.1)
        return self.layer(x)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda m: bridge.compile_step(len, nn.MSELoss(), optax.sgd(1)), TypeError, "nn.Module"),
        (lambda m: bridge.compile_step(m, 3, optax.sgd(1)), TypeError, "`loss` must be a function"),
        (lambda m: bridge.compile_step(m, nn.MSELoss(), 3), TypeError, "AdamW or SGD"),
        (
            lambda m: bridge.compile_step(
                m, nn.MSELoss(), torch.optim.RMSprop(m.parameters(), 0.1)
            ),
            TypeError,
            "RMSprop, whose rule is not known",
        ),
        (
            lambda m: bridge.compile_step(
                m, nn.MSELoss(), torch.optim.SGD(network().parameters(), 0.1)
            ),
            ValueError,
            "4 parameters that are none of the model's",
        ),
        (
            lambda m: bridge.compile_step(m, nn.MSELoss(), optax.sgd(1), max_norm=0),
            ValueError,
            "`max_norm` must be positive",
        ),
        (
            lambda m: bridge.compile_step(m, nn.MSELoss(), optax.sgd(1), accumulate=0),
            ValueError,
            "`accumulate` must be a positive integer",
        ),
        (
            lambda m: bridge.compile_step(m, nn.Linear(3, 1), optax.sgd(1)),
            ValueError,
            "parameters of its own",
        ),
        (
            lambda m: bridge.compile_step(m, lambda o, y: o, optax.sgd(1))(*batches(1)[0]),
            ValueError,
            r"must return a floating-point scalar.*\[6, 3\]",
        ),
        (
            lambda m: bridge.compile_step(_Branch(), nn.CrossEntropyLoss(), optax.sgd(1))(
                *batches(1)[0]
            ),
            bridge.BridgeError,
            "control flow on a tensor",
        ),
        (
            lambda m: bridge.compile_step(_Clamped(), nn.CrossEntropyLoss(), optax.sgd(1))(
                *batches(1)[0]
            ),
            bridge.BridgeError,
            "`model.layer.weight` is a parameter to which the model writes",
        ),
        (
            lambda m: bridge.compile_step(
                m, lambda o, y, w=m[0].weight: o.sum() * w.sum(), optax.sgd(1)
            )(*batches(1)[0]),
            bridge.BridgeError,
            "tensors that require gradients and are neither its parameters",
        ),
        (
            lambda m: bridge.compile_step(m, lambda o, y: (o.detach() - y).sum(), optax.sgd(1))(
                torch.ones(2, 5), torch.ones(2, 3)
            ),
            ValueError,
            "no parameter of the optimizer has an effect",
        ),
        (
            lambda m: bridge.compile_step(m, nn.CrossEntropyLoss(), optax.sgd(1))(
                object(), torch.ones(2)
            ),
            TypeError,
            r"`args\[0\]` is a object",
        ),
        (lambda m: bridge.compile_step(m, len, optax.sgd(1))(), TypeError, "as last, the target"),
    ],
)
def test_bad_input_is_named(build: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        build(network())


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


def test_numpy_inputs_may_be_views() -> None:
    model = network()
    step = bridge.compile_step(model, nn.CrossEntropyLoss(), optax.sgd(0.0))
    x, y = batches(1)[0]
    expected = step(x, y)
    assert step(x.numpy()[::-1], y.numpy()[::-1]) == pytest.approx(expected.item())
    assert step(np.broadcast_to(x.numpy(), x.shape), y.numpy()) == expected
    assert step(x.numpy()[0], np.int64(y[0])).shape == ()


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


def test_torchs_compiler_leaves_a_step_as_it_is() -> None:
    model = network()
    step = bridge.compile_step(model, nn.CrossEntropyLoss(), optax.sgd(0.1))
    data = batches(1)[0]
    first = step(*data)
    compiled = torch.compile(lambda x, y: 2 * step(x, y), backend="eager")
    assert compiled(*data) < 2 * first
