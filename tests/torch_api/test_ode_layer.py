"""Layers of neurons that are given by their differential equation."""

import copy
import io

import jax.numpy as jnp
import pytest
import torch

from evtorch import torch_api as snn

F64 = torch.float64


def flow(state, c):
    return {"v": (state["i"] - state["v"]) / c["tau_mem"], "i": -state["i"] / 1e-2}


def threshold(state, c):
    return state["v"] - c["v_threshold"]


def jump(state, c):
    return {**state, "v": jnp.zeros_like(state["v"])}


def layer_of(constants=None, **options):
    given = {"max_spikes": 20, "t_max": 0.08, "dtype": F64, **options}
    constants = {"tau_mem": 2e-2, "v_threshold": 1.0} if constants is None else constants
    model = {"flow": flow, "threshold": threshold, "jump": jump, "start": {"v": 0.0, "i": 0.0}}
    return snn.neuron(5, 4, **model, constants=constants, critical_weight=2.0, **given)


def test_it_is_the_layer_with_the_closed_form():
    spikes = torch.sort(torch.rand(3, 5, 3, dtype=F64) * 0.05, dim=-1).values
    learn = ("tau_mem", "v_threshold")
    layer = layer_of(learn=learn, delay="axonal")
    closed = snn.LIF(5, 4, max_spikes=20, t_max=0.08, learn=learn, delay="axonal", dtype=F64)
    closed.load_state_dict(layer.state_dict())
    outs = []
    for each in (layer, closed):
        outs.append(each(spikes))
        torch.where(outs[-1].isfinite(), outs[-1], 0).square().sum().backward()
    torch.testing.assert_close(*outs, rtol=0, atol=1e-11)
    assert outs[0].isfinite().any(dim=-1).double().mean() > 0.5
    for name in ("weight", "delay", *learn):
        mine, theirs = layer.get_parameter(name).grad, closed.get_parameter(name).grad
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-12)
    report = snn.health_report(layer)
    assert torch.equal(report.layers[0].counts.silent, (outs[0][..., 0].isinf()).sum(0).int())
    assert torch.equal(copy.deepcopy(layer)(spikes), outs[0])
    stored = io.BytesIO()
    torch.save(layer, stored)
    stored.seek(0)
    assert torch.equal(torch.load(stored, weights_only=False)(spikes), outs[0])
    assert "learned" in repr(layer)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"t_max": float("inf")}, ValueError, "t_max must be finite for neurons"),
        ({"constants": {"tau_mem": -1.0, "v_threshold": 1.0}}, ValueError, "tau_mem must be > 0"),
        ({"constants": {"weight_scale": 1.0}}, ValueError, "other names than weight_scale"),
        ({"gradient": "exact"}, TypeError, "no option gradient"),
    ],
)
def test_bad_options_are_refused_by_name(wrong, error, message):
    with pytest.raises(error, match=message):
        layer_of(**wrong)
