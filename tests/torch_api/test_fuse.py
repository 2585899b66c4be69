"""Layers in a row as one function: what they compute, say and refuse is what they do one by one."""

import copy
import logging
import math
import pickle
from typing import Any

import jax
import pytest
import torch
from torch import nn

from evtorch import torch_api as snn

from .._thorough import usual

SETTINGS: dict[str, Any] = {"t_max": 5e-2, "max_spikes": 3, "on_overflow": "truncate"}
ONCE: dict[str, Any] = {"t_max": 5e-2, "refractory": math.inf}


def dense(dtype: torch.dtype | None = None) -> nn.Sequential:
    return nn.Sequential(
        snn.LIF(4, 6, **SETTINGS, dtype=dtype),
        snn.LIF(6, 5, **ONCE, delay="axonal", learn=["tau_mem"], dtype=dtype),
        snn.LI(5, 3, t_max=5e-2, dtype=dtype),
    )


def recurrent(dtype: torch.dtype | None = None) -> nn.Sequential:
    peak: Any = {**SETTINGS, "silent": "peak"}
    return nn.Sequential(
        snn.Delay(4, 1e-3, dtype=dtype),
        snn.LIF(4, 5, **SETTINGS, delay=2e-3, dtype=dtype),
        snn.Delay(5, 1e-3, dtype=dtype),
        snn.RecurrentLIF(5, 4, **peak, recurrent_delay="axonal", dtype=dtype),
    )


def convolved(dtype: torch.dtype | None = None) -> nn.Sequential:
    mask = torch.tensor([[1, 0, 1, 1], [0, 1, 1, 0]]).bool()
    return nn.Sequential(
        nn.Sequential(
            snn.LIFConv1d(2, 3, 3, **ONCE, dtype=dtype),
            snn.FlattenSpikes(axes=2),
        ),
        snn.LIF(6, 4, **ONCE, delay="dendritic", dtype=dtype),
        nn.Identity(),
        snn.LIF(4, 4, **ONCE, dtype=dtype),
        snn.LIF(4, 2, **ONCE, mask=mask, dtype=dtype),
    )


def small() -> nn.Sequential:
    return strong(nn.Sequential(snn.LIF(4, 6, **SETTINGS), snn.LI(6, 3, t_max=5e-2)))


