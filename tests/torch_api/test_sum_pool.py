"""All spikes of regions, and axes for flat neurons, against plain references."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from evtorch import torch_api as snn


def spikes(neurons: int, k: int) -> Tensor:
    times = torch.as_tensor(np.random.default_rng(1).uniform(0, 1e-2, (3, neurons, k)))
    times[0, 0] = math.inf
    return times.sort(-1).values


@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(2, None, 0), ((3, 2), (2, 1), (1, 1)), (1, 2, 0)]
)
def test_a_pool_hands_on_all_spikes_of_its_regions(size: Any, stride: Any, padding: Any) -> None:
    times = spikes(40, 3).unflatten(-2, (2, 5, 4)).requires_grad_()
    pool = snn.SumPool2d(size, stride, padding)
    out = pool(times)
    (up, left), (high, wide), (down, right) = pool.padding, pool.kernel_size, pool.stride
    assert out.shape[-1] == 3 * high * wide
    uses = np.zeros(times.shape)
    plain = times.detach().numpy()
    for sample, channel, y, x in np.ndindex(*out.shape[:-1]):
        rows = slice(max(y * down - up, 0), max(y * down - up + high, 0))
        columns = slice(max(x * right - left, 0), max(x * right - left + wide, 0))
        region = plain[sample, channel, rows, columns]
        uses[sample, channel, rows, columns] += 1
        found = out[sample, channel, y, x].detach().numpy()
        assert np.array_equal(found[: region.size], np.sort(region, axis=None))
        assert np.isinf(found[region.size :]).all()
    (grad,) = torch.autograd.grad(out[out.isfinite()].sum(), times)
    assert np.array_equal(grad.numpy(), np.where(np.isfinite(plain), uses, 0))


def test_flat_neurons_get_axes() -> None:
    unflatten = snn.UnflattenSpikes((2, 5, 4))
    times = spikes(40, 3)
    assert torch.equal(snn.FlattenSpikes()(unflatten(times)), times)
    found = unflatten(snn.events_from_spike_times(times))
    assert torch.equal(found[..., :3], times.unflatten(-2, (2, 5, 4)))
    assert found[..., 3:].isinf().all()
    with pytest.raises(ValueError, match="40"):
        unflatten(spikes(39, 1))
    with pytest.raises(ValueError, match="shape must have one or more sizes >= 1, got"):
        snn.UnflattenSpikes((2, 0))
    with (
        snn.validation(False),
        pytest.raises(TypeError, match="where torch traces or validation is off, not Events"),
    ):
        unflatten(snn.events_from_spike_times(times))
