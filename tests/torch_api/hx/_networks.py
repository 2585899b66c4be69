"""A small two-layer experiment that several test files share."""

import torch

from evtorch.torch_api import hx
from evtorch.torch_api.hx.engines._raster import exact_times

TAU = 6e-6
CONSTANTS = {
    "tau_mem": TAU,
    "tau_syn": TAU,
    "leak": hx.MixedHXModelParameter(0.0, 80),
    "membrane_capacitance": hx.HXTransformedModelParameter(TAU, lambda x: x / TAU * 63),
}


class Network(torch.nn.Module):
    """5 inputs, spiking neurons, two leaky integrators."""

    def __init__(self, hidden=8, dtype=torch.float64, seed=0, **experiment):
        super().__init__()
        self.exp = hx.Experiment(**{"mock": True, **experiment})
        self.first = hx.Synapse(5, hidden, self.exp, dtype=dtype)
        reset, threshold = hx.ModelParameter(0.0), hx.MixedHXModelParameter(1.0, 150)
        self.lif = hx.LIF(hidden, self.exp, reset=reset, threshold=threshold, **CONSTANTS)
        self.second = hx.Synapse(hidden, 2, self.exp, dtype=dtype)
        self.li = hx.LI(2, self.exp, **CONSTANTS)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.first.weight.normal_(1.0, 0.6, generator=generator)
            self.second.weight.normal_(0.0, 0.5, generator=generator)

    def forward(self, spikes):
        self.hidden = self.lif(self.first(hx.LIFObservables(spikes=spikes)))
        out = self.li(self.second(self.hidden))
        hx.run(self.exp, len(spikes))
        return out.membrane_cadc


def encoded(dt=1e-6, dtype=torch.float64, batch=3, seed=0):
    """A raster of 40 µs with one spike per channel."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(batch, 4, generator=generator, dtype=torch.float64)
    steps = round(4e-5 / dt)
    times = torch.nn.functional.pad(2e-6 + 2e-5 * values, (0, 1), value=2e-6)
    return hx.transforms.encode.SpikeTimesToDense(dt, steps)(times.to(dtype)).to(dtype)


def exact(raster):
    """The exact times that a raster must remember."""
    found = exact_times(raster)
    assert found is not None
    return found[0]
