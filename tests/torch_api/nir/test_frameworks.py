"""Files and models of Norse and snnTorch give the spikes that these frameworks give.

Both step in time. There a spike comes up to a step late, from where the neuron starts anew, so that
its k-th spike comes up to k steps late, in each layer. Forward Euler errs by the same order. So the
times may differ by twice as many steps as a neuron has spikes, per layer, and must come closer as
``dt`` shrinks; every neuron must spike as often in both.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evtorch import torch_api as snn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import norse.torch as norse
    import snntorch
    from snntorch.export_nir import export_to_nir

TAU_MEM, TAU_SYN, T_MAX, ROOM = 1e-2, 5e-3, 3e-2, 8
STEPS = (1e-4, 2e-5)
# Numbers are compiled in; as parameters, constants that differ a little share what is compiled.
LAYERS: dict[str, Any] = {
    "max_spikes": ROOM,
    "t_max": T_MAX,
    "learn": ("tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset", "refractory"),
}


@pytest.fixture(autouse=True)
def _their_warnings() -> Iterator[None]:
    """Norse and nirtorch use what torch and nirtorch deprecate."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def linears(scale: float = 1.0) -> tuple[nn.Linear, nn.Linear]:
    """4 inputs, 6 and 3 neurons, weights strong enough that no spike hangs on a trifle."""
    draw = torch.Generator().manual_seed(1)
    found = nn.Linear(4, 6, bias=False), nn.Linear(6, 3, bias=False)
    with torch.no_grad():
        found[0].weight.copy_(scale * (1.4 + torch.rand(6, 4, generator=draw)))
        found[1].weight.copy_(scale * (0.6 + 0.4 * torch.rand(3, 6, generator=draw)))
    return found


def inputs(dt: float) -> Tensor:
    """Spike times on the coarsest grid, so that they are the same for each ``dt``."""
    draw = torch.Generator().manual_seed(0)
    times = torch.randint(0, 50, (5, 4, 1), generator=draw).double() * STEPS[0]
    assert dt <= STEPS[0]
    return times


def raster(dt: float) -> Tensor:
    return snn.dense_from_spike_times(inputs(dt), dt, round(T_MAX / dt)).float()


def norse_model(dt: float) -> nn.Module:
    first, second = linears()
    return norse.SequentialState(first, norse_cell(6, dt), second, norse_cell(3, dt))


def norse_cell(neurons: int, dt: float, **changes: float) -> nn.Module:
    values = {
        "tau_mem_inv": 1 / TAU_MEM,
        "tau_syn_inv": 1 / TAU_SYN,
        "v_leak": 0.0,
        "v_th": 1.0,
        "v_reset": 0.0,
    }
    full = {name: torch.full((neurons,), value) for name, value in {**values, **changes}.items()}
    return norse.LIFCell(norse.LIFParameters(**full), dt=dt)


def norse_spikes(model: nn.Module, dt: float) -> Tensor:
    state, seen = None, []
    with torch.no_grad():
        for step in raster(dt):
            spikes, state = model(step, state)
            seen.append(spikes)
    return snn.spike_times_from_dense(torch.stack(seen).double(), dt, ROOM)


def snntorch_model(dt: float, euler: bool, **changes: Any) -> nn.Module:
    """Weights are per step: ``mem`` adds ``syn`` each step, so they are ``dt / tau_mem`` times."""
    first, second = linears(dt / TAU_MEM)
    decay = {
        name: 1 - dt / tau if euler else float(np.exp(-dt / tau))
        for name, tau in (("alpha", TAU_SYN), ("beta", TAU_MEM))
    }
    settings = {"reset_mechanism": "zero", "init_hidden": True, "reset_delay": False, **changes}

    def neurons(count: int) -> nn.Module:
        each = {name: torch.full((count,), value) for name, value in decay.items()}
        return snntorch.Synaptic(**each, threshold=torch.ones(count), **settings)

    return nn.Sequential(first, neurons(6), second, neurons(3))


