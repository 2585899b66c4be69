"""Compiled steps where they cannot work, and what they leave of torch."""

from typing import Any

import optax
import pytest
import torch
from torch import nn

from evtorch import bridge
from evtorch import torch_api as snn

from ._loops import batches, network


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


def test_torchs_compiler_leaves_a_step_as_it_is() -> None:
    model = network()
    step = bridge.compile_step(model, nn.CrossEntropyLoss(), optax.sgd(0.1))
    data = batches(1)[0]
    first = step(*data)
    compiled = torch.compile(lambda x, y: 2 * step(x, y), backend="eager")
    assert compiled(*data) < 2 * first


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
