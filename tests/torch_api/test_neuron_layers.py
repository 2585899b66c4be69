"""Layers of neurons other than LIF: what they share, and with what a function of tensors gives."""

import copy
import io
import math

import pytest
import torch

from evtorch import bridge, jax_core
from evtorch import torch_api as snn
from evtorch.torch_api import functional as F

from .._thorough import usual

END, F64 = 0.1, torch.float64
LAYERS = {
    "IF": snn.IF,
    "AdaptiveLIF": snn.AdaptiveLIF,
    "AlphaLIF": snn.AlphaLIF,
    "DeltaLIF": snn.DeltaLIF,
}
RECURRENT = {name: getattr(snn, f"Recurrent{name}") for name in LAYERS}


def spikes_of(samples=3, inputs=5, dtype=F64):
    return torch.sort(torch.rand(samples, inputs, 3, dtype=dtype) * END / 2, dim=-1).values


def layer_of(kind, **options):
    given = {"max_spikes": 30, "t_max": END, "dtype": F64, **options}
    return LAYERS[kind](5, 4, **given)


def total(out):
    return torch.where(out.isfinite(), out, 0).square().sum()


@pytest.fixture(params=LAYERS)
def kind(request):
    return request.param


@pytest.fixture(params=usual(("IF", "DeltaLIF"), LAYERS))
def any_kind(request):
    """For what no model does in a way of its own."""
    return request.param


def test_a_layer_is_its_function(kind):
    layer, spikes = layer_of(kind), spikes_of()
    out = layer(spikes)
    neuron = getattr(jax_core, kind)(**layer.constants())
    assert torch.equal(out, F.spiking(spikes, layer.weight, neuron, max_spikes=30, t_max=END))
    assert out.shape == (3, 4, 30)
    assert out.isfinite().any(dim=-1).float().mean() > 0.6
    as_events = layer(snn.events_from_spike_times(spikes))
    torch.testing.assert_close(as_events, out, rtol=1e-12, atol=0)
    report = snn.health_report(layer)
    assert report.layers[0].neurons == 4
    assert report.layers[0].samples == 3
    more = spikes_of(samples=19)
    assert torch.equal(layer(more)[:7], layer(more[:7]))


def test_gradients_reach_everything(kind):
    names = tuple(layer_of(kind).constants())
    layer = layer_of(kind, learn=names, refractory=2e-3, delay="axonal")
    with torch.no_grad():
        layer.delay.fill_(1e-3)
    spikes = spikes_of().requires_grad_()
    total(layer(spikes)).backward()
    assert spikes.grad.count_nonzero() > 5
    for name, parameter in layer.named_parameters():
        assert parameter.grad.isfinite().all(), name
        # Delta synapses lift the voltage in no time.
        assert parameter.grad.any() == (kind != "DeltaLIF" or name == "delay"), name
    assert "learned" in repr(layer)


def test_gradients_equal_finite_differences(any_kind):
    layer = layer_of(any_kind, delay="synaptic")
    spikes = spikes_of(samples=2)
    with torch.no_grad():
        layer.delay.copy_(torch.rand(4, 5, dtype=F64) * 5e-3)
    assert torch.autograd.gradcheck(
        lambda weight, delay: torch.nan_to_num(
            torch.func.functional_call(layer, {"weight": weight, "delay": delay}, (spikes,)),
            posinf=0.0,
        ),
        (layer.weight, layer.delay),
        eps=1e-7,
        atol=1e-5,
        rtol=1e-5,
    )


def test_delays_and_connections(any_kind):
    spikes, later = spikes_of(), torch.rand(5, dtype=F64) * 1e-2
    plain = layer_of(any_kind)
    delayed = layer_of(any_kind, delay=later)
    delayed.weight = plain.weight
    assert torch.equal(delayed(spikes), plain(F.delay(spikes, later)))
    each = layer_of(any_kind, delay=later.expand(4, 5))
    each.weight = plain.weight
    torch.testing.assert_close(each(spikes), delayed(spikes), rtol=0, atol=1e-12)
    mask = torch.rand(4, 5) < 0.6
    mask[:, 0] = True
    some = layer_of(any_kind, mask=mask)
    dense = layer_of(any_kind)
    with torch.no_grad():
        dense.weight.copy_(torch.where(mask, some.dense_weight(), 0))
    torch.testing.assert_close(some(spikes), dense(spikes), rtol=0, atol=1e-12)
    listed = layer_of(any_kind, connections=mask.nonzero())
    assert listed.weight.shape == some.weight.shape


