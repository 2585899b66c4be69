"""Layers with several projections, each with weights, delays and synapses of its own."""

import copy

import pytest
import torch

from evtorch import jax_core
from evtorch import torch_api as snn
from evtorch.torch_api import functional as F

from .._thorough import usual

END = 0.12
F64 = torch.float64


def inputs(seed=0, dtype=F64):
    torch.manual_seed(seed)
    return {
        "exc": torch.sort(torch.rand(4, 5, 4, dtype=dtype), dim=-1).values * END,
        "inh": torch.sort(torch.rand(4, 3, 2, dtype=dtype), dim=-1).values * END,
    }


def layer(exc=None, inh=None, **options):
    torch.manual_seed(1)
    given = {
        "exc": snn.Projection(5, tau_syn=5e-3, **(exc or {})),
        "inh": snn.Projection(3, tau_syn=12e-3, **(inh or {})),
    }
    made = snn.Projections(given, 6, t_max=END, max_spikes=40, dtype=F64, **options)
    with torch.no_grad():
        made.of["exc"].weight.mul_(2)
        made.of["inh"].weight.abs_().neg_()
    return made


def total(out):
    return torch.where(out.isfinite(), out, 0).square().sum()


def test_one_time_constant_is_a_layer_with_all_inputs():
    spikes = inputs()
    given = {name: snn.Projection(x.shape[1], tau_syn=7e-3) for name, x in spikes.items()}
    several = snn.Projections(given, 6, t_max=END, max_spikes=40, dtype=F64)
    one = snn.LIF(8, 6, tau_syn=7e-3, t_max=END, max_spikes=40, dtype=F64)
    with torch.no_grad():
        one.weight.copy_(torch.cat([each.weight for each in several.of.values()], dim=1))
    pad = torch.nn.functional.pad(spikes["inh"], (0, 2), value=torch.inf)
    expected = one(torch.cat([spikes["exc"], pad], dim=1))
    assert torch.equal(several(spikes), expected)
    # The same, by the neuron with several currents.
    taus = {name: torch.full((6,), 7e-3, dtype=F64) for name in spikes}
    found = F.lif_projections(
        {
            name: jax_core.Projection(x, several.of[name].weight, taus[name])
            for name, x in spikes.items()
        },
        t_max=END,
        max_spikes=40,
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    "delays", usual([{"delay": "synaptic"}], [{"delay": "axonal"}, {"delay": "synaptic"}])
)
def test_gradients_of_all_parameters(delays):
    made = layer({"learn": True, **delays}, {"learn": True}, learn=("tau_mem", "v_leak"))
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("delay"):
                parameter.copy_(torch.rand_like(parameter) * 3e-3)
    spikes = {name: x.requires_grad_() for name, x in inputs().items()}
    total(made(spikes)).backward()
    tensors = {**dict(made.named_parameters()), **spikes}
    assert len(tensors) == 9
    for name, tensor in tensors.items():
        direction = torch.randn_like(tensor)
        step = 1e-6 * float(tensor.detach().abs().mean() or 1.0)
        with torch.no_grad():
            tensor += step * direction
            above = total(made(spikes))
            tensor -= 2 * step * direction
            below = total(made(spikes))
            tensor += step * direction
        slope = (tensor.grad * direction).sum()
        torch.testing.assert_close((above - below) / (2 * step), slope, rtol=2e-6, atol=1e-9)
        assert slope != 0, name


def test_delays_are_later_spikes():
    spikes = inputs()
    plain, delayed = layer(), layer({"delay": 2e-3}, {"delay": torch.full((6, 3), 1e-3, dtype=F64)})
    delayed.load_state_dict(plain.state_dict(), strict=False)
    later = {"exc": spikes["exc"] + 2e-3, "inh": spikes["inh"] + 1e-3}
    torch.testing.assert_close(delayed(spikes), plain(later), rtol=1e-12, atol=0)


def test_pieces_are_what_one_run_is():
    spikes, made = inputs(), layer()
    whole, end = made(spikes, return_state=True)
    made.t_max = END / 3
    state, found = None, []
    for begin in (0.0, END / 3, 2 * END / 3):
        piece = {
            name: torch.where((x >= begin) & (x < begin + END / 3), x - begin, torch.inf)
            .sort()
            .values
            for name, x in spikes.items()
        }
        out, state = made(piece, state=state, return_state=True)
        found.append(out + begin)
    pieces = torch.cat(found, dim=-1).sort(dim=-1).values[..., :40]
    torch.testing.assert_close(pieces, whole, rtol=1e-11, atol=0)
    torch.testing.assert_close(state.i["inh"], end.i["inh"])


def test_checkpoints_copies_and_text():
    made = layer({"delay": "axonal", "learn": True}, learn=("v_leak",))
    other = layer({"delay": "axonal", "learn": True}, learn=("v_leak",))
    other.load_state_dict(made.state_dict())
    spikes = inputs()
    assert torch.equal(made(spikes), other(spikes))
    assert torch.equal(made(spikes), copy.deepcopy(made)(spikes))
    assert made.float()(inputs(dtype=torch.float32)).dtype == torch.float32
    assert "delay='axonal'" in repr(made)
    assert snn.health_report(made).layers[0].samples == 4


WRONG = [
    (lambda: snn.Projections({}, 3), TypeError, "projections must be a dict"),
    (lambda: snn.Projections({"a": 3}, 3), TypeError, r"projections\['a'\] must be"),
    (lambda: snn.Projections({"a": snn.Projection(3, tau_syn=-1.0)}, 3), ValueError, "tau_syn"),
    (lambda: snn.Projections({"a": snn.Projection(3, delay=-1.0)}, 3), ValueError, "delay"),
    (lambda: layer()({"exc": inputs()["exc"]}), TypeError, "each projection .exc, inh."),
    (lambda: layer()(inputs()["exc"]), TypeError, "spikes must be a dict"),
    (lambda: layer()(inputs(dtype=torch.float32)), TypeError, "weight is"),
    (lambda: layer()({**inputs(), "inh": inputs()["inh"][:2]}), ValueError, "2,. samples"),
    (lambda: layer()({**inputs(), "inh": inputs()["inh"][:, :2]}), ValueError, "inputs equal"),
    (lambda: layer({"delay": 1e-3})(inputs(), return_state=True), ValueError, "without delay"),
    (lambda: layer()(inputs(), state=(1, 2, 3)), TypeError, "state must be the LIFState"),
]


@pytest.mark.parametrize(("make", "error", "message"), WRONG)
def test_errors_name_the_argument(make, error, message):
    with pytest.raises(error, match=message):
        make()