def times(model: nn.Sequential, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Input spikes, two for each neuron, of which some are none."""
    is_conv = any(isinstance(module, snn.LIFConv1d) for module in model.modules())
    shape = (8, 2, 4, 2) if is_conv else (8, 4, 2)
    drawn = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    drawn[0, ..., 1] = math.inf
    return (2e-2 * drawn).sort(dim=-1).values.to(dtype)


def strong(model: nn.Sequential) -> nn.Sequential:
    """Weights that make most neurons spike, some several times."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("weight"):
                noise = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
                share = 0.1 if "recurrent" in name else 4.0 / parameter[0].numel()
                parameter.copy_(share * (0.5 + 2 * noise))
            elif "delay" in name:
                parameter.add_(1e-3)
    return model


def step(model: nn.Sequential, spikes: torch.Tensor) -> dict[str, torch.Tensor]:
    """What comes out, and the gradients of a loss that also asks for silent neurons."""
    spikes = spikes.clone().requires_grad_()
    model.zero_grad()
    out = model(spikes)
    loss = torch.where(out.isfinite(), out, 0).square().sum() + snn.silent_loss(model, max_silent=0)
    loss.backward()
    assert spikes.grad is not None
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert len(gradients) == len(list(model.parameters()))
    return {"": out.detach(), "spikes": spikes.grad, **gradients}


@pytest.mark.parametrize(
    ("make", "dtype"),
    usual(
        [(dense, torch.float32), (recurrent, torch.float64)],
        [
            (dense, torch.float32),
            (recurrent, torch.float64),
            (convolved, torch.float32),
        ],
    ),
)
def test_values_gradients_and_health_are_those_of_the_layers(make, dtype):
    model = strong(make(dtype))
    fused = snn.fuse(model)
    spikes = times(model, dtype)
    expected, health = step(model, spikes), str(snn.health_report(model))
    found = step(fused, spikes)
    assert str(snn.health_report(fused)) == health
    assert found[""].isfinite().any()
    precision = 1000 * torch.finfo(dtype).eps
    for name, value in expected.items():
        scale = value[value.isfinite()].abs().max().item()
        torch.testing.assert_close(found[name], value, rtol=precision, atol=precision * scale)
        assert scale > 0, name


def test_events():
    model = small()
    events = snn.events_from_spike_times(times(model))
    torch.testing.assert_close(snn.fuse(model)(events), model(events))


def test_it_holds_the_same_modules_under_the_same_names():
    model = convolved().eval()
    fused = snn.fuse(model)
    assert dict(fused.named_modules()).keys() == dict(model.named_modules()).keys()
    assert all(a is b for a, b in zip(fused.parameters(), model.parameters(), strict=True))
    assert list(fused.state_dict()) == list(model.state_dict())
    assert not fused.training
    assert fused.train().training
    assert model[2].training


def test_a_checkpoint_goes_from_one_to_the_other():
    model = small()
    fused = snn.fuse(nn.Sequential(snn.LIF(4, 6, **SETTINGS), snn.LI(6, 3, t_max=5e-2)))
    fused.load_state_dict(model.state_dict())
    spikes = times(model)
    torch.testing.assert_close(fused(spikes), model(spikes))
    # A slice is of the same kind.
    assert torch.equal(fused[:2](spikes), fused(spikes))


def test_copies_have_parameters_of_their_own():
    fused = snn.fuse(small())
    spikes = times(fused)
    expected = fused(spikes)
    for twin in (copy.deepcopy(fused), pickle.loads(pickle.dumps(fused))):
        assert torch.equal(twin(spikes), expected)
        assert twin[0].weight is not fused[0].weight
    double = copy.deepcopy(fused).double()
    torch.testing.assert_close(double(spikes.double()).float(), expected, rtol=1e-4, atol=1e-5)


def test_learning_goes_the_same_way():
    model = small()
    twin = copy.deepcopy(model)
    spikes = times(model)
    for each in (model, snn.fuse(twin)):
        optimizer = torch.optim.Adam(snn.parameter_groups(each, lr=1e-2))
        for _ in range(5):
            optimizer.zero_grad()
            (each(spikes).square().mean() + snn.silent_loss(each)).backward()
            snn.clip_grad_(each)
            optimizer.step()
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_other_numbers_compile_nothing(caplog):
    fused, other = snn.fuse(small()), snn.fuse(small())
    spikes = times(fused)
    step(fused, spikes)
    own = fused(spikes)
    other[0].t_max = other[1].t_max = 4e-2
    other[0].v_threshold, other[0].min_slope, other[1].v_leak = 1.1, 1e-2, 0.1
    with jax.log_compiles(True), caplog.at_level(logging.WARNING):
        assert not torch.equal(step(other, spikes)[""], own)
    assert "XLA compilation" not in caplog.text


def test_inference_and_what_gradients_are_switched_off_for():
    fused = snn.fuse(small())
    spikes = times(fused)
    expected = fused(spikes).detach()
    with torch.no_grad():
        torch.testing.assert_close(fused(spikes), expected)
    with torch.inference_mode():
        torch.testing.assert_close(fused(spikes), expected)
    assert fused[0].last_call is None
    torch.testing.assert_close(torch.compile(fused, backend="eager")(spikes), expected)
    torch.testing.assert_close(torch.func.vmap(fused)(spikes), expected)
    assert snn.health_report(fused).layers[0].samples == 8


def test_spikes_without_room_are_reported_by_the_layer_that_has_none():
    model = small()
    model[0].on_overflow = "warn"
    fused = snn.fuse(model)
    with pytest.warns(snn.SpikeOverflowWarning, match="of 6 neurons spike more than max_spikes"):
        fused(times(model))
    model[0].on_overflow = "error"
    with pytest.raises(snn.SpikeOverflowError) as one_by_one:
        model(times(model))
    with pytest.raises(snn.SpikeOverflowError) as together:
        fused(times(model))
    assert str(together.value) == str(one_by_one.value)


def test_layers_with_hooks_run_by_themselves():
    fused = snn.fuse(small())
    spikes = times(fused)
    expected, seen = fused(spikes), []
    handle = fused[0].register_forward_hook(lambda *args: seen.append(args[2]))
    torch.testing.assert_close(fused(spikes), expected)
    assert [out.shape for out in seen] == [(8, 6, 3)]
    handle.remove()
    fused(spikes)
    assert len(seen) == 1


class Doubled(snn.LIF):
    def forward(self, *arguments: Any, **named: Any) -> Any:
        return 2 * super().forward(*arguments, **named)


def test_layers_with_a_forward_of_their_own_run_by_themselves():
    model = nn.Sequential(small()[0], Doubled(6, 4, **ONCE), *small())
    torch.testing.assert_close(snn.fuse(model)(times(model)), model(times(model)))
    with pytest.raises(ValueError, match="'0', Doubled, has a forward of its own; '1', LI, has no"):
        snn.fuse(nn.Sequential(Doubled(4, 5), snn.LI(5, 3)))


def test_weights_from_inputs_and_the_rescue_of_silent_neurons():
    models = [dense(), dense()]
    spikes = times(models[0])
    for each in (models[0], snn.fuse(models[1])):
        snn.initialise_(each, spikes, generator=torch.Generator().manual_seed(3))
        with torch.no_grad():
            each[1].weight.zero_()
        each(spikes)
        assert snn.rescue_silent_(each, max_silent=0.5) == 5
    for one, other in zip(*map(nn.Module.parameters, models), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda model: model[0].weight.data.fill_(math.nan),
        lambda model: model[1].weight.data.fill_(math.inf),
        lambda model: model[1].tau_mem.data.fill_(-1),
        lambda model: model[1].delay.data.fill_(math.inf),
        lambda model: setattr(model[2], "t_max", -1.0),
        lambda model: setattr(model[0], "max_spikes", 0),
        lambda model: model[2].double(),
    ],
)
def test_what_is_wrong_raises_what_the_layers_raise(spoil):
    model = strong(dense())
    spoil(model)
    with pytest.raises((ValueError, TypeError)) as one_by_one:
        model(times(model))
    with pytest.raises(type(one_by_one.value)) as together:
        snn.fuse(model)(times(model))
    assert str(together.value) == str(one_by_one.value)