def snntorch_spikes(model: nn.Module, dt: float) -> Tensor:
    for layer in model.children():
        if hasattr(layer, "reset_mem"):
            layer.reset_mem()
    with torch.no_grad():
        seen = torch.stack([model(step) for step in raster(dt)])
    return snn.spike_times_from_dense(seen.double(), dt, ROOM)


def steps_apart(ours: Tensor, theirs: Tensor, dt: float) -> float:
    """The largest difference of spike times, in steps; every neuron spikes as often in both."""
    spiking = theirs < torch.inf
    assert torch.equal(ours < torch.inf, spiking)
    assert spiking.any(-1).all()
    return (ours[spiking] - theirs[spiking]).abs().max().item() / dt


def allowed(theirs: Tensor, layers: int) -> int:
    """Steps by which spikes may differ."""
    return 2 * layers * int((theirs < torch.inf).sum(-1).max())


def load(graph: Any, convention: Any, **options: Any) -> nn.Sequential:
    return snn.nir.from_nir(graph, convention, lif=LAYERS, dtype=torch.float64, **options)


def norse_file(dt: float, path: Path) -> tuple[nn.Module, Tensor]:
    model = norse_model(dt)
    nir.write(path, norse.to_nir(model, torch.zeros(1, 4), dt=dt))
    return load(path, snn.nir.Convention.norse(dt)), norse_spikes(model, dt)


def snntorch_file(dt: float, path: Path) -> tuple[nn.Module, Tensor]:
    model = snntorch_model(dt, euler=True)
    nir.write(path, export_to_nir(model, torch.zeros(4)))
    return load(path, snn.nir.Convention.snntorch(dt)), snntorch_spikes(model, dt)


def norse_modules(dt: float, path: Path) -> tuple[nn.Module, Tensor]:
    model = norse_model(dt)
    ours = snn.nir.from_torch(model, dt, lif=LAYERS, dtype=torch.float64)
    return ours, norse_spikes(model, dt)


def snntorch_modules(dt: float, path: Path) -> tuple[nn.Module, Tensor]:
    model = snntorch_model(dt, euler=False)
    ours = snn.nir.from_torch(model, dt, lif=LAYERS, dtype=torch.float64)
    return ours, snntorch_spikes(model, dt)


@pytest.mark.parametrize("make", [norse_file, snntorch_file, norse_modules, snntorch_modules])
def test_spikes_are_those_of_the_framework_as_dt_shrinks(make: Any, tmp_path: Path) -> None:
    errors = []
    for dt in STEPS:
        ours, theirs = make(dt, tmp_path / "a.nir")
        steps = steps_apart(ours(inputs(dt)), theirs, dt)
        assert steps < allowed(theirs, layers=2)
        errors.append(steps * dt)
    assert errors[1] < errors[0] / 2


def test_recurrent_neurons_of_snntorch_spike_as_there_as_dt_shrinks(tmp_path: Path) -> None:
    """First-order convergence, within a factor of 2; late spikes shift those that they cause."""
    errors = []
    for dt in STEPS:
        scale, euler = dt / TAU_MEM, {"alpha": 1 - dt / TAU_SYN, "beta": 1 - dt / TAU_MEM}
        constants = {name: torch.full((6,), value) for name, value in euler.items()}
        neurons = snntorch.RSynaptic(
            **constants,
            threshold=torch.ones(6),
            linear_features=6,
            reset_mechanism="zero",
            init_hidden=True,
        )
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            weight = torch.rand(6, 6, generator=generator)
            neurons.recurrent.weight.copy_(-0.3 * scale * weight)
            neurons.recurrent.bias.zero_()
        model = nn.Sequential(linears(1.6 * scale)[0], neurons)
        nir.write(tmp_path / "a.nir", export_to_nir(model, torch.zeros(4)))
        theirs = snntorch_spikes(model, dt)
        ours = load(tmp_path / "a.nir", snn.nir.Convention.snntorch(dt))
        assert isinstance(ours[0], snn.RecurrentLIF)
        errors.append(dt * steps_apart(ours(inputs(dt)), theirs, dt))
    assert errors[1] < 2 * errors[0] * STEPS[1] / STEPS[0]


