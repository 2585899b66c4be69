"""The solver as an option of modules and functions."""

import copy
import math

import pytest
import torch

from evtorch import torch_api as snn
from evtorch.jax_core.layer import _differentiable

OPTIONS = {"tau_syn": 5e-3, "max_spikes": 5, "t_max": 0.1, "on_overflow": "truncate"}


def layers(solver):
    torch.manual_seed(1)
    return (
        snn.LIF(6, 5, solver=solver, **OPTIONS),
        snn.LIFConv1d(6, 2, 3, solver=solver, **OPTIONS),
        snn.RecurrentLIF(6, 5, solver=solver, **OPTIONS),
    )


@pytest.mark.parametrize("number", range(3))
def test_either_solver_gives_the_same_spikes_and_gradients(number):
    shape = (3, 6, 7, 4) if number == 1 else (3, 6, 4)
    spikes = (0.08 * torch.rand(shape)).sort(dim=-1).values
    found = []
    for solver in ("lockstep", "chunked"):
        layer = layers(solver)[number]
        inputs = spikes.clone().requires_grad_()
        out = layer(inputs)
        torch.where(out < math.inf, out, 0).square().sum().backward()
        found.append((out.detach(), layer.weight.grad, inputs.grad))
    assert (found[0][0] < math.inf).sum() > 10
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-7)


def test_the_choice_reaches_the_simulation(monkeypatch):
    chosen = []

    def note(solver, *sizes):
        chosen.append(solver)
        return False

    monkeypatch.setattr(_differentiable, "simulates_in_chunks", note)
    # A size of its own, so that nothing is compiled yet.
    snn.LIF(6, 13, solver="chunked", **OPTIONS)(torch.rand(3, 6, 3).sort(dim=-1).values)
    snn.functional.lif_observed(
        torch.rand(3, 6, 3).sort(dim=-1).values,
        torch.ones(13, 6),
        torch.full((3, 13, 1), math.inf),
        solver="lockstep",
    )
    assert chosen[0] == "chunked"
    assert chosen[-1] == "lockstep"


def test_modules_that_do_not_have_the_option_yet():
    for layer in layers("auto")[::2]:
        old = copy.deepcopy(layer)
        del old.__dict__["solver"]
        spikes = torch.rand(3, 6, 4).sort(dim=-1).values
        torch.testing.assert_close(old(spikes), layer(spikes))
        assert layer.state_dict().keys() == old.state_dict().keys()
        assert "solver" not in repr(layer)


@pytest.mark.parametrize(
    "make",
    [
        lambda: snn.LIF(2, 3, solver="fast"),
        lambda: snn.RecurrentLIF(2, 3, solver="fast"),
        lambda: snn.LIFConv2d(2, 3, 3, solver="fast"),
        lambda: snn.functional.lif(torch.zeros(2, 1), torch.ones(3, 2), solver="fast"),
    ],
)
def test_an_unknown_solver(make):
    # Recurrent layers have a third.
    expected = (
        r'solver must be "auto", "lockstep"( or "chunked"|, "chunked" or "lists"), got \'fast'
    )
    with pytest.raises(ValueError, match=expected):
        make()