def test_checkpoints_copies_and_room(any_kind):
    layer, spikes = layer_of(any_kind, max_spikes="auto"), spikes_of()
    with torch.no_grad():
        layer.weight.mul_(4)
    out = layer(spikes)
    assert layer.max_spikes > 4
    assert torch.equal(copy.deepcopy(layer)(spikes), out)
    stored = io.BytesIO()
    torch.save(layer, stored)
    stored.seek(0)
    assert torch.equal(torch.load(stored, weights_only=False)(spikes), out)
    other = layer_of(any_kind, max_spikes=layer.max_spikes)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(spikes), out)
    with pytest.warns(snn.CheckpointWarning, match="v_threshold=1"):
        layer_of(any_kind, v_threshold=2.0).load_state_dict(layer.state_dict())
    few = layer_of(any_kind, max_spikes=1)
    few.load_state_dict(layer.state_dict())
    with pytest.raises(snn.SpikeOverflowError, match="Raise max_spikes"):
        few(spikes)
    once = layer_of(any_kind, max_spikes=1, refractory=math.inf)
    once.weight = layer.weight
    assert once(spikes).shape == (3, 4, 1)


def test_voltages(any_kind):
    layer, spikes = layer_of(any_kind), spikes_of()
    times = torch.linspace(0, END, 50, dtype=F64)
    out = layer(spikes)
    v = layer.trace(spikes, times)
    assert v.shape == (3, 4, 50)
    assert torch.equal(layer.trace(spikes, times, output=out), v)
    v.square().sum().backward()
    # A delta synapse whose spikes set their neuron off leaves no trace.
    assert layer.weight.grad.count_nonzero() >= (10 if any_kind == "DeltaLIF" else 20)
    weight = layer.weight.detach()
    move, eps = torch.randn_like(weight), 1e-6

    def moved(sign):
        other = copy.deepcopy(layer)
        with torch.no_grad():
            other.weight.add_(sign * eps * move)
            return other.trace(spikes, times).square().sum()

    expected = (moved(1) - moved(-1)) / (2 * eps)
    found = (layer.get_parameter("weight").grad * move).sum()  # pyright: ignore[reportOptionalOperand]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_compiled_and_in_jax(any_kind):
    layer = layer_of(any_kind, on_overflow="truncate", dtype=torch.float32)
    spikes = spikes_of(dtype=torch.float32)
    out = layer(spikes)
    assert torch.equal(torch.compile(layer, fullgraph=True, backend="eager")(spikes), out)
    run, parameters = bridge.as_jax_function(layer)
    found = run(parameters, bridge.to_jax(spikes))
    torch.testing.assert_close(bridge.to_torch(found), out)

    def loss(out, target):
        return (torch.where(out.isfinite(), out, 0).sum(dim=(1, 2)) - target).square().mean()

    step = bridge.compile_step(layer, loss, torch.optim.Adam(layer.parameters()))
    before = layer.weight.detach().clone()
    step(spikes, torch.zeros(3))
    # Weights of delta synapses learn through voltages only.
    assert torch.equal(layer.weight, before) == (any_kind == "DeltaLIF")


