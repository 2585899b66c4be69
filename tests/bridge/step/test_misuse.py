"""Compiled steps where they cannot work, and what they leave of torch."""

from typing import Any

import numpy as np
import optax
import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode

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
        (
            lambda m: bridge.compile_step(m.to("meta"), nn.CrossEntropyLoss(), optax.sgd(1)),
            ValueError,
            r"`0.weight` of the model is on device 'meta'.*module.to_empty\(device='cpu'\)",
        ),
        (
            lambda m: bridge.compile_step(nn.LazyLinear(3), nn.CrossEntropyLoss(), optax.sgd(1)),
            ValueError,
            "`weight` of the model belongs to a lazy module.*call the module once",
        ),
        (
            lambda m: bridge.compile_step(m, nn.CrossEntropyLoss(), optax.sgd(1))(
                torch.ones(2, 5, dtype=torch.float32), torch.tensor([0, 1])
            ),
            RuntimeError,
            "dtypes torch.float64, torch.float32, torch.float64; convert",
        ),
        (
            lambda m: bridge.compile_step(
                m,
                nn.MSELoss(),
                torch.optim.SGD([nn.Parameter(torch.ones(2, dtype=torch.complex64))], 0.1),
            ),
            TypeError,
            "`optimizer` holds complex parameters",
        ),
    ],
)
def test_bad_input_is_named(build: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        build(network())


def test_what_is_not_of_this_step_is_named() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    step = bridge.compile_step(model, nn.CrossEntropyLoss(), optimizer, accumulate=2)
    with pytest.raises(ValueError, match="`state_dict` does not come from a compiled step"):
        step.load_state_dict({"optimizer": optimizer.state_dict()})
    with pytest.raises(ValueError, match="waits for more gradients than accumulate=2"):
        step.load_state_dict({**step.state_dict(), "taken": 2})
    inputs, target = batches(1)[0]
    with pytest.raises(ValueError, match="is on device 'meta' but the model"):
        step(inputs.to("meta"), target)
    hooked = nn.CrossEntropyLoss()
    hooked.register_full_backward_hook(lambda *_: None)
    with pytest.raises(bridge.BridgeError, match="has a backward hook, which runs in torch"):
        bridge.compile_step(model, hooked, optimizer)(inputs, target)


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


def _frozen_at_first(model: nn.Sequential) -> None:
    model[0].requires_grad_(True)


def _appended(model: nn.Sequential) -> None:
    model.append(nn.Linear(3, 3))


def _hooked(model: nn.Sequential) -> None:
    weight: Any = model[2].weight
    weight.register_hook(torch.zeros_like)


def _hooked_after(model: nn.Sequential) -> None:
    weight: Any = model[2].weight
    weight.register_post_accumulate_grad_hook(lambda _: None)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            _frozen_at_first,
            ValueError,
            r"`model.0.\w+` was added or unfrozen.*call compile_step anew",
        ),
        (_appended, ValueError, r"`model.3.\w+` was added or unfrozen"),
        (_hooked, bridge.BridgeError, "`model.2.weight` has a hook for its gradient"),
        (_hooked_after, bridge.BridgeError, "`model.2.weight` has a hook for its gradient"),
        (lambda m: m.to("meta"), ValueError, "`0.weight` of the model is on device 'meta'"),
    ],
)
def test_changes_that_a_step_cannot_follow_are_named(change: Any, error: Any, message: str) -> None:
    model = network()
    model[0].requires_grad_(False)
    step = bridge.compile_step(model, nn.CrossEntropyLoss(), optax.sgd(0.1))
    change(model)
    with pytest.raises(error, match=message):
        step(*batches(1)[0])


def _on_fakes(step: Any, x: torch.Tensor, y: torch.Tensor) -> None:
    with FakeTensorMode(allow_non_fake_inputs=True):
        step(x, y)


@pytest.mark.parametrize(
    ("call", "where"),
    [
        (lambda step, x, y: torch.func.grad(lambda x: step(x, y))(x), "torch.func"),
        (lambda step, x, y: torch.func.vmap(lambda x: step(x[None], y[:1]))(x), "torch.func"),
        (lambda step, x, y: torch.func.jvp(lambda x: step(x, y), (x,), (x,)), "torch.func"),
        (lambda step, x, y: torch.jit.trace(lambda x: step(x, y), x), "torch.jit.trace"),
        (_on_fakes, "FakeTensorMode"),
    ],
)
@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_step_where_tensors_have_no_values_says_so(call: Any, where: str) -> None:
    model = network()
    before = [p.clone() for p in model.parameters()]
    step = bridge.compile_step(model, nn.CrossEntropyLoss(), optax.sgd(0.1))
    with pytest.raises(bridge.BridgeError, match=f"called inside {where}.*Call it outside"):
        call(step, *batches(1)[0])
    assert all(map(torch.equal, before, model.parameters()))


def test_a_wrong_shape_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    step = bridge.compile_step(network(), nn.CrossEntropyLoss(), optax.sgd(0.1))
    with pytest.raises(RuntimeError, match=r"\[2, 6\] X \[5, 7\]") as caught:
        step(torch.ones(2, 6), torch.tensor([0, 1]))
    assert not hasattr(caught.value, "__notes__")
    fn, params = bridge.as_jax_function(network().float())
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        fn(params, np.ones((2, 6), np.float32))
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_operators_that_are_not_known_are_named_with_module_and_line() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 2), nn.FractionalMaxPool2d(2, output_size=2))
    step = bridge.compile_step(model, lambda o, y: o.sum(), optax.sgd(0.1))
    reason = (
        r"operator aten.fractional_max_pool2d.default is not known \(FractionalMaxPool2d, from "
        r".*test_misuse.py, line \d+, in test_operators.*: step\("
    )
    with pytest.raises(bridge.BridgeError, match=reason):
        step(torch.ones(1, 1, 6, 6), torch.ones(()))
