"""Where `OptaxOptimizer` follows torch's optimisers, and where it must refuse to."""

import copy

import jax
import optax
import pytest
import torch

from evtorch import bridge


@pytest.fixture(autouse=True)
def _standard_promotion():
    """optax itself mixes integers and floats."""
    with jax.numpy_dtype_promotion("standard"):
        yield


SHAPES = [(3, 2), (4,), ()]
# Which of the three parameters have a gradient, step by step.
PATTERNS = {
    "every second": [(1, 1, 1), (1, 0, 1)] * 5,
    "from some step on": [(1, 0, 0)] * 4 + [(1, 1, 0)] * 3 + [(1, 1, 1)] * 4,
    "in turns": [(1, 0, 0), (0, 1, 0), (0, 0, 1)] * 3 + [(1, 1, 1)],
    "none at all": [(1, 1, 1)] + [(0, 0, 0)] * 3 + [(1, 1, 1)] * 3,
}
RULES = {
    "adam": (lambda p: torch.optim.Adam(p, lr=1e-2), lambda: optax.adam(1e-2)),
    "adamw": (
        lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.3),
        lambda: optax.adamw(1e-2, weight_decay=0.3),
    ),
    "momentum": (
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        lambda: optax.sgd(0.1, momentum=0.9),
    ),
}


def tensors(seed=5):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(s, generator=generator, dtype=torch.float64) for s in SHAPES]


def run(pattern, params, optimizer, first=0):
    for step, present in enumerate(pattern, first):
        for p, g, there in zip(params, tensors(100 + step), present, strict=True):
            p.grad = g if there else None
        optimizer.step()


def parameters():
    return [t.requires_grad_() for t in tensors()]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("rule", RULES)
def test_missing_gradients_are_those_of_torchs_optimizers(rule, pattern):
    ours, theirs = parameters(), parameters()
    of_torch, of_optax = RULES[rule]
    run(PATTERNS[pattern], theirs, of_torch(theirs))
    run(PATTERNS[pattern], ours, bridge.OptaxOptimizer(ours, of_optax()))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_a_rule_about_which_optax_does_not_tell_steps_its_parameters_apart_too():
    ours, theirs = parameters(), parameters()
    labels = ["a", "b", "a"]
    split = optax.multi_transform({"a": optax.adam(1e-2), "b": optax.adam(1e-2)}, labels)
    run(PATTERNS["every second"], theirs, torch.optim.Adam(theirs, lr=1e-2))
    run(PATTERNS["every second"], ours, bridge.OptaxOptimizer(ours, split))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_clipping_takes_the_norm_of_the_gradients_that_are_there():
    ours, theirs = parameters(), parameters()
    clipped = optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(1.0))
    run([(1, 0, 1)], ours, bridge.OptaxOptimizer(ours, clipped))
    for p, g, there in zip(theirs, tensors(100), (1, 0, 1), strict=True):
        p.grad = g if there else None
    torch.nn.utils.clip_grad_norm_(theirs, 0.5)
    torch.optim.SGD(theirs, lr=1.0).step()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("way", ["state dict", "deepcopy"])
def test_the_past_of_each_parameter_is_saved(way):
    pattern = PATTERNS["every second"]
    whole, part = parameters(), parameters()
    run(pattern, whole, bridge.OptaxOptimizer(whole, optax.adam(1e-2)))
    optimizer = bridge.OptaxOptimizer(part, optax.adam(1e-2))
    run(pattern[:6], part, optimizer)
    if way == "deepcopy":
        part, optimizer = copy.deepcopy((part, optimizer))
    else:
        state = optimizer.state_dict()
        optimizer = bridge.OptaxOptimizer(part, optax.adam(1e-2))
        optimizer.load_state_dict(state)
    run(pattern[6:], part, optimizer, first=6)
    torch.testing.assert_close(part, whole, rtol=0, atol=0)


@pytest.mark.parametrize(
    "rule",
    [
        lambda: optax.MultiSteps(optax.sgd(0.1), 2),
        lambda: optax.chain(
            optax.clip(9.0), optax.MultiSteps(optax.sgd(0.2), 2).gradient_transformation()
        ),
        lambda: optax.chain(optax.apply_every(2), optax.sgd(0.1)),
    ],
    ids=["MultiSteps", "in a chain", "apply_every"],
)
@pytest.mark.parametrize("missing", [0, 1])
def test_accumulated_gradients_are_applied_whoever_is_missing(rule, missing):
    a, b = (torch.zeros(2, requires_grad=True) for _ in range(2))
    optimizer = bridge.OptaxOptimizer([a, b], rule())
    for step in range(2):
        a.grad = torch.full((2,), 3.0)
        b.grad = None if step == missing else torch.full((2,), 4.0)
        optimizer.step()
    # MultiSteps takes the mean, which the factor 2 in the chain undoes; apply_every the sum.
    torch.testing.assert_close(b.detach() / a.detach(), torch.full((2,), 4.0 / 6.0))
    assert (a < 0).all()