def test_recurrent_modules_are_taken_over(tmp_path: Path) -> None:
    """Norse's cell spikes as ours as ``dt`` shrinks; snnTorch's module means what its file does."""
    errors = []
    for dt in STEPS:
        cell = norse.LIFRecurrentCell(4, 6, dt=dt)  # by default of 10 and 5 ms
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            cell.input_weights.copy_(linears(1.6)[0].weight)
            inhibition = -0.3 * torch.rand(6, 6, generator=generator)
            cell.recurrent_weights.copy_(inhibition.fill_diagonal_(0.0))
        model = norse.SequentialState(cell)
        ours = snn.nir.from_torch(model, dt, lif=LAYERS, dtype=torch.float64)
        assert torch.equal(ours[0].recurrent_weight.float(), cell.recurrent_weights)
        errors.append(dt * steps_apart(ours(inputs(dt)), norse_spikes(model, dt), dt))
    assert errors[1] < 2 * errors[0] * STEPS[1] / STEPS[0]

    constants = {"alpha": torch.full((6,), 0.99), "beta": torch.full((6,), 0.995)}
    settings = {"reset_mechanism": "zero", "init_hidden": True, "linear_features": 6}
    neurons = snntorch.RSynaptic(**constants, threshold=torch.ones(6), **settings)
    nn.init.zeros_(neurons.recurrent.bias)
    model = nn.Sequential(linears()[0], neurons)
    (direct,) = snn.nir.from_torch(model, 1e-4)
    (from_file,) = snn.nir.from_nir(export_to_nir(model, torch.zeros(4)), "snntorch")
    # The file has dt / (1 - decay) for -dt / log(decay).
    for name in ("weight", "recurrent_weight", "tau_mem", "tau_syn"):
        pair = (torch.as_tensor(getattr(layer, name)) for layer in (direct, from_file))
        torch.testing.assert_close(*pair, rtol=6e-3, atol=0)


def test_the_default_conventions_are_those_of_the_writers_defaults(tmp_path: Path) -> None:
    first, second = linears()
    model = norse.SequentialState(first, norse_cell(6, 1e-3), second, norse_cell(3, 1e-3))
    nir.write(tmp_path / "a.nir", norse.to_nir(model, torch.zeros(1, 4)))
    ours = load(tmp_path / "a.nir", "norse")
    for layer in (ours[0], ours[1]):
        torch.testing.assert_close(layer.tau_mem, torch.full_like(layer.tau_mem, TAU_MEM))
        torch.testing.assert_close(layer.tau_syn, torch.full_like(layer.tau_syn, TAU_SYN))
    assert torch.equal(ours[0].weight.float(), first.weight)
    assert snn.nir.Convention.named("snntorch") == snn.nir.Convention.snntorch(1e-4)


def test_files_of_the_frameworks_come_back_bit_by_bit(tmp_path: Path) -> None:
    graphs = {
        "norse": norse.to_nir(norse_model(1e-3), torch.zeros(1, 4)),
        "snntorch": export_to_nir(snntorch_model(1e-4, euler=True), torch.zeros(4)),
    }
    for name, graph in graphs.items():
        nir.write(tmp_path / "a.nir", graph)
        nir.write(tmp_path / "b.nir", snn.nir.to_nir(load(tmp_path / "a.nir", name)))
        first, second = (nir.read(tmp_path / f"{x}.nir", type_check=False) for x in "ab")
        for key, node in first.nodes.items():
            for field in ("weight", "bias", "tau_mem", "tau_syn", "r", "w_in", "v_threshold"):
                if hasattr(node, field):
                    a, b = getattr(node, field), getattr(second.nodes[key], field)
                    assert np.array_equal(a, b), (name, key, field)


