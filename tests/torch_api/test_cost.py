"""Synaptic operations, counted one by one in plain loops."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from evtorch import torch_api as snn

from ._networks import spikes


def with_holes(weight: torch.Tensor) -> None:
    with torch.no_grad():
        weight[torch.rand(weight.shape) < 0.3] = 0


def by_hand(times: torch.Tensor, weight: torch.Tensor, t_max: float) -> int:
    count = 0
    for sample in times:
        for neuron, own in enumerate(sample):
            for time in own:
                if time.isfinite() and time <= t_max:
                    count += int((weight[:, neuron] != 0).sum())
    return count


def test_layers_of_spikes():
    torch.manual_seed(0)
    lif = snn.LIF(5, 7, max_spikes=4, t_max=1.5e-2, on_overflow="truncate").double()
    recurrent = snn.RecurrentLIF(7, 4, max_spikes=4, t_max=2e-2, on_overflow="truncate").double()
    readout = snn.LI(4, 3, t_max=2e-2).double()
    model = nn.Sequential(lif, recurrent, readout)
    for weight in (lif.weight, recurrent.weight, recurrent.recurrent_weight, readout.weight):
        with torch.no_grad():
            weight.abs_().mul_(2)
        with_holes(weight)
    inputs = spikes(6, 5, 3)
    hidden = lif(inputs)
    out = recurrent(hidden)
    found = snn.cost(model, inputs)
    first, second, third = found.layers
    assert first.inputs == pytest.approx(int((inputs <= 1.5e-2).sum()) / 6)
    assert first.operations == pytest.approx(by_hand(inputs, lif.weight, 1.5e-2) / 6)
    assert first.spikes == pytest.approx(int(hidden.isfinite().sum()) / 6)
    assert second.inputs == first.spikes != 0
    own = by_hand(out, recurrent.recurrent_weight, math.inf)
    assert own > 0
    into = by_hand(hidden, recurrent.weight, 2e-2)
    assert second.operations == pytest.approx((into + own) / 6)
    assert second.dense == 7 * 4 + 4 * 4
    assert third.operations == pytest.approx(by_hand(out, readout.weight, 2e-2) / 6)
    assert third.spikes is None
    assert found.total("MAC") == 0
    assert found.footprint == 8 * (35 + 28 + 16 + 12)
    assert str(found).splitlines()[-1].startswith(f"{found.total('AC'):.0f} AC and 0 MAC")


def test_layers_of_neuron_models():
    torch.manual_seed(0)
    layer = snn.RecurrentIF(5, 4, max_spikes=6, t_max=3e-2, on_overflow="truncate").double()
    with_holes(layer.weight)
    with_holes(layer.recurrent_weight)
    inputs = spikes(6, 5, 3)
    out = layer(inputs)
    (found,) = snn.cost(layer, inputs).layers
    expected = by_hand(inputs, layer.weight, 3e-2) + by_hand(out, layer.recurrent_weight, 3e-2)
    assert found.operations == pytest.approx(expected / 6)
    quadratic = snn.QIF(5, 3, pseudospikes=True, t_max=1e-2).double()
    (found,) = snn.cost(quadratic, inputs).layers
    assert found.spikes == pytest.approx(int((quadratic(inputs) <= 1e-2).sum()) / 6)


def test_lists_and_convolutions():
    torch.manual_seed(0)
    mask = torch.rand(6, 5) < 0.5
    mask[:, 0] = True
    sparse = snn.LIF(5, 6, mask=mask, refractory=math.inf).double()
    inputs = spikes(4, 5, 2)
    (found,) = snn.cost(sparse, inputs).layers
    dense = torch.zeros(6, 5, dtype=torch.float64)
    dense[mask] = sparse.weight.detach()
    assert found.operations == pytest.approx(by_hand(inputs, dense, math.inf) / 4)
    assert found.dense == int(mask.sum())

    among = torch.rand(6, 6) < 0.5
    options = {"mask": mask, "recurrent_mask": among, "max_spikes": 4, "t_max": 3e-2}
    recurrent = snn.RecurrentLIF(5, 6, **options, on_overflow="truncate").double()
    out = recurrent(inputs)
    own = by_hand(out, recurrent.dense_recurrent_weight(), 3e-2)
    expected = by_hand(inputs, recurrent.dense_weight(), 3e-2) + own
    assert own > 0
    for given in (inputs, snn.events_from_spike_times(inputs)):
        (found,) = snn.cost(recurrent, given).layers
        assert found.operations == pytest.approx(expected / 4)
        assert found.dense == int(mask.sum() + among.sum())

    conv = snn.LIFConv2d(2, 3, 3, padding=1, stride=2, refractory=math.inf).double()
    with_holes(conv.weight)
    image = spikes(4, 2, 6, 6, 1)
    image[torch.rand(image.shape) < 0.5] = math.inf
    (found,) = snn.cost(conv, image).layers
    numbers = image[..., 0].isfinite().double()
    weight = (conv.weight != 0).double()
    expected = nn.functional.conv2d(numbers, weight, stride=2, padding=1).sum()
    assert found.operations == pytest.approx(float(expected) / 4)


def test_delays_and_address_events():
    late = snn.LIF(3, 2, delay=5e-3, t_max=1e-2, refractory=math.inf)
    with torch.no_grad():
        late.weight.fill_(1.0)
    times = torch.tensor([[[1e-3], [4e-3], [8e-3]]])
    assert snn.cost(late, times).layers[0].operations == 4
    events = snn.events_from_spike_times(times)
    assert snn.cost(late, events).layers[0].operations == 4


def test_projections():
    layer = snn.Projections(
        {"a": snn.Projection(3), "b": snn.Projection(2)}, 4, refractory=math.inf
    )
    inputs = {"a": torch.rand(5, 3, 1) * 1e-2, "b": torch.rand(5, 2, 2).sort().values * 1e-2}
    (found,) = snn.cost(layer, inputs).layers
    assert found.inputs == 3 + 4
    assert found.operations == (3 + 4) * 4


def test_layers_of_numbers():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 5))
    with_holes(model[3].weight)
    x = torch.rand(3, 1, 6, 6)
    x[x < 0.4] = 0
    conv, linear = snn.cost(model, x).layers
    assert conv.kind == linear.kind == "MAC"
    windows = nn.functional.unfold(x, 3)
    assert conv.operations == pytest.approx(int((windows != 0).sum()) * 2 / 3)
    assert conv.dense == 16 * 9 * 2
    hidden = model[:3](x)
    expected = [
        np.count_nonzero(np.outer(np.ones(5), h) * model[3].weight.detach().numpy())
        for h in hidden.detach().numpy()
    ]
    assert linear.operations == pytest.approx(np.mean(expected))
    assert linear.dense == 160


def test_fused_layers_count_the_same():
    model = nn.Sequential(*(snn.LIF(n, 2, refractory=math.inf) for n in (3, 2)))
    times = torch.rand(4, 3, 1) * 1e-2
    assert snn.cost(snn.fuse(model), times).layers == snn.cost(model, times).layers


def test_bad_input_is_named():
    model = nn.Sequential(*(snn.LIF(n, 2, refractory=math.inf) for n in (3, 2)))
    model.forward = model[0].forward
    with pytest.raises(ValueError, match="did not call 0, 1, so"):
        snn.cost(model, torch.rand(4, 3, 1) * 1e-2)
    with pytest.raises(ValueError, match="any layer with weights"):
        snn.cost(nn.ReLU(), torch.rand(4, 3, 1))
    with pytest.raises(ValueError, match="samples along the first axis"):
        snn.cost(model, torch.tensor(1.0))