@pytest.mark.parametrize(
    "layers",
    [
        (snn.LIF(5, 3, **ONCE),),
        (snn.Delay(1), snn.LIF(6, 3, **ONCE)),
        (snn.LIF(6, 3, **ONCE), snn.FlattenSpikes(axes=3)),
    ],
)
def test_layers_that_do_not_fit_each_other(layers):
    model = nn.Sequential(snn.LIF(4, 6, **SETTINGS), *layers)
    for each in (model, snn.fuse(model)):
        with pytest.raises(ValueError, match=r"come from 6 neurons|must have"):
            each(times(model))


def test_models_with_nothing_to_fuse():
    for wrong in (snn.LIF(4, 3), nn.ModuleList(), "model"):
        with pytest.raises(TypeError, match=r"model must be an nn\.Sequential, got"):
            snn.fuse(wrong)  # pyright: ignore[reportArgumentType]
    model = nn.Sequential(snn.LIF(4, 3), nn.Dropout(), nn.Sequential(snn.LI(3, 2)))
    with pytest.raises(ValueError, match="nothing to fuse, no two layers in a row") as error:
        snn.fuse(model)
    assert str(error.value).endswith(
        "'0', LIF, has no layer beside it; '1', Dropout, is no layer that can be fused; '2.0', LI, "
        "has no layer beside it"
    )
    hooked = dense()
    hooked.register_forward_hook(print)
    with pytest.raises(ValueError, match="model has hooks"):
        snn.fuse(hooked)
    hooked = dense()
    hooked[1].register_forward_hook(print)
    with pytest.raises(ValueError, match="'1', LIF, has hooks"):
        snn.fuse(hooked)
