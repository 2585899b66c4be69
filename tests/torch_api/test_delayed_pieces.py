"""Layers with delays of their input that run a stream in pieces."""

import pytest
import torch

from evtorch import jax_core
from evtorch import torch_api as snn
from evtorch.torch_api import functional as F

from .._thorough import usual
from ._pieces import END, PIECES, compared, pieces_of, stream

F64 = torch.float64
MASK = torch.rand(6, 7, generator=torch.Generator().manual_seed(3)) < 0.6
CASES = {
    "axonal": (snn.LIF, {"delay": "axonal"}),
    "synaptic": (snn.LIF, {"delay": "synaptic"}),
    "masked": (snn.LIF, {"delay": "synaptic", "mask": MASK, "refractory": 4e-3}),
    "masked axonal": (snn.LIF, {"delay": "axonal", "mask": MASK}),
    "recurrent": (snn.RecurrentLIF, {"delay": "axonal", "recurrent_delay": "axonal"}),
    "model": (snn.IF, {"delay": "synaptic"}),
    "masked model": (snn.IF, {"delay": "synaptic", "mask": MASK}),
    "recurrent model": (snn.RecurrentIF, {"delay": "axonal"}),
}


def layer_of(case, **options):
    torch.manual_seed(0)
    kind, given = CASES[case]
    layer = kind(7, 6, t_max=END, max_spikes=60, dtype=F64, **{**given, **options})
    with torch.no_grad():
        layer.weight.mul_(1.5)
        for name in ("delay", "recurrent_delay"):
            # Up to more than two pieces.
            if getattr(layer, name, None) is not None:
                getattr(layer, name).uniform_(0, 0.09)
    return layer


@pytest.mark.parametrize("case", usual(("axonal", "masked", "recurrent"), CASES))
def test_pieces_are_what_one_run_is(case):
    state = compared(layer_of(case), rtol=1e-12)
    assert isinstance(state, snn.DelayedState)
    assert state.arrivals.isfinite().any()
    assert (state.arrivals > 0).all()


def test_a_spike_arrives_in_one_piece_only():
    """Also one that arrives at the very end, or before it is sent anew with the state cut off."""
    layer = snn.IF(1, 1, delay=torch.full((1, 1), 0.04, dtype=F64), t_max=0.04, dtype=F64)
    weight = layer.weight.data.fill_(1e-3)
    spikes = torch.tensor([[[0.0, 0.01, 0.03, 0.05]]], dtype=F64)  # The last is no part of this.
    _, state = layer(spikes, return_state=True)
    torch.testing.assert_close(state.state.state.i, weight)
    torch.testing.assert_close(state.arrivals[0, 0], torch.tensor([0.01, 0.03], dtype=F64))
    _, state = layer(spikes[..., :0], state, return_state=True)
    assert state.arrivals.shape == (1, 1, 0)


def test_events_and_sizes():
    """Address events, axes of samples, more of them than a program has, and a current alone."""
    layer, spikes = layer_of("axonal"), stream()
    layer.t_max = END / PIECES
    _, piece = next(iter(pieces_of(spikes)))
    out, state = layer(piece, return_state=True)
    events = snn.events_from_spike_times(piece)
    torch.testing.assert_close(layer(events, return_state=True), (out, state))
    few, end = layer(piece.unflatten(0, (2, 2)), return_state=True)
    assert torch.equal(few.flatten(0, 1), out)
    assert end.arrivals.shape[:-1] == (2, 2, 7)
    assert torch.equal(layer(piece.repeat(5, 1, 1), return_state=True)[0][:4], out)
    torch.testing.assert_close(layer(piece, current=0.0), out, rtol=1e-12, atol=0)


def test_errors_name_the_argument():
    layer, spikes = layer_of("synaptic"), stream()
    _, state = layer(spikes, return_state=True)
    wrong = [
        (state.state, TypeError, "state must be the DelayedState"),
        (state._replace(state=(1,)), TypeError, "state must be the LIFState"),
        (state._replace(arrivals=state.arrivals[:2]), ValueError, "arrivals has shape"),
        (state._replace(arrivals=state.arrivals[:, :7]), ValueError, "state.arrivals of shape"),
        (state._replace(arrivals=state.arrivals.float()), TypeError, "state.arrivals"),
    ]
    for given, error, message in wrong:
        with pytest.raises(error, match=message):
            layer(spikes, given)
    given = {"connections": jax_core.SynapticDelays(layer.delay.detach()), "return_state": True}
    with pytest.raises(ValueError, match="return_state=True does not go with delays of"):
        F.lif(spikes, layer.weight, t_max=END, **given)
    recurrent = snn.RecurrentLIF(7, 6, delay="synaptic", t_max=END, dtype=F64)
    with pytest.raises(ValueError, match="for layers without delay='synaptic': where neurons are"):
        recurrent(spikes, return_state=True)
