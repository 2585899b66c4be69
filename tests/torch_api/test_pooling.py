"""Pooling by the first spikes of regions, and flattening."""

from typing import Any

import pytest
import torch
from torch import nn

from evtorch import torch_api as snn

from ._networks import INF, gradient, spikes


@pytest.mark.parametrize(
    ("size", "options"),
    [
        (2, {}),
        ((3, 2), {"stride": (2, 1), "padding": 1}),
        (3, {"stride": 2, "padding": (1, 0)}),
    ],
)
def test_first_spikes_are_what_max_pooling_takes_of_negative_times(size, options):
    times = spikes(2, 3, 5, 6, 1)
    times[0, :, 1:3] = INF
    expected = -nn.MaxPool2d(size, **options)(-times[..., 0])
    assert torch.equal(snn.FirstSpikePool2d(size, **options)(times)[..., 0], expected)


def test_all_spikes_of_a_region_are_merged_and_the_first_are_kept():
    times = spikes(2, 1, 4, 4, 3).requires_grad_()
    pooled = snn.FirstSpikePool2d(2)(times)
    assert pooled.shape == (2, 1, 2, 2, 3)
    region = times[1, 0, 2:, :2].flatten()
    expected = region.sort().values[:3]
    assert torch.equal(pooled[1, 0, 1, 0], expected)
    pooled[1, 0, 1, 0].sum().backward()
    taken = gradient(times)
    assert taken.sum() == 3
    assert torch.equal(times.detach()[taken == 1].sort().values, expected.detach())


def test_gradients_of_pooling():
    times = spikes(2, 4, 4, 2).requires_grad_()
    assert torch.autograd.gradcheck(snn.FirstSpikePool2d(2), (times,), eps=1e-7, atol=1e-6)


def test_ties_and_silence_in_a_region_keep_gradients_finite():
    times = torch.full((1, 2, 2, 1), INF).requires_grad_()
    out = snn.FirstSpikePool2d(2)(times)
    assert (out == INF).all()
    torch.where(out < INF, out, 0).sum().backward()
    assert (gradient(times) == 0).all()
    tied = torch.full((1, 2, 2, 1), 1e-3).requires_grad_()
    snn.FirstSpikePool2d(2)(tied).sum().backward()
    assert gradient(tied).sum() == pytest.approx(1)


def test_empty_batches_and_slots():
    assert snn.FirstSpikePool2d(2)(torch.zeros(0, 3, 4, 4, 2)).shape == (0, 3, 2, 2, 2)
    assert snn.FirstSpikePool2d(2)(torch.zeros(1, 3, 4, 4, 0)).shape == (1, 3, 2, 2, 0)
    assert snn.FlattenSpikes()(torch.zeros(0, 3, 4, 4, 2)).shape == (0, 48, 2)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((0,), "kernel_size must be one or two whole numbers >= 1"),
        (((2, 2, 2),), "kernel_size must be one or two whole numbers"),
        ((2, 0), "stride must be one or two whole numbers >= 1"),
        ((2, 1, -1), "padding must be one or two whole numbers >= 0"),
        ((2, 1, 2), r"padding must be at most half of kernel_size = \(2, 2\)"),
        ((True,), "kernel_size must be"),
    ],
)
def test_pooling_refuses_arguments(arguments: Any, problem: str):
    with pytest.raises(ValueError, match=problem):
        snn.FirstSpikePool2d(*arguments)


def test_other_inputs_are_refused():
    with pytest.raises(ValueError, match=r"kernel_size = \(3, 3\) is larger than the input"):
        snn.FirstSpikePool2d(3)(spikes(1, 2, 4, 1))
    with pytest.raises(ValueError, match=r"spikes must have shape \(..., C, H, W, k\)"):
        snn.FirstSpikePool2d(2)(spikes(4, 4, 1))
    events: Any = snn.events_from_spike_times(spikes(4, 1))
    with pytest.raises(TypeError, match="tensor"):
        snn.FirstSpikePool2d(2)(events)
    with pytest.raises(TypeError, match="tensor"):
        snn.FlattenSpikes(1)(events)
    with pytest.raises(ValueError, match="spikes must have at least 4 axes"):
        snn.FlattenSpikes()(spikes(4, 4, 1))
    with pytest.raises(ValueError, match="axes must be"):
        snn.FlattenSpikes(0)


def test_flattening_is_in_the_order_of_torch():
    times = spikes(2, 3, 2, 2, 1)
    assert torch.equal(snn.FlattenSpikes()(times)[..., 0], times[..., 0].flatten(1))
    assert torch.equal(snn.FlattenSpikes(2)(times), times.flatten(2, 3))
    assert repr(snn.FlattenSpikes(2)) == "FlattenSpikes(axes=2)"
