"""Layers of neurons of all models that run a stream in pieces."""

import math

import pytest
import torch
from torch.utils import _pytree

from evtorch import torch_api as snn

from .._thorough import usual
from ._pieces import END, PIECES, compared, pieces_of, stream

F64 = torch.float64
LAYERS = {
    "IF": {"learn": ("tau_syn", "v_reset"), "refractory": 4e-3},
    "AdaptiveLIF": {"learn": ("tau_w", "b", "v_leak", "refractory"), "refractory": 4e-3, "a": 0.5},
    "AlphaLIF": {"learn": ("tau_mem", "v_threshold")},
    "DeltaLIF": {"v_leak": 1.1, "learn": ("tau_mem", "v_leak"), "refractory": 4e-3},
    "QIF": {"learn": ("current", "tau_mem")},
}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def untaught(kind):
    """Spikes of delta neurons come with an input, so that weights do not move them."""
    return ("weight",) if kind == "DeltaLIF" else ()


@pytest.mark.parametrize("kind", usual(("DeltaLIF", "QIF"), LAYERS))
def test_pieces_are_what_one_run_is(kind):
    layer = getattr(snn, kind)(7, 6, t_max=END, max_spikes=60, dtype=F64, **LAYERS[kind])
    with torch.no_grad():
        layer.weight.mul_(1.5)
    assert isinstance(compared(layer, without_gradient=untaught(kind)), snn.LayerState)


@pytest.mark.parametrize(
    ("kind", "delay"),
    usual(
        [("IF", "axonal")],
        [(kind, delay) for kind in LAYERS if kind != "QIF" for delay in (None, "axonal")],
    ),
)
def test_recurrent_layers_run_in_pieces(kind, delay):
    options = {"t_max": END, "max_spikes": 60, "dtype": F64, "recurrent_delay": delay}
    layer = getattr(snn, f"Recurrent{kind}")(7, 6, **options, **LAYERS[kind])
    if delay:
        torch.nn.init.uniform_(layer.recurrent_delay, 0, 0.05)
    state = compared(layer, rtol=1e-11, without_gradient=untaught(kind))
    assert isinstance(state, snn.RecurrentLayerState)
    assert (state.arrivals.shape[-1] > 0) == (delay is not None)


def test_gradients_reach_the_state():
    layer, spikes = snn.IF(7, 3, t_max=END, max_spikes=40, dtype=F64), stream()[:2]
    layer.weight.requires_grad_(False)
    _, state = layer(spikes, return_state=True)
    leaves, structure = _pytree.tree_flatten(state)
    leaves = [leaf.detach().requires_grad_() for leaf in leaves]

    def run(*leaves):
        given = _pytree.tree_unflatten(leaves, structure)
        out, end = layer(spikes, state=given, return_state=True)
        return torch.where(out.isfinite(), out, 0), *end.state

    *own, refractory = leaves
    assert torch.autograd.gradcheck(run, (*own, refractory.detach()), eps=1e-7, rtol=1e-5)


def test_sizes_and_forms():
    """More samples than a program has, none, axes, and convolutions; and torch's compiler."""
    layer = snn.IF(7, 6, t_max=END, max_spikes=20, on_overflow="truncate")
    spikes = torch.rand(19, 7, 1) * END
    out, state = layer(spikes, return_state=True)
    again, _ = layer(spikes, state, return_state=True)
    few = _pytree.tree_map(lambda x: x[:4], state)
    torch.testing.assert_close(layer(spikes[:4], few), again[:4])
    folded, (own, _) = layer(spikes[:18].unflatten(0, (3, 6)), return_state=True)
    assert torch.equal(folded.flatten(0, 1), out[:18])
    assert own.v.shape == (3, 6, 6)
    none, empty = layer(spikes[:0], return_state=True)
    assert (none.shape, empty.refractory.shape) == ((0, 6, 20), (0, 6))
    conv = snn.IFConv2d(2, 3, 3, t_max=END, max_spikes=8)
    image = torch.rand(2, 2, 5, 5, 1) * END
    _, state = conv(image, return_state=True)
    assert {x.shape for x in _pytree.tree_leaves(state)} == {(2, 3, 3, 3)}
    assert conv(image, state).shape == (2, 3, 3, 3, 8)
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    found, end = compiled(spikes, return_state=True)
    assert torch.equal(found, out)
    end = _pytree.tree_map(torch.Tensor.detach, end)
    assert torch.equal(compiled(spikes, end), again)


def test_traces_show_what_the_state_has():
    layer, spikes = snn.IF(7, 6, t_max=END, max_spikes=20, dtype=F64), stream()
    out, end = layer(spikes, return_state=True)
    looks = {"times": torch.tensor([END], dtype=F64), "output": out}
    for name, value in end.state._asdict().items():
        found = layer.trace(spikes, **looks, quantity=name)[..., 0]
        torch.testing.assert_close(found, value, rtol=1e-11, atol=1e-13)
    with pytest.raises(ValueError, match=r"quantity must be .*\['v', 'i'\], got 'w'"):
        layer.trace(spikes, **looks, quantity="w")


def test_neurons_that_have_spiked_do_not_do_so_again():
    layer = snn.IF(7, 6, t_max=END / PIECES, refractory=math.inf, dtype=F64)
    state, counts = None, torch.zeros(4, 6)
    for _, piece in pieces_of(stream()):
        out, state = layer(piece, state, return_state=True)
        counts += out[..., 0].isfinite()
    assert counts.max() == 1


STATE = snn.IF(7, 6, t_max=END, dtype=F64)(torch.zeros(4, 7, 0, dtype=F64), return_state=True)[1]
OWN = STATE.state
WRONG = [
    ({"state": (1, 2)}, TypeError, "state must be the LayerState"),
    ({"state": STATE._replace(state=tuple(OWN))}, TypeError, "state must be the LayerState that a"),
    ({"state": STATE._replace(state=OWN._replace(v=OWN.v.float()))}, TypeError, r"state\.state\.v"),
    ({"state": STATE._replace(state=OWN._replace(i=OWN.i / 0))}, ValueError, r"state\.state\.i"),
    ({"state": STATE._replace(state=OWN._replace(v=OWN.v[:2]))}, ValueError, r"state\.v has shape"),
    ({"state": STATE._replace(refractory=OWN.v - 1)}, ValueError, "refractory must be >= 0"),
]


@pytest.mark.parametrize(("options", "error", "message"), WRONG)
def test_errors_name_the_argument(options, error, message):
    with pytest.raises(error, match=message):
        snn.IF(7, 6, t_max=END, dtype=F64)(stream(), **options)


def test_what_cannot_stop_in_the_middle_says_so():
    with pytest.raises(ValueError, match="state and return_state are for layers without silent"):
        snn.IF(7, 6, t_max=END, dtype=F64, silent="peak")(stream(), return_state=True)
    with pytest.raises(ValueError, match="t_max must be finite with return_state"):
        snn.IF(7, 6, dtype=F64)(stream(), return_state=True)
    with pytest.raises(ValueError, match="not for neurons with pseudospikes"):
        snn.QIF(7, 6, t_max=END, pseudospikes=True, dtype=F64)(stream(), return_state=True)
    with pytest.raises(TypeError, match="state must be the RecurrentLayerState"):
        snn.RecurrentIF(7, 6, t_max=END, dtype=F64)(stream(), STATE)
