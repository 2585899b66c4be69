"""A stream of spikes in pieces: what layers give of these is what they give of the whole."""

import torch

END, PIECES = 0.12, 3


def stream(seed=0):
    torch.manual_seed(seed)
    return torch.sort(torch.rand(4, 7, 3, dtype=torch.float64), dim=-1).values * END


def pieces_of(spikes):
    """The begin of each piece, and its spikes, from there on."""
    length = END / PIECES
    for begin in (0.0, length, 2 * length):
        here = (spikes >= begin) & (spikes < begin + length)
        yield begin, torch.where(here, spikes - begin, torch.inf).sort(dim=-1).values


def compared(layer, rtol=1e-12, without_gradient=()):
    """One run and pieces: their spikes, and gradients of weights and constants.

    **Returns:** the state at the end.
    """
    spikes = stream()
    whole = layer(spikes)
    assert whole.isfinite().sum() > 20
    whole[whole.isfinite()].square().sum().backward()
    expected = [parameter.grad.clone() for parameter in layer.parameters()]
    layer.zero_grad()
    layer.t_max = END / PIECES
    state, found = None, []
    for begin, piece in pieces_of(spikes):
        out, state = layer(piece, state=state, return_state=True)
        found.append(out + begin)
    pieces = torch.cat(found, dim=-1).sort(dim=-1).values[..., : whole.shape[-1]]
    torch.testing.assert_close(pieces, whole, rtol=rtol, atol=0)
    pieces[pieces.isfinite()].square().sum().backward()
    for (name, parameter), gradient in zip(layer.named_parameters(), expected, strict=True):
        size = gradient.abs().max()
        assert size > 0 or name in without_gradient, name
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-9, atol=1e-11 * size)
    assert layer.last_call is None
    return state
