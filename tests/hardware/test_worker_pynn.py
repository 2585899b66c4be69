"""Networks on Brian 2 and NEST through PyNN, in the environment that ``make pynn`` creates."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from evtorch import jax_core
from evtorch import torch_api as snn
from evtorch.jax_core.hardware import (
    HardwareLimitError,
    Layer,
    Network,
    Observation,
    WorkerBackend,
    WorkerError,
    check_observation,
)
from evtorch.torch_api.datasets import YinYang
from tests._simulators import PYTHON, needed, nest_needed
from tests.hardware import _yinyang

STEP = 1e-7  # 0.1 ms of the simulator
DURATION = 4e-5
TAUS = {"tau_mem": 1.2e-5, "tau_syn": 6e-6}

pytestmark = [
    pytest.mark.slow,
    needed,
    pytest.mark.usefixtures("x64"),
]


# By how much a layer's spikes may come late: Brian 2 keeps to its clock, NEST does not.
LATE = {"brian2": STEP, "nest": 0.0}


def start(name: str, **options: float) -> WorkerBackend:
    backend = f"evtorch_worker.pynn:{name}"
    return WorkerBackend.start(backend, options, python=str(PYTHON), timeout=300)


@pytest.fixture(scope="module", params=["brian2", pytest.param("nest", marks=nest_needed)])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def worker(name: str) -> Iterator[WorkerBackend]:
    with start(name) as worker:
        yield worker


def layer(weight: np.ndarray, **settings) -> Layer:
    constants = {"v_threshold": 1.0, "v_leak": 0.0, "v_reset": 0.0, "refractory": np.inf}
    return Layer(weight, **{**TAUS, **constants, **settings})


def simulated(one: Layer, spikes: np.ndarray) -> np.ndarray:
    """What the exact simulation says."""
    names = ("tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset", "refractory")
    constants = {name: getattr(one, name) for name in names}
    weight = one.weight_unit * one.weight
    return np.asarray(
        jax_core.lif(spikes, weight, **constants, max_spikes=one.max_spikes, t_max=DURATION)
    )


def on_clock(times: np.ndarray, name: str = "brian2") -> np.ndarray:
    """The times, rounded if the simulator would."""
    return np.round(times / STEP) * STEP if LATE[name] else times


def assert_same_spikes(found: np.ndarray, expected: np.ndarray, latest: float) -> None:
    """The same neurons spike, between 0 and ``latest`` seconds late."""
    fired = np.isfinite(expected)
    assert fired.sum() >= 10
    np.testing.assert_array_equal(np.isfinite(found), fired)
    late = found[fired] - expected[fired]
    assert late.min() > -1e-3 * STEP
    assert late.max() < latest + 1e-3 * STEP


def test_a_trained_network_spikes_as_in_the_simulation(worker, name):
    model, test = _yinyang.trained(), YinYang(1000, seed=1)
    with torch.no_grad():
        right = snn.first_to_spike(model(test.values)) == test.classes
        inputs = on_clock(1e-3 * model[0](test.values[:8]).double().numpy(), name)
    assert right.double().mean() > 0.89
    weights = [weight.detach().double().numpy() for weight in model.parameters()]
    network = Network(tuple(layer(2 * weight, weight_unit=0.5) for weight in weights))
    seen = worker.run(network, inputs, DURATION)
    check_observation(seen, network, len(inputs), DURATION)
    assert dict(seen.lost) == {"input clock": 0}
    # Each layer for itself: a spike is reported at the end of the step in which it comes.
    hidden, output = network.layers
    assert_same_spikes(seen.spikes[0], simulated(hidden, inputs), LATE[name])
    assert_same_spikes(seen.spikes[1], simulated(output, np.array(seen.spikes[0])), LATE[name])
    # Both together: what comes late into the second layer moves its spikes.
    exact = simulated(output, simulated(hidden, inputs))
    assert_same_spikes(seen.spikes[1], exact, 3 * LATE[name])
    found = snn.first_to_spike(torch.from_numpy(np.array(seen.spikes[1])))
    assert torch.equal(found == test.classes[:8], right[:8])


def test_equal_time_constants_differ_by_less_than_the_clock(worker, name, rng):
    one = layer(rng.normal(1.2, 1.34, (20, 5)), tau_mem=6e-6)
    spikes = on_clock(rng.random((4, 5, 1)) * 1.2e-5, name)
    seen = worker.run(Network((one,)), spikes, DURATION)
    assert_same_spikes(seen.spikes[0], simulated(one, spikes), LATE[name])


class Recorder:
    """Passes runs on and keeps what was observed."""

    def __init__(self, backend: WorkerBackend):
        self.backend, self.name, self.weight_limit = backend, backend.name, backend.weight_limit

    def run(self, network, spikes, duration, *, voltage_times=None) -> Observation:
        self.seen = self.backend.run(network, spikes, duration, voltage_times=voltage_times)
        return self.seen


def test_it_trains_in_the_loop(worker, name):
    data, scaling = YinYang(4, seed=2), snn.hardware.Scaling(time=1e-3)
    model, recorder = _yinyang.untrained(), Recorder(worker)
    chip = snn.hardware.on_backend(model, recorder, scaling=scaling)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-2)

    def backpropagate(model: nn.Module) -> tuple[float, torch.Tensor]:
        optimizer.zero_grad()
        loss = _yinyang.squared_error(model(data.values), data.classes)
        loss.backward()
        return loss.item(), torch.cat([p.grad.flatten() for p in model.parameters()])

    losses = []
    for _ in range(3):
        _, simulated = backpropagate(model)
        loss, observed = backpropagate(chip)
        recorded = snn.hardware.Replay(recorder.seen.spikes)
        _, replayed = backpropagate(snn.hardware.on_backend(model, recorded, scaling=scaling))
        optimizer.step()
        losses.append(loss)
        assert torch.equal(observed, replayed)
        # The clock moves spikes, and those with a small slope have a large gradient.
        bound = 0.3 if LATE[name] else 1e-3
        assert (observed - simulated).norm() < bound * simulated.norm()
    assert losses[-1] < 0.9 * losses[0], losses


def test_several_spikes_with_refractory_periods_agree_within_a_finer_clock(rng):
    one = layer(rng.normal(2.0, 0.5, (8, 5)), refractory=2e-6, v_reset=-0.5, max_spikes=20)
    spikes = on_clock(rng.random((1, 5, 2)).cumsum(-1) * 1e-5)
    with start("brian2", milliseconds=1e7) as finer:
        found = finer.run(Network((one,)), spikes, DURATION).spikes[0]
    expected = simulated(one, spikes)
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
    # Each spike comes up to a step late, and moves the next one. Later ones graze the threshold.
    assert_same_spikes(found[..., :3], expected[..., :3], 4 * STEP / 10)


@nest_needed
@pytest.mark.parametrize("name", ["nest"], indirect=True)
def test_all_spikes_agree_off_the_clock_with_a_refractory_period_for_each_neuron(worker, rng):
    weight, steps = rng.normal(2.0, 0.5, (8, 5)), np.array([1, 1, 2, 5, 8, 15, 20, 30])
    spikes = rng.random((3, 5, 2)).cumsum(-1) * 1e-5
    # The periods are rounded to the clock, and none is shorter than a step.
    given, rounded = (
        layer(weight, refractory=STEP * periods, v_reset=-0.5, max_spikes=20)
        for periods in (np.array([0, 0.3, 1.6, 5.4, 7.9, 15.2, 20, 29.7]), steps)
    )
    found = worker.run(Network((given,)), spikes, DURATION).spikes[0]
    assert_same_spikes(found, simulated(rounded, spikes), 0.0)


def test_one_input_and_one_neuron(worker, name):
    one, spikes = layer(np.full((1, 1), 5.0)), np.full((2, 1, 1), 1e-6)
    seen = worker.run(Network((one, one)), spikes, DURATION, voltage_times=np.array([1e-5]))
    exact = simulated(one, spikes)
    assert np.ptp(seen.spikes[0]) < 1e-3 * STEP
    assert abs(np.min(seen.spikes[0] - exact) - LATE[name] / 2) < LATE[name] / 2 + 1e-3 * STEP
    assert np.isfinite(seen.spikes[1]).all()
    assert seen.voltages[1].shape == (2, 1, 1)


def test_voltages_agree_with_the_closed_form(worker, rng):
    readout = layer(rng.normal(0, 1.0, (2, 3)), has_threshold=False, max_spikes=0, v_leak=0.5)
    spikes = np.round(rng.random((3, 3, 1)) * 1e-5 / STEP) * STEP
    times = np.linspace(2e-5, 4e-5, 5)
    seen = worker.run(Network((readout,)), spikes, DURATION, voltage_times=times)
    assert seen.voltages is not None
    expected = jax_core.li_value(spikes, readout.weight, times, **TAUS, v_leak=0.5)
    np.testing.assert_allclose(seen.voltages[0], expected, atol=1e-3)


def test_what_cannot_be_translated_is_an_error_of_its_own_kind(worker, rng):
    tonic = layer(np.ones((1, 1)), v_leak=2.0)
    with pytest.raises(HardwareLimitError, match="never rests"):
        worker.run(Network((tonic,)), rng.random((1, 1, 1)) * 1e-5, DURATION)
    one, late = Network((layer(np.ones((1, 1))),)), np.array([0.0, 2 * DURATION])
    with pytest.raises(WorkerError, match=r"voltage_times must be .*voltage_times\[1\]"):
        worker.run(one, rng.random((1, 1, 1)) * 1e-5, DURATION, voltage_times=late)


@pytest.mark.parametrize("name", ["brian2"], indirect=True)
def test_brian2_takes_one_refractory_period_per_layer(worker, rng):
    mixed = layer(np.ones((2, 1)), refractory=np.array([1e-6, 2e-6]))
    with pytest.raises(HardwareLimitError, match=r"one refractory period per layer.*layer 0"):
        worker.run(Network((mixed,)), rng.random((1, 1, 1)) * 1e-5, DURATION)