WRONG = [
    ({"tau_syn": 0.0}, ValueError, "tau_syn must be > 0"),
    ({"tau_syn": torch.tensor([1e-2, 1e-2, 1e-2, -1.0])}, ValueError, "tau_syn.*must be > 0"),
    (
        {"tau_syn": torch.ones(3)},
        ValueError,
        r"tau_syn must be a number or have one value per neuron",
    ),
    ({"v_reset": 1.0}, ValueError, "v_reset must be below v_threshold"),
    ({"refractory": -1.0}, ValueError, "refractory must be >= 0"),
    ({"v_threshold": math.inf}, ValueError, "v_threshold must be finite"),
    ({"learn": "weight"}, ValueError, "learn must name neuron constants"),
    ({"max_spikes": 0}, ValueError, "max_spikes must be >= 1"),
    ({"delay": "dendritic"}, ValueError, "delay must be None, 'axonal'"),
    ({"solver": "auto"}, TypeError, "has no option solver; its options are .*max_spikes"),
    ({"dtype": torch.float16}, TypeError, "dtype must be torch.float32 or torch.float64"),
]


@pytest.mark.parametrize(("options", "error", "message"), WRONG)
def test_bad_options_are_refused_by_name(kind, options, error, message):
    if not set(options) <= {"solver", "tau_syn"} or "tau_syn" in layer_of(kind).constants():
        with pytest.raises(error, match=message):
            LAYERS[kind](5, 4, **options)


def test_a_constant_that_leaves_its_range_is_refused(kind):
    layer = layer_of(kind, learn="v_threshold")
    with torch.no_grad():
        layer.get_parameter("v_threshold")[1] = -2.0
    with pytest.raises(ValueError, match=r"v_reset must be below v_threshold.* at neuron 1"):
        layer(spikes_of())
    with pytest.raises(TypeError, match=r"weight is torch\.float64, but spikes is torch.float32"):
        layer(spikes_of(dtype=torch.float32))


def test_an_unstable_adaptation_is_refused():
    for a in (-1.0, torch.tensor([0.0, 0.0, -2.0, 0.0])):
        with pytest.raises(ValueError, match=r"a.* must be > -1, but .*drive each other away"):
            snn.AdaptiveLIF(5, 4, a=a)


def test_without_adaptation_it_is_a_lif():
    spikes = spikes_of()
    options = {"max_spikes": 30, "t_max": END, "dtype": F64, "refractory": 1e-3}
    lif = snn.LIF(5, 4, **options)
    for tau_w in (1e-1, 2e-2, 1e-2, 1e-3):
        same = snn.AdaptiveLIF(5, 4, a=0.0, b=0.0, tau_w=tau_w, **options)
        same.weight = lif.weight
        torch.testing.assert_close(same(spikes), lif(spikes), rtol=1e-11, atol=0)


def test_delta_synapses_teach_weights_through_voltages():
    layer = layer_of("DeltaLIF")
    spikes = spikes_of().requires_grad_()
    out = layer(spikes)
    assert set(out[out.isfinite()].tolist()) <= set(spikes.flatten().tolist())
    out[out.isfinite()].sum().backward()
    assert spikes.grad.sum() == out.isfinite().sum()
    assert not layer.weight.grad.any()


def test_delta_neurons_may_have_no_leak():
    """The limit of long time constants: spikes, voltages, and gradients, of which that of
    ``tau_mem`` is 0."""
    spikes, times = spikes_of(), torch.linspace(0, END, 40, dtype=F64)
    layer = layer_of("DeltaLIF", tau_mem=math.inf, v_leak=0.1, learn=("v_leak", "v_reset"))
    slow = layer_of("DeltaLIF", tau_mem=1e9, v_leak=0.1, learn=("v_leak", "v_reset"))
    slow.load_state_dict({k: v for k, v in layer.state_dict().items() if "extra" not in k}, False)
    found = []
    for each in (layer, slow):
        out = each(spikes)
        v = each.trace(spikes, times, output=out)
        v.square().sum().backward()
        found.append([out.detach(), v.detach(), *(p.grad for p in each.parameters())])
    assert found[0][0].isfinite().sum() > 10
    for exact, close in zip(*found, strict=True):
        torch.testing.assert_close(exact, close, rtol=1e-7, atol=1e-7)
    tau_mem = torch.full((4,), math.inf, dtype=F64, requires_grad=True)
    neuron = jax_core.DeltaLIF(tau_mem=tau_mem)
    F.spiking_trace(spikes, layer.weight, neuron, times, max_spikes=30).sum().backward()
    assert torch.equal(tau_mem.grad, torch.zeros(4, dtype=F64))
    with pytest.raises(ValueError, match="tau_mem = inf cannot be learned"):
        layer_of("DeltaLIF", tau_mem=math.inf, learn="tau_mem")
    with pytest.raises(ValueError, match="tau_mem must be finite"):
        layer_of("AlphaLIF", tau_mem=math.inf)
    with pytest.raises(ValueError, match="tau_mem must be finite"):
        F.spiking(spikes, layer.weight, jax_core.AlphaLIF(tau_mem=tau_mem.detach()))