def test_snntorch_reads_what_is_written_for_it() -> None:
    """With steps of 1e-4 s, which it takes for granted."""
    from snntorch.import_nir import import_from_nir

    dt = STEPS[0]
    ours, theirs = snntorch_file_of(dt)
    graph = snn.nir.to_nir(ours, "snntorch")
    model = import_from_nir(graph)
    state, seen = None, []
    with torch.no_grad():
        for step in raster(dt):
            out, state = model(step, state) if state is not None else model(step)
            seen.append(out)
    times = snn.spike_times_from_dense(torch.stack(seen).double(), dt, ROOM)
    assert steps_apart(times, theirs, dt) <= 1.01


def snntorch_file_of(dt: float) -> tuple[nn.Module, Tensor]:
    model = snntorch_model(dt, euler=True)
    graph = export_to_nir(model, torch.zeros(4))
    return load(graph, "snntorch"), snntorch_spikes(model, dt)


def test_norse_reads_what_is_written_for_it() -> None:
    dt = STEPS[1]
    model = nn.Sequential(snn.LIF(4, 6, **LAYERS, tau_mem=TAU_MEM, tau_syn=TAU_SYN)).double()
    with torch.no_grad():
        model[0].weight.copy_(linears()[0].weight)
    graph = snn.nir.to_nir(model, snn.nir.Convention.time_stepped(dt))
    theirs = norse.from_nir(graph, dt=dt)
    spikes = norse_spikes(theirs, dt)
    assert steps_apart(model(inputs(dt)), spikes, dt) < allowed(spikes, layers=1)


def test_norse_boxes_converge_with_the_synapse_that_stands_in() -> None:
    dt = 2e-5
    box = norse.LIFBoxParameters(
        tau_mem_inv=torch.full((6,), 1 / TAU_MEM), v_leak=torch.zeros(6), v_th=torch.ones(6)
    )
    linear = linears(0.41 * TAU_MEM / dt)[0]
    model = norse.SequentialState(linear, norse.LIFBoxCell(box, dt=dt))
    theirs = norse_spikes(model, dt)
    differences = []
    for tau_syn in (5e-6, 5e-7):
        ours = snn.nir.from_torch(model, dt, tau_syn=tau_syn, lif=LAYERS, dtype=torch.float64)
        differences.append(dt * steps_apart(ours(inputs(dt)), theirs, dt))
        # The synapse delivers within some time constants what a box cell gets in one step.
        assert differences[-1] < 10 * tau_syn + dt
    assert differences[1] < differences[0] / 2


def test_constants_of_norse_are_kept_where_its_files_lose_them() -> None:
    model = norse.SequentialState(linears()[0], norse_cell(6, 1e-3, v_reset=-0.5, v_leak=0.2))
    (layer,) = snn.nir.from_torch(model, 1e-3)
    assert layer.v_reset == -0.5
    assert layer.v_leak == pytest.approx(0.2)
    (from_file,) = snn.nir.from_nir(norse.to_nir(model, torch.zeros(1, 4)), "norse")
    assert from_file.v_reset == 0  # Norse does not write it