def test_keys_without_effect_are_refused():
    a = torch.ones(2, requires_grad=True)
    for key, remedy in (
        ("weight_decay", r"optax.adamw\(1e-3, weight_decay="),
        ("betas", "b1=..., b2="),
        ("maximize", r"optax.scale\(-1\)"),
        ("anything", "transformation"),
    ):
        with pytest.raises(ValueError, match=rf"`{key}` in a param group has no effect.*{remedy}"):
            bridge.OptaxOptimizer([{"params": [a], key: 0.1}], optax.sgd(0.1))
    optimizer = bridge.OptaxOptimizer([{"params": [a], "name": "weights"}], optax.sgd(0.1))
    torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=9, cycle_momentum=False)
    a.grad = torch.ones(2)
    optimizer.step()
    optimizer.param_groups[0]["momentum"] = 0.9
    with pytest.raises(ValueError, match="`momentum` in a param group"):
        optimizer.step()


def nonnegative(rate):
    return optax.chain(optax.sgd(rate), optax.keep_params_nonnegative())


LEAD_TO_A_PLACE = {
    "chain": (nonnegative(1.0), "keep_params_nonnegative"),
    "by label": (
        optax.multi_transform({"a": optax.sgd(1.0), "b": nonnegative(1.0)}, ["b"]),
        "keep_params_nonnegative",
    ),
    "accumulated": (optax.MultiSteps(nonnegative(1.0), 2), "keep_params_nonnegative"),
    "schedule-free": (optax.contrib.schedule_free_sgd(0.1), "schedule_free"),
}
if hasattr(optax.contrib, "madgrad"):  # Not in optax 0.2.4.
    LEAD_TO_A_PLACE["madgrad"] = optax.contrib.madgrad(0.1), "madgrad"


@pytest.mark.parametrize(("rule", "name"), LEAD_TO_A_PLACE.values(), ids=LEAD_TO_A_PLACE.keys())
def test_updates_that_lead_to_a_place_are_not_scaled(rule, name):
    a = torch.full((), 0.1, requires_grad=True)
    optimizer = bridge.OptaxOptimizer([a], rule, lr=2.0)
    a.grad = torch.ones(())
    with pytest.raises(ValueError, match=f"{name} must not be scaled.*inject_hyperparams"):
        optimizer.step()
    assert a.item() == pytest.approx(0.1)
    optimizer.param_groups[0]["lr"] = 1.0
    optimizer.step()


def test_an_injected_rate_takes_their_place():
    a = torch.full((), 0.1, requires_grad=True)
    rule = optax.inject_hyperparams(lambda learning_rate: nonnegative(learning_rate))
    optimizer = bridge.OptaxOptimizer([a], rule(learning_rate=0.01), lr=2.0)
    a.grad = torch.ones(())
    optimizer.step()
    assert a.item() == 0


@pytest.mark.parametrize("rate", [0.1, 1e-3, 3e-4, 0.7])
def test_the_learning_rate_reads_back_as_written(rate):
    a = torch.ones(2, requires_grad=True)
    optimizer = bridge.OptaxOptimizer([a], optax.inject_hyperparams(optax.adam)(learning_rate=rate))
    assert optimizer.param_groups[0]["lr"] == rate
    optimizer.param_groups[0]["lr"] = 5.0
    optimizer.load_optax_state(optimizer.optax_state())
    assert optimizer.param_groups[0]["lr"] == 5


# Of the compiler itself, which looks at `loss.grad`.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_a_compiled_training_step_leaves_the_optimizer_outside():
    def train(compiled):
        torch.manual_seed(3)
        module = torch.nn.Linear(3, 2)
        optimizer = bridge.OptaxOptimizer(module.parameters(), optax.adam(1e-2))

        def step(x):
            optimizer.zero_grad()
            loss = module(x).square().sum()
            loss.backward()
            optimizer.step()
            return loss.detach()

        run = torch.compile(step, backend="eager") if compiled else step
        return torch.stack([run(torch.ones(4, 3)) for _ in range(4)])

    torch.testing.assert_close(train(True), train(False))
