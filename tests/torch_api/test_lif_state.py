"""Layers that run a stream in pieces."""

import pytest
import torch

from evtorch import torch_api as snn
from evtorch.torch_api import functional as F

from .._thorough import usual
from ._pieces import END, compared, stream


@pytest.mark.parametrize(
    "options",
    usual(
        [{"learn": ("tau_mem", "v_leak")}],
        [{}, {"refractory": 0.004}, {"learn": ("tau_mem", "v_leak")}],
    ),
)
def test_pieces_are_what_one_run_is(options):
    compared(snn.LIF(7, 6, t_max=END, max_spikes=60, dtype=torch.float64, **options), rtol=1e-11)


def test_gradients_of_state_and_current():
    spikes = stream(1)
    weight = torch.randn(6, 7, dtype=torch.float64, requires_grad=True)
    state = [torch.rand(4, 6, dtype=torch.float64, requires_grad=True) * 0.5 for _ in range(2)]
    current = torch.rand(4, 6, dtype=torch.float64, requires_grad=True)
    left = torch.zeros(4, 6, dtype=torch.float64)

    def run(weight, v, i, current):
        out, end = F.lif(
            spikes,
            weight,
            current=current,
            state=snn.LIFState(v, i, left),
            return_state=True,
            t_max=END,
            max_spikes=40,
        )
        return torch.where(out.isfinite(), out, 0), end.v, end.i

    assert torch.autograd.gradcheck(run, (weight, *state, current), eps=1e-7, rtol=1e-5)


def test_convolutions_have_states_of_their_neurons():
    layer = snn.LIFConv2d(2, 3, 3, t_max=0.05, max_spikes=8)
    spikes = torch.rand(2, 2, 5, 5, 1) * 0.04
    out, state = layer(spikes, return_state=True)
    assert out.shape == (2, 3, 3, 3, 8)
    assert {x.shape for x in state} == {(2, 3, 3, 3)}
    again = layer(spikes, state=snn.LIFState(*(x.detach() for x in state)))
    assert again.shape == out.shape


def test_events_and_training_state():
    layer = snn.LIF(7, 6, t_max=END, max_spikes=20, dtype=torch.float64)
    spikes = stream()
    of_times, end = layer(spikes, current=0.2, return_state=True)
    of_events, last = layer(snn.events_from_spike_times(spikes), current=0.2, return_state=True)
    torch.testing.assert_close(of_events, of_times, rtol=1e-12, atol=0)
    torch.testing.assert_close(last.v, end.v)
    # What silent_loss reads is that of a layer at rest.
    assert layer.last_call is None
    assert snn.health_report(layer).layers[0].samples == 4


STATE = snn.LIFState(*(torch.zeros(4, 6, dtype=torch.float64) for _ in range(3)))
WRONG = [
    ({"state": (1, 2)}, TypeError, "state must be the LIFState"),
    ({"state": STATE._replace(v=STATE.v.float())}, TypeError, "state.v"),
    ({"state": STATE._replace(i=STATE.i / 0)}, ValueError, r"state\.i must not be NaN"),
    ({"state": STATE._replace(refractory=STATE.v - 1)}, ValueError, "refractory must be >= 0"),
    ({"state": STATE._replace(v=STATE.v[:2])}, ValueError, r"state\.v has shape"),
    ({"state": STATE._replace(i=STATE.i + torch.inf)}, ValueError, r"state\.i must be finite"),
    ({"current": float("nan")}, ValueError, "current must not be NaN"),
    ({"current": torch.full((6,), torch.inf, dtype=torch.float64)}, ValueError, "current must be"),
    ({"current": [0.1] * 6}, TypeError, "current must be a number or a tensor"),
    ({"current": torch.zeros(5, dtype=torch.float64)}, ValueError, "current has shape"),
]


@pytest.mark.parametrize(("options", "error", "message"), WRONG)
def test_errors_name_the_argument(options, error, message):
    layer = snn.LIF(7, 6, t_max=END, dtype=torch.float64)
    with pytest.raises(error, match=message):
        layer(stream(), **options)


@pytest.mark.parametrize("options", [{"delay": "dendritic"}, {"silent": "peak"}])
def test_layers_that_cannot_stop_in_the_middle_say_so(options):
    with pytest.raises(ValueError, match="state, return_state and current are for layers without"):
        snn.LIF(7, 6, t_max=END, **options)(stream().float(), return_state=True)


def test_an_end_is_needed():
    with pytest.raises(ValueError, match="t_max must be finite with return_state"):
        snn.LIF(7, 6)(stream().float(), return_state=True)


@pytest.mark.parametrize(
    "options", usual([{"recurrent_delay": "axonal"}], [{}, {"recurrent_delay": "axonal"}])
)
def test_recurrent_layers_run_in_pieces(options):
    torch.manual_seed(0)
    layer = snn.RecurrentLIF(7, 6, t_max=END, max_spikes=60, dtype=torch.float64, **options)
    if layer.recurrent_delay is not None and layer.recurrent_delay.requires_grad:
        torch.nn.init.uniform_(layer.recurrent_delay, 0, 0.05)
    state = compared(layer, rtol=1e-10)
    assert isinstance(state, snn.RecurrentLIFState)
    assert (state.arrivals.shape[-1] > 0) == bool(options)


def test_a_state_of_no_samples():
    for layer in (
        snn.LIF(7, 6, t_max=END),
        snn.RecurrentLIF(7, 6, t_max=END, recurrent_delay=1e-3),
        snn.RecurrentLIF(7, 6, t_max=END),
    ):
        out, state = layer(torch.zeros(0, 7, 2), return_state=True)
        assert out.shape == (0, 6, 1)
        assert state.v.shape == (0, 6)
        again, _ = layer(torch.zeros(0, 7, 2), state, return_state=True)
        assert again.shape == (0, 6, 1)


def test_recurrent_layers_say_what_is_wrong_with_a_state():
    layer = snn.RecurrentLIF(7, 6, t_max=END, dtype=torch.float64)
    with pytest.raises(TypeError, match="state must be the RecurrentLIFState"):
        layer(stream(), state=STATE)
    layer = snn.RecurrentLIF(7, 6, t_max=END, recurrent_delay="synaptic")
    with pytest.raises(ValueError, match="layers without recurrent_delay='synaptic'"):
        layer(stream().float(), current=0.1)


@pytest.mark.parametrize("kind", usual({"recurrent"}, ["lif", "recurrent", "projections"]))
def test_pieces_under_torchs_compiler(kind):
    torch.manual_seed(0)
    options = {"t_max": END, "max_spikes": 60, "on_overflow": "truncate", "dtype": torch.float64}
    layer = {
        "lif": lambda: snn.LIF(7, 3, **options),
        "recurrent": lambda: snn.RecurrentLIF(7, 3, **options),
        "projections": lambda: snn.Projections(
            {"exc": snn.Projection(4), "inh": snn.Projection(3, tau_syn=4e-3)}, 3, **options
        ),
    }[kind]()
    spikes = stream()
    given = {"exc": spikes[:, :4], "inh": spikes[:, 4:]} if kind == "projections" else spikes

    def run(given):
        out, state = layer(given, return_state=True)
        return out, state.v

    compiled = torch.compile(run, backend="eager", fullgraph=True)
    for found, expected in zip(compiled(given), run(given), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
