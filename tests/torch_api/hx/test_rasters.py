"""Dense rasters between experiments: what keeps exact times, and so gradients, and what not."""

import pytest
import torch

from evtorch.torch_api import hx
from evtorch.torch_api.hx.engines._raster import exact_times, times_of

from ._networks import CONSTANTS, Network, encoded, exact

MASK = torch.tensor([1, 0, 1, 1, 0, 1, 1, 0])


def second(spikes, weight):
    """Voltages of two leaky integrators behind ``spikes``, in an experiment of their own."""
    exp = hx.Experiment(mock=True)
    synapse, li = (
        hx.Synapse(weight.shape[1], 2, exp, dtype=torch.float64),
        hx.LI(2, exp, **CONSTANTS),
    )
    with torch.no_grad():
        synapse.weight.copy_(weight)
    out = li(synapse(hx.LIFObservables(spikes=spikes)))
    hx.run(exp, 40)
    return out.membrane_cadc


def weight(neurons):
    return torch.randn(
        2, neurons, dtype=torch.float64, generator=torch.Generator().manual_seed(neurons)
    )


@pytest.mark.parametrize(
    ("change", "used", "neurons"),
    [
        (lambda z: z[:, :, :2], slice(None), [0, 1]),
        (lambda z: z[..., [5, 3]], slice(None), [5, 3]),
        (lambda z: z[:, 1:][:, ..., MASK.bool()], slice(1, 3), MASK.nonzero()[:, 0]),
        (lambda z: z * MASK, slice(None), MASK),
        (lambda z: MASK.double()[None, None] * z, slice(None), MASK),
        (
            lambda z: torch.cat([z[..., 4:], z[..., :4]], dim=-1),
            slice(None),
            [4, 5, 6, 7, 0, 1, 2, 3],
        ),
        (lambda z: torch.cat([z[:, :1], z[:, 1:]], 1), slice(None), range(8)),
    ],
)
def test_gradients_pass_where_times_are_known(change, used, neurons):
    network, spikes = Network(), encoded()
    network(spikes)
    if neurons is MASK:
        w = weight(8)
        same = w * MASK
    else:
        w = weight(len(neurons))
        same = torch.zeros(2, 8, dtype=torch.float64)
        same[:, list(neurons)] = w
    changed = change(network.hidden.spikes)
    assert bool(((changed == 0) | (changed == 1)).all())
    found = second(changed, w)
    expected = second(network.hidden.spikes, same)[:, used]
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found.square().sum(), network.first.weight, retain_graph=True)
    (whole,) = torch.autograd.grad(expected.square().sum(), network.first.weight)
    assert gradient.abs().sum() > 0
    torch.testing.assert_close(gradient, whole)


@pytest.mark.parametrize(
    "change",
    [
        lambda z: z[4:],
        lambda z: z.flip(0),
        lambda z: z * z,
        lambda z: torch.cat([z, 1 - z], dim=2)[:, :, :8],
        lambda z: z * torch.ones(8, dtype=torch.float64, requires_grad=True),
    ],
)
def test_gradients_never_vanish_in_silence(change):
    network = Network()
    network(encoded())
    changed = change(network.hidden.spikes)
    with pytest.raises(ValueError, match=r"Synapse\(8, 2\): its input spikes need a gradient.*cat"):
        second(changed, weight(8))
    with torch.no_grad():
        assert second(changed, weight(8)).shape[1:] == (3, 2)
    second(changed.detach(), weight(8))


def test_only_the_steps_of_a_raster_count_where_steps_differ():
    """As in hxtorch, a raster that was drawn with other steps is played with those of the run."""
    raster = encoded()
    played = times_of(raster, 2e-6)
    torch.testing.assert_close(played, 2 * exact(raster))
    encode = hx.transforms.encode.SpikeTimesToDense(1.0, 40)  # times in steps
    in_steps = encode(exact(raster)[..., 0] * 1e6)
    network = Network()
    expected = network(raster)
    assert network.hidden.spikes.sum() > 0
    torch.testing.assert_close(network(in_steps), expected)


def test_parts_of_unlike_rasters_join():
    given = encoded()
    plain = torch.zeros(40, 3, 2, dtype=torch.float64)
    plain[7, :, 1] = 1
    both = torch.cat([given, plain], dim=2)
    assert torch.equal(exact(both)[:, :5], exact(given))
    assert exact(both)[:, 6].tolist() == [[pytest.approx(7e-6)]] * 3
    assert exact_times(torch.cat([given, 0.5 * plain], dim=2)) is None
    assert exact_times(torch.cat([given, given], dim=0)) is None


def test_rasters_of_integers_keep_exact_times():
    """The encoder gives int64; a gradient passes on through a conversion to floats only."""
    times = torch.tensor([[2.4e-6, 7.7e-6]], dtype=torch.float64, requires_grad=True)
    raster = hx.transforms.encode.SpikeTimesToDense(1e-6, 10)(times)
    assert raster.dtype == torch.int64
    for same in (raster, raster.repeat(1, 1, 1), raster[..., :1], raster.float().bool()):
        assert torch.equal(exact(same)[..., 0], times[:, : same.shape[2]].to(exact(same).dtype))
    assert exact(raster.double()).requires_grad
    assert exact(raster.float()).dtype == torch.float32
    assert not exact(raster.double().int()).requires_grad
    assert times_of(raster, 1e-6, dtype=torch.float32).dtype == torch.float32
    exp = hx.Experiment(mock=True)
    synapse = hx.Synapse(2, 1, exp)
    weighted = synapse(hx.LIFObservables(spikes=raster))
    hx.run(exp)
    torch.testing.assert_close(weighted.graded_spikes, raster.float() @ synapse.weight.T)
    sparse = hx.transforms.encode.SpikeTimesToSparseTensor(1e-6, 7)(times)
    assert sparse.is_sparse
    assert torch.equal(sparse.to_dense(), raster[:7].as_subclass(torch.Tensor))
