"""Graphs of evtorch, read and run by Norse, sinabs and Rockpool: the same spikes.

They step in time, with a step ``dt``; input spikes lie on all of these grids. Where neurons have no
synapse they spike when input arrives, so that spikes are equal to rounding. Where they have one,
spikes differ by steps as in `test_frameworks`, and come closer as ``dt`` shrinks. Norse is among
evtorch's own development tools, the others come by `make nir-readers`.
"""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evtorch import torch_api as snn

ROOT = Path(__file__).parents[3]
PYTHON = Path(os.environ.get("EVTORCH_NIR_PYTHON", ROOT / ".venv-nir/bin/python"))
needed = pytest.mark.skipif(not PYTHON.exists(), reason="not installed: make nir-readers")
T_MAX, STEPS, EXACT = 2e-2, (1e-4, 2e-5), 1e-15
ROOM: dict[str, Any] = {"max_spikes": 24, "t_max": T_MAX, "dtype": torch.float64}
CONVENTIONS = {
    "norse": snn.nir.Convention.time_stepped,
    "sinabs": snn.nir.Convention.sinabs,
    "rockpool": snn.nir.Convention.rockpool,
}


def with_synapses() -> nn.Sequential:
    constants = {"tau_mem": 1e-2, "tau_syn": 5e-3}
    return nn.Sequential(snn.LIF(4, 6, **constants, **ROOM), snn.LIF(6, 3, **constants, **ROOM))


def with_leak() -> nn.Sequential:
    second = snn.DeltaLIF(6, 3, tau_mem=2e-2, **ROOM)
    return nn.Sequential(snn.DeltaLIF(4, 6, tau_mem=1e-2, **ROOM), second)


def with_pools() -> nn.Sequential:
    """As the NIR paper's network of convolutions."""
    without_leak = {"tau_mem": math.inf, **ROOM}
    return nn.Sequential(
        snn.UnflattenSpikes((1, 6, 6)),
        snn.DeltaLIFConv2d(1, 3, 3, padding=1, **without_leak),
        snn.SumPool2d(2),
        snn.DeltaLIFConv2d(3, 2, 2, **without_leak),
        snn.SumPool2d(2),
        snn.FlattenSpikes(),
        snn.DeltaLIF(2, 3, **without_leak),
    )


# How strong weights are, so that no spike hangs on a trifle.
NETWORKS: dict[str, tuple[Any, list[tuple[float, float]]]] = {
    "synapses": (with_synapses, [(1.4, 1.0), (0.6, 0.4)]),
    "leak": (with_leak, [(0.42, 0.3), (0.24, 0.16)]),
    "pools": (with_pools, [(0.1, 0.4), (0.1, 0.4), (0.1, 0.4)]),
}
RUNS = {
    "norse": ("synapses", "leak", "pools"),
    "sinabs": ("leak", "pools"),
    "rockpool": ("synapses",),
}
REFUSED = {
    ("sinabs", "synapses"): "KeyError: 'lif_0'",
    ("rockpool", "leak"): "'LIF' object has no attribute 'tau_mem'",
    ("rockpool", "pools"): "Cannot convert <class 'nir.ir.conv.Conv2d'>",
}


def network(name: str) -> tuple[nn.Sequential, Tensor]:
    """A network and input, on the coarsest grid."""
    make, sizes = NETWORKS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make()
        layers = [layer for layer in model if hasattr(layer, "weight")]
        for layer, (least, more) in zip(layers, sizes, strict=True):
            layer.weight.data = least + more * torch.rand_like(layer.weight)
        shape = (2, 36, 1) if name == "pools" else (5, 4, 1)
        times = torch.randint(0, 100, shape).double() * STEPS[0]
    return model.requires_grad_(False), times


def run(framework: str, name: str, dt: float, folder: Path) -> tuple[Tensor, Tensor]:
    """Spikes here and there."""
    model, times = network(name)
    graph, raster, out = (folder / file for file in ("graph.nir", "raster.npy", "spikes.npy"))
    nir.write(graph, snn.nir.to_nir(model, CONVENTIONS[framework](dt)))
    given = snn.dense_from_spike_times(times, dt, round(T_MAX / dt)).float()
    shape = (1, 6, 6) if name == "pools" else (4,)
    np.save(raster, given.unflatten(-1, shape).numpy())
    python = sys.executable if framework == "norse" else PYTHON
    worker = Path(__file__).with_name("_in_others.py")
    command = [python, worker, framework, graph, raster, out, repr(dt)]
    done = subprocess.run([str(x) for x in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    found = torch.as_tensor(np.load(out)).double()
    assert found.max() == 1
    return model(times), snn.spike_times_from_dense(found, dt, ROOM["max_spikes"])


@pytest.mark.parametrize(
    ("framework", "name"),
    [
        pytest.param(framework, name, marks=[] if framework == "norse" else [needed])
        for framework, names in RUNS.items()
        for name in names
    ],
)
def test_spikes_are_the_same_there(framework: str, name: str, tmp_path: Path) -> None:
    errors = []
    for dt in STEPS if name == "synapses" else STEPS[:1]:
        ours, theirs = run(framework, name, dt, tmp_path)
        spiking = ours.isfinite()
        assert torch.equal(theirs.isfinite(), spiking)
        assert spiking.sum() > 20
        errors.append((ours - theirs)[spiking].abs().max())
        most = int(spiking.sum(-1).max())
        assert errors[-1] < (EXACT if name != "synapses" else 2 * 2 * most * dt)
    assert name != "synapses" or errors[1] < errors[0] / 2


@needed
@pytest.mark.parametrize(("framework", "name"), REFUSED)
def test_what_they_do_not_read_is_known(framework: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as error:
        run(framework, name, STEPS[0], tmp_path)
    assert REFUSED[framework, name] in str(error.value)
