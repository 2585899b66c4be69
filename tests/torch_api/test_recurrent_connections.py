"""Recurrent layers with delays of connections, and masks, as modules."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import nn

from evtorch import jax_core
from evtorch import torch_api as snn

from .._thorough import usual
from ._networks import INF, gradient, spikes
from .test_recurrent_lif import UNIT, finite

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
INPUTS, NEURONS = 3, 3
MASK = torch.tensor([[1, 1, 0], [0, 1, 1], [1, 0, 0]]).bool()
AMONG = torch.tensor([[1, 1, 0], [0, 0, 0], [1, 0, 1]]).bool()
MASKS = {"mask": MASK, "recurrent_mask": AMONG}
KINDS: dict[str, dict[str, Any]] = {
    "within": {"recurrent_delay": "synaptic", "delay": "axonal"},
    "all": {"recurrent_delay": "synaptic", "delay": "synaptic"},
    "masks": {"recurrent_delay": "synaptic", "delay": "synaptic", **MASKS},
}


def make(seed=1, **options):
    """A layer whose neurons spike, and excite and inhibit each other, with drawn delays."""
    layer = snn.RecurrentLIF(INPUTS, NEURONS, **{**UNIT, **options})
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        layer.weight.uniform_(3, 8, generator=generator)
        layer.recurrent_weight.normal_(0, 2, generator=generator)
        for delay in (layer.delay, layer.recurrent_delay):
            if delay is not None:
                delay.uniform_(0.05, 0.5, generator=generator)
    return layer


def inputs(dtype=torch.float64, samples=2):
    return (spikes(samples, INPUTS, 1) * 100).to(dtype)


def dense(layer):
    """The same layer without masks, in which absent connections have weights of 0."""
    kinds = {"delay": layer.delay_type, "recurrent_delay": layer.recurrent_delay_type}
    other = snn.RecurrentLIF(INPUTS, NEURONS, **{**UNIT, **kinds})
    with torch.no_grad():
        other.weight.copy_(layer.dense_weight())
        other.recurrent_weight.copy_(layer.dense_recurrent_weight())
        other.delay.copy_(layer.sparse.dense(layer.delay))
        other.recurrent_delay.copy_(layer.dense_recurrent_delay())
    return other


@pytest.mark.parametrize("kind", usual({"within"}, ["within", "masks"]))
def test_gradcheck_of_input_and_all_parameters(kind):
    layer = make(learn=("tau_mem", "tau_syn", "refractory"), **KINDS[kind])
    names = [name for name, _ in layer.named_parameters()]
    assert names[:4] == ["tau_mem", "tau_syn", "refractory", "weight"]
    assert names[4:] == ["recurrent_weight", "delay", "recurrent_delay"]

    def function(times, *values):
        parameters = dict(zip(names, values, strict=True))
        return finite(torch.func.functional_call(layer, parameters, (times,)))

    values = [p.detach().clone().requires_grad_() for p in layer.parameters()]
    given = inputs().requires_grad_()
    assert (layer(given)[..., 1] < INF).any()
    assert torch.autograd.gradcheck(function, (given, *values), eps=1e-6, atol=1e-6, rtol=1e-5)


def test_masks_leave_the_delays_of_their_connections():
    layer = make(**KINDS["masks"])
    assert layer.delay.shape == layer.weight.shape == (int(MASK.sum()),)
    assert layer.recurrent_delay.shape == layer.recurrent_weight.shape == (int(AMONG.sum()),)
    full, times = dense(layer), inputs()
    outputs = layer(times), full(times)
    torch.testing.assert_close(*outputs, rtol=1e-12, atol=0)
    for out in outputs:
        finite(out).square().sum().backward()
    for name, mask in (("delay", MASK), ("recurrent_delay", AMONG), ("recurrent_weight", AMONG)):
        ours, theirs = (gradient(getattr(each, name)) for each in (layer, full))
        assert ours.abs().max() > 0
        torch.testing.assert_close(ours, theirs[mask], rtol=1e-9, atol=1e-12)
    matrix = torch.rand(NEURONS, NEURONS)
    fixed = snn.RecurrentLIF(3, 3, recurrent_delay=matrix, delay=matrix, **MASKS)
    torch.testing.assert_close(fixed.delay, matrix[MASK], rtol=0, atol=0)
    torch.testing.assert_close(fixed.recurrent_delay, matrix[AMONG], rtol=0, atol=0)
    assert dict(fixed.named_buffers()).keys() >= {"delay", "recurrent_delay"}


@pytest.mark.parametrize("kind", ["within", "masks"])
def test_copies_checkpoints_and_dtypes(kind):
    layer, other, times = make(**KINDS[kind]), make(seed=5, **KINDS[kind]), inputs()
    expected = layer(times)
    assert not torch.equal(other(times), expected)
    other.load_state_dict(layer.state_dict())
    for same in (other, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(same(times), expected)
    single = copy.deepcopy(layer).float()
    torch.testing.assert_close(single(times.float()).double(), expected, rtol=1e-4, atol=0)
    assert torch.equal(single.double()(times).isfinite(), expected.isfinite())
    events = snn.events_from_spike_times(times)
    torch.testing.assert_close(layer(events), expected, rtol=1e-12, atol=0)
    text = repr(layer)
    for name in ("delay", "recurrent_delay"):
        if name in KINDS[kind]:
            assert f"{name}={KINDS[kind][name]!r}" in text


def test_the_trace_is_that_of_neurons_that_hear_at_times_of_their_own():
    layer, times = make(**KINDS["masks"]), inputs()
    looks = torch.linspace(0, 3, 7, dtype=torch.float64)
    own = layer(times)
    delays, within = layer.sparse.dense(layer.delay), layer.dense_recurrent_delay()
    arriving = torch.nn.functional.pad(times, (0, 2), value=INF)
    for quantity in ("voltage", "current"):
        trace = layer.trace(times, looks, output=own, quantity=quantity)
        for n in range(NEURONS):
            heard = [
                snn.functional.delay(arriving, delays[n]),
                snn.functional.delay(own, within[n]),
            ]
            expected = snn.functional.lif_observed_trace(
                torch.cat(heard, dim=-2),
                layer.all_weights()[n : n + 1],
                own[:, n : n + 1],
                looks,
                **layer.constants(),
                quantity=quantity,
            )
            torch.testing.assert_close(trace[:, n : n + 1], expected, rtol=1e-11, atol=1e-12)
    trace = layer.trace(times, looks)
    given = layer.trace(times, looks, output=own)
    torch.testing.assert_close(given, trace, rtol=1e-12, atol=1e-12)
    (found,) = torch.autograd.grad(trace.sum(), layer.recurrent_delay)
    assert found.abs().max() > 0


def test_a_delay_below_zero_is_none_and_may_return():
    layer = make(**KINDS["all"])
    with torch.no_grad():
        layer.recurrent_delay.zero_()
        expected = layer(inputs())
        layer.recurrent_delay.sub_(1.0)
    out = layer(inputs())
    assert torch.equal(out, expected)
    finite(out).sum().backward()
    assert (gradient(layer.recurrent_delay) <= 0).all()


def test_training_and_compiling():
    torch._dynamo.reset()
    layer, times = make(**KINDS["masks"]), inputs(samples=4)
    wanted = layer(times).detach()
    with torch.no_grad():
        layer.recurrent_delay.mul_(0.5)
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(times), layer(times), rtol=1e-12, atol=0)
    groups = snn.parameter_groups(layer, lr=1e-2)
    assert [g["name"] for g in groups][-2:] == ["delay", "recurrent_delay"]
    optimiser, losses = torch.optim.Adam(groups), []
    for _ in range(15):
        optimiser.zero_grad()
        loss = (finite(layer(times)) - finite(wanted))[..., 0].square().sum()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    snn.initialise_(layer, times, active=0.5)
    assert snn.health_report(layer).layers[0].silent_fraction < 0.6


def test_silent_loss_has_the_gradient_of_differences():
    layer, times = make(**KINDS["masks"]), inputs()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([6.0, 5.0, 0.5, 0.3, 0.4], dtype=torch.float64))
        layer.recurrent_weight.copy_(torch.tensor([0.1, 0.1, 0.5, 0.2], dtype=torch.float64))

    def loss() -> torch.Tensor:
        out = layer(times)
        assert out[:, 0].isfinite().any()
        assert out[:, 2].isinf().all()
        return snn.silent_loss(layer)

    loss().backward()
    for name in ("weight", "delay", "recurrent_delay"):
        parameter = getattr(layer, name)
        step = 1e-6 * torch.randn_like(parameter)
        found = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.add_(sign * step)
            found.append(loss().item())
            with torch.no_grad():
                parameter.sub_(sign * step)
        expected = (found[0] - found[1]) / 2
        assert expected != 0
        assert (gradient(parameter) * step).sum().item() == pytest.approx(expected, rel=1e-5)


def test_functional_takes_connections():
    layer, times = make(**KINDS["all"]), inputs().requires_grad_()
    options = {k: v for k, v in UNIT.items() if k != "dtype"}
    delays: dict[str, Any] = {
        "recurrent_delay": layer.recurrent_delay,
        "connections": jax_core.SynapticDelays(layer.delay),
    }
    weights = layer.weight, layer.recurrent_weight
    out = snn.functional.recurrent_lif(times, *weights, **delays, **options)
    torch.testing.assert_close(out, layer(times), rtol=0, atol=0)
    (found,) = torch.autograd.grad(finite(out).sum(), layer.delay)
    assert found.abs().max() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"recurrent_delay": -torch.ones(3, 3)},
            r"recurrent_delay must be finite and >= 0",
        ),
        ({"recurrent_delay": torch.zeros(3, 2)}, r"per connection, shape \(3, 3\), got.*\(3, 2\)"),
        ({"recurrent_delay": torch.zeros(3, 3).double()}, "recurrent_delay is torch.float64, but"),
        ({"recurrent_delay": torch.zeros(3, 3).int()}, "recurrent_delay is torch.int32"),
        (
            {"connections": jax_core.SynapticDelays(torch.zeros(2, 3))},  # pyright: ignore[reportArgumentType]
            "delay must have one value per connection",
        ),
        (
            {"connections": jax_core.SynapticDelays(-torch.ones(3, 3))},  # pyright: ignore[reportArgumentType]
            "delay must be finite and >= 0",
        ),
    ],
)
def test_bad_arguments_are_named(change, message):
    given = {"weight": torch.ones(3, 3), "recurrent_weight": torch.zeros(3, 3), **change}
    with pytest.raises((TypeError, ValueError), match=message):
        snn.functional.recurrent_lif(inputs(torch.float32), **given)


def test_what_does_not_go_together_is_refused():
    for name in ("delay", "recurrent_delay"):
        given: dict[str, Any] = {name: "synaptic"}
        with pytest.raises(ValueError, match=rf"\"peak\" does not go with {name}='synaptic'"):
            snn.RecurrentLIF(3, 3, silent="peak", t_max=1.0, **given)
        layer = snn.RecurrentLIF(3, 3, **given)
        with pytest.raises(ValueError, match=rf"'0' \(RecurrentLIF\) has delays.*{name}='axonal'"):
            snn.nir.to_nir(nn.Sequential(layer))
        with pytest.raises(ValueError, match="cannot run on hardware, which takes LIF layers"):
            snn.hardware.on_backend(nn.Sequential(layer), snn.hardware.MockBSS2())
        given[name] = torch.zeros(2, 3)
        with pytest.raises(ValueError, match=rf"{name} must be a number or have shape \(3, 3\)"):
            snn.RecurrentLIF(3, 3, **given)
        given[name] = -torch.ones(3, 3)
        with pytest.raises(ValueError, match=rf"{name} must be finite and >= 0"):
            snn.RecurrentLIF(3, 3, **given)
    with pytest.raises(ValueError, match="mask has no connection in row 1"):
        snn.RecurrentLIF(3, 3, mask=AMONG, delay="synaptic")


@pytest.mark.parametrize("delay", [None, "axonal"])
def test_lists_give_what_matrices_give(delay):
    kinds = {"recurrent_delay": delay, "delay": delay, **MASKS}
    layer, matrices = make(solver="lists", **kinds), make(solver="lockstep", **kinds)
    other = make(solver="lists", **{**kinds, "mask": MASK.flip(0), "recurrent_mask": AMONG.flip(0)})
    times = inputs()
    gradients = []
    for each in (layer, matrices):
        out = each(times)
        finite(out).square().sum().backward()
        gradients.append([gradient(p) for p in each.parameters()])
        assert (out[..., 1] < INF).any()
        torch.testing.assert_close(out, matrices(times), rtol=1e-11, atol=0)
    for ours, theirs in zip(*gradients, strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    # Whatever the connections were, those of the checkpoint count.
    expected = layer(times)
    assert not torch.equal(other(times), expected)
    other.load_state_dict(layer.state_dict())
    assert not any("hearers" in name for name in layer.state_dict())
    for same in (other, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(same(times), expected)
    layer.zero_grad()
    out = layer(snn.events_from_spike_times(times))
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=0)
    finite(out).square().sum().backward()
    for parameter, theirs in zip(layer.parameters(), gradients[1], strict=True):
        torch.testing.assert_close(gradient(parameter), theirs, rtol=1e-9, atol=1e-12)
    fused = snn.fuse(nn.Sequential(layer, snn.LI(NEURONS, 2, dtype=torch.float64)))
    torch.testing.assert_close(fused(times), fused[1](expected))
    looks = torch.linspace(0, 3, 7, dtype=torch.float64)
    traces = layer.trace(times, looks), matrices.trace(times, looks)
    torch.testing.assert_close(*traces, rtol=1e-11, atol=1e-12)


def test_lists_are_asked_for_where_there_are_none():
    match = 'solver="lists" is for layers whose connections and recurrent_connections'
    for given in ({}, {"mask": MASK}, {**MASKS, "recurrent_delay": "synaptic"}):
        with pytest.raises(ValueError, match=match):
            make(solver="lists", **given)
    layer = make(solver="lists", **MASKS)
    with pytest.raises(ValueError, match=match):
        layer(inputs(), return_state=True)
    with pytest.raises(ValueError, match="or \"chunked\", got 'lists'"):
        snn.LIF(INPUTS, NEURONS, solver="lists")  # pyright: ignore[reportArgumentType]


def test_functions_take_lists_within_the_layer():
    own = jax_core.Sparse.of(AMONG.nonzero().numpy(), NEURONS, NEURONS)
    given = {"weight": torch.full((NEURONS, INPUTS), 5.0, dtype=torch.float64), **UNIT}
    given |= {"recurrent_connections": own}
    del given["dtype"]
    weights = torch.ones(int(AMONG.sum()), dtype=torch.float64)
    matrix = torch.zeros(NEURONS, NEURONS, dtype=torch.float64)
    matrix[AMONG] = weights
    found = snn.functional.recurrent_lif(inputs(), recurrent_weight=weights, **given)
    given["recurrent_connections"] = None
    expected = snn.functional.recurrent_lif(inputs(), recurrent_weight=matrix, **given)
    assert torch.equal(found, expected)
    given["recurrent_connections"] = own
    bad = {
        r"recurrent_weight must have one value per connection, shape \(4,\)": weights[1:],
        "recurrent_weight must be finite": weights * torch.nan,
        "recurrent_weight": weights.float(),
    }
    for message, values in bad.items():
        with pytest.raises((ValueError, TypeError), match=message):
            snn.functional.recurrent_lif(inputs(), recurrent_weight=values, **given)