@pytest.mark.parametrize("delay", usual([None, "synaptic"], [None, "axonal", "synaptic"]))
def test_recurrent_layers(any_kind, delay):
    options = {"max_spikes": 30, "t_max": END, "dtype": F64, "refractory": 2e-3}
    layer = RECURRENT[any_kind](5, 4, recurrent_delay=delay, learn="v_threshold", **options)
    if delay:
        with torch.no_grad():
            layer.recurrent_delay.uniform_(1e-3, 3e-3)
    spikes, times = spikes_of().requires_grad_(), torch.linspace(0, END, 40, dtype=F64)
    out = layer(spikes)
    neuron = getattr(jax_core, any_kind)(**layer.constants())
    expected = F.recurrent_spiking(
        spikes,
        layer.weight,
        layer.recurrent_weight,
        neuron,
        recurrent_delay=layer.recurrent_delay,
        max_spikes=30,
        t_max=END,
    )
    assert torch.equal(out, expected)
    assert snn.health_report(layer).layers[0].samples == 3
    if any_kind == "DeltaLIF" and not delay:
        with pytest.raises(ValueError, match="trace needs a recurrent_delay"):
            layer.trace(spikes, times)
        return
    v = layer.trace(spikes, times, output=out)
    assert (v <= layer.v_threshold[:, None] + 1e-9).all()
    (v.square().mean() + total(out)).backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad.any() or (any_kind, name) == ("DeltaLIF", "v_threshold"), name
    other = RECURRENT[any_kind](5, 4, recurrent_delay=delay, learn="v_threshold", **options)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(spikes), out)


def test_recurrent_layers_refuse_what_they_cannot():
    with pytest.raises(ValueError, match="delay must be 'axonal' or one per input"):
        snn.RecurrentIF(5, 4, delay="synaptic")
    with pytest.raises(ValueError, match=r"recurrent_delay must .* \(4, 4\)"):
        snn.RecurrentIF(5, 4, recurrent_delay=torch.zeros(4, 3))
    layer = snn.RecurrentIF(5, 4, recurrent_delay="synaptic", t_max=END, dtype=F64)
    with pytest.raises(ValueError, match="layers without recurrent_delay='synaptic': spikes on"):
        layer(spikes_of(), return_state=True)
    with pytest.raises(TypeError, match="has no option solver"):
        snn.RecurrentIF(5, 4, solver="auto")


def test_silent_neurons_are_rescued_and_weights_initialised(any_kind):
    layer, spikes = layer_of(any_kind), spikes_of()
    with torch.no_grad():
        layer.weight.fill_(0.0)
    assert not layer(spikes).isfinite().any()
    assert snn.rescue_silent_(layer) == 4
    torch.testing.assert_close(layer.weight[:, 0], (0.05 * layer.critical_weight()).expand(4))
    torch.testing.assert_close(snn.weight_penalty(layer).item(), 0.05**2)
    snn.initialise_(layer, spikes, active=0.75)
    assert layer(spikes).isfinite().any(-1).double().mean() >= 0.75
    recurrent = RECURRENT[any_kind](5, 4, dtype=F64)
    critical = recurrent.weight_scale(4) / recurrent.recurrent_weight.detach()
    plain = (recurrent.weight / recurrent.critical_weight()).square().mean()
    expected = plain + (1 / critical).square().mean()
    torch.testing.assert_close(snn.weight_penalty(recurrent), expected)