def test_models_that_cannot_be_represented_are_named() -> None:
    soft = snntorch_model(1e-4, euler=True, reset_mechanism="subtract")
    with pytest.raises(ValueError, match=r"module '1' \(Synaptic\) resets by 'subtract'.*'zero'"):
        snn.nir.from_torch(soft, 1e-4)
    graded = snntorch.Leaky(0.9, graded_spikes_factor=2.0, reset_mechanism="zero")
    with pytest.raises(ValueError, match=r"module '1' \(Leaky\) has inhibition or graded"):
        snn.nir.from_torch(nn.Sequential(nn.Linear(4, 6), graded), 1e-4)
    sparse = snntorch.RLeaky(0.9, V=torch.ones(6), all_to_all=False, reset_mechanism="zero")
    with pytest.raises(ValueError, match=r"module '1' \(RLeaky\) is not connected all to all"):
        snn.nir.from_torch(nn.Sequential(nn.Linear(4, 6), sparse), 1e-4)
    with pytest.raises(ValueError, match=r"module '1' \(LIFCell\) has a step of 0.0001; pass its"):
        snn.nir.from_torch(norse_model(1e-4), 1e-3)
    with pytest.raises(ValueError, match=r"module '1' \(ReLU\) has no counterpart; supported"):
        snn.nir.from_torch(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), 1e-3)
    with pytest.raises(ValueError, match=r"node '0' \(Affine\) has a bias"):
        snn.nir.from_torch(nn.Sequential(nn.Linear(4, 6), norse_cell(6, 1e-3)), 1e-3)
    with pytest.raises(ValueError, match="input_shape must be given"):
        snn.nir.from_torch(nn.Sequential(nn.Conv2d(1, 2, 3), norse_cell(2, 1e-3)), 1e-3)
    with pytest.raises(ValueError, match="dt must be finite and > 0"):
        snn.nir.from_torch(norse_model(1e-4), 0.0)


def test_convolutions_and_read_outs_of_norse_come_along() -> None:
    conv = nn.Conv2d(1, 2, 3, bias=False)
    shape = (2, 3, 4)
    cell = norse.LIFCell(dt=1e-3)
    readout = norse.LICell(dt=1e-3)
    linear = nn.Linear(24, 5, bias=False)
    model = norse.SequentialState(conv, cell, nn.Flatten(), linear, readout)
    ours: Any = snn.nir.from_torch(model, 1e-3, input_shape=(1, 5, 6))
    names = ["UnflattenSpikes", "LIFConv2d", "FlattenSpikes", "LI"]
    assert [type(layer).__name__ for layer in ours] == names
    assert torch.equal(ours[1].weight, conv.weight)
    assert ours(torch.zeros(1, 30, 1)).shape == (1, 5)
    assert ours[1](torch.zeros(1, 1, 5, 6, 1)).shape == (1, *shape, 1)
    assert torch.equal(ours[3].weight, linear.weight)
    assert ours[3].tau_mem == pytest.approx(TAU_MEM)


@pytest.mark.parametrize("axes", [1, 2])
def test_convolutions_of_norse_spike_as_there_as_dt_shrinks(axes: int) -> None:
    """4 inputs as 1 x 4 or 2 x 2 positions, two channels, and a layer of flat neurons."""
    errors = []
    shape = (1, 4) if axes == 1 else (1, 2, 2)
    conv = (nn.Conv1d, nn.Conv2d)[axes - 1](1, 2, 2, bias=False)
    first, second = linears()
    with torch.no_grad():
        taps = conv.weight[0].numel()
        conv.weight.copy_(4 / taps * first.weight.flatten()[: 2 * taps].view_as(conv.weight))
    flat = nn.Linear(6 if axes == 1 else 2, 3, bias=False)
    with torch.no_grad():
        flat.weight.copy_(second.weight[:, : flat.in_features] * 6 / flat.in_features)
    for dt in STEPS:
        cell = norse.LIFCell(dt=dt)  # by default of 10 and 5 ms
        layers = conv, cell, nn.Flatten(), flat, norse_cell(3, dt)
        ours = snn.nir.from_torch(
            nn.Sequential(*layers), dt, input_shape=shape, lif=LAYERS, dtype=torch.float64
        )
        theirs = norse_spikes(norse.SequentialState(nn.Unflatten(1, shape), *layers), dt)
        steps = steps_apart(ours(inputs(dt)), theirs, dt)
        assert steps < allowed(theirs, layers=2)
        errors.append(steps * dt)
    assert errors[1] < errors[0] / 2
