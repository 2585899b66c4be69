"""What convolutions, sparse layers and synaptic delays refuse, and in which words."""

from typing import Any

import pytest
import torch

from evtorch import jax_core
from evtorch import torch_api as snn

from ._networks import spikes


@pytest.mark.parametrize(
    ("arguments", "options", "problem"),
    [
        ((2, 3, 0), {}, r"kernel_size must be .*>= 1"),
        ((2, 3, (3, 3, 3)), {}, r"kernel_size must be a number or have one for each of 2 axes"),
        ((2, 3, 2.5), {}, "kernel_size"),
        ((2, 3, 3), {"stride": 0}, r"stride must be .*>= 1"),
        ((2, 3, 3), {"stride": (1, 1, 1)}, "stride must be a number or have one for each"),
        ((2, 3, 3), {"padding": -1}, r"padding must be .*>= 0"),
        ((2, 3, 3), {"padding": "full"}, r"padding must be.*'valid'.*or 'same', got 'full'"),
        ((2, 3, 2), {"padding": "same"}, "padding='same' needs stride=1 and a kernel that covers"),
        ((2, 3, 3), {"padding": "same", "stride": 2}, "padding='same' needs stride=1"),
        ((2, 3, 3), {"dilation": 0}, r"dilation must be .*>= 1"),
        ((2, 3, 3), {"groups": 2}, r"out_channels must be divisible by groups = 2, got 3"),
        ((3, 4, 3), {"groups": 2}, r"in_channels must be divisible by groups = 2, got 3"),
        ((2, 3, 3), {"groups": 0}, r"groups must be .*>= 1"),
        ((2.0, 3, 3), {}, "in_channels must be"),
        ((-1, 3, 3), {}, "in_channels must be"),
        ((2, 3, 3), {"delay": 1e-3}, r"LIFConv2d has no option delay; its options are tau_mem"),
        ((2, 3, 3), {"tau_mem": torch.ones(2)}, r"tau_mem .*\(3,\)"),
        ((2, 3, 3), {"max_spikes": 0}, "max_spikes must be"),
        ((2, 3, 3), {"dtype": torch.float16}, "dtype must be torch.float32 or torch.float64"),
    ],
)
def test_convolutions_refuse_arguments(arguments, options, problem):
    with pytest.raises((TypeError, ValueError), match=problem):
        snn.LIFConv2d(*arguments, **options)


@pytest.mark.parametrize(
    ("shape", "problem"),
    [
        ((2, 2, 4, 1), r"kernel_size = \(3, 3\).* covers 3 positions .*\(2, 4\).*smaller kernel"),
        ((3, 4, 4, 1), r"in_channels = 2"),
        ((4, 4, 1), r"in_channels = 2, got \(4, 4, 1\)"),
        ((4, 1), r"spikes must have shape \(..., 2, H, W, k\)"),
    ],
)
def test_convolutions_refuse_spikes_of_other_shapes(shape, problem):
    with pytest.raises(ValueError, match=problem):
        snn.LIFConv2d(2, 3, 3)(spikes(*shape, dtype=torch.float32))


def test_convolutions_refuse_other_spikes():
    layer, times = snn.LIFConv2d(2, 3, 3), spikes(1, 2, 4, 4, 2, dtype=torch.float32)
    events = snn.events_from_spike_times(times[0, 0])
    with pytest.raises(TypeError, match=r"got Events; convert them with snn.spike_times_from_"):
        layer(events)
    with pytest.raises(TypeError, match=r"weight is torch.float32, but spikes is torch.float64"):
        layer(times.double())
    with pytest.raises(ValueError, match="ascend"):
        layer(times.flip(-1))
    with pytest.raises(ValueError, match=r"NaN|nan"):
        layer(times * torch.nan)
    learned = snn.LIFConv2d(2, 3, 3, learn=("tau_mem",))
    with torch.no_grad():
        learned.get_parameter("tau_mem")[1] = -1
    with pytest.raises(ValueError, match="tau_mem must be"):
        learned(times)


FULL = torch.ones(2, 3, dtype=torch.bool)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"mask": torch.ones(3, 2, dtype=torch.bool)},
            r"mask must be bool of shape \(2, 3\)",
        ),
        ({"mask": torch.ones(2, 3)}, r"mask must be bool .*got torch.float32"),
        ({"mask": FULL.to("meta")}, r"mask is on device 'meta' and has no values"),
        ({"mask": torch.tensor([[1, 0, 0], [0, 0, 0]]).bool()}, "mask has no connection in row 1:"),
        ({"mask": FULL, "connections": [[0, 1]]}, "mask and connections say the same"),
        ({"connections": [[0, 1], [1, 3]]}, r"connections\[1\] = \(1, 3\) lies outside"),
        ({"connections": [[0, 1], [0, 1]]}, r"connections\[1\] = \(0, 1\) is there twice"),
        ({"connections": [[0, 1]]}, r"connections has none of neuron 1: that neuron would never"),
        ({"connections": torch.ones(2, 2)}, "connections must be whole numbers"),
        ({"connections": []}, "connections must be whole numbers"),
        ({"delay": torch.zeros(3, 2)}, r"delay must be a number or have shape \(2, 3\)"),
        ({"delay": -torch.ones(2, 3)}, "delay must be finite and >= 0"),
        ({"delay": torch.full((2, 3), torch.nan)}, "delay must be finite and >= 0"),
        (
            {"delay": "synaptic", "silent": "peak", "t_max": 1.0},
            "does not go with delay='synaptic'",
        ),
        ({"mask": FULL, "tau_syn": torch.ones(3)}, r"tau_syn .*\(2,\)"),
    ],
)
def test_sparse_layers_refuse_arguments(options, problem):
    with pytest.raises((TypeError, ValueError), match=problem):
        snn.LIF(3, 2, **options)


def test_sparse_layers_refuse_other_spikes():
    layer = snn.LIF(3, 2, mask=FULL)
    with pytest.raises(ValueError, match="4 neurons, but the connections are from 3"):
        layer(spikes(4, 1, dtype=torch.float32))
    with pytest.raises(ValueError, match="neuron"):
        layer(snn.events_from_spike_times(spikes(4, 1, dtype=torch.float32)))
    traced = torch.compile(layer, backend="eager", fullgraph=True)
    events = snn.events_from_spike_times(spikes(3, 1, dtype=torch.float32))
    with pytest.raises(Exception, match=r"not Events; convert them with snn.spike_times_from_e"):
        traced(events)


def test_functions_check_the_tensors_of_connections():
    inputs, weight = spikes(3, 1, dtype=torch.float32), torch.ones(2, 3)

    def run(delay: Any, weight: torch.Tensor = weight) -> None:
        snn.functional.lif(inputs, weight, connections=jax_core.SynapticDelays(delay))

    with pytest.raises(ValueError, match="delay must be finite and >= 0"):
        run(torch.full((2, 3), -1e-3))
    with pytest.raises(ValueError, match=r"delay must have one value per connection.*\(2, 3\)"):
        run(torch.zeros(3))
    with pytest.raises(TypeError, match=r"delay is torch.float64, but spikes is torch.float32"):
        run(torch.zeros(2, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"weight"):
        run(torch.zeros(2, 3), torch.ones(2, 4))
    with pytest.raises(ValueError, match=r"delay.*meta"):
        run(torch.zeros(2, 3, device="meta"))
    with pytest.raises(ValueError, match=r"observed"):
        snn.functional.lif_observed(
            inputs, weight, torch.ones(3, 1), connections=jax_core.SynapticDelays(weight * 0)
        )
