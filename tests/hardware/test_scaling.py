"""The factor between a model's weights and hardware's: what is clipped is counted and warned of."""

import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from evtorch import torch_api as snn
from evtorch.jax_core.hardware import Observation
from evtorch.torch_api.datasets import YinYang
from tests.hardware import _yinyang

Scaling = snn.hardware.Scaling
TIMES = {"tau_mem": 1.2e-2, "tau_syn": 6e-3, "t_max": 0.1}


class Silent:
    """Never spikes and records a voltage of 0, at no cost."""

    name = "silent"

    def __init__(self, weight_limit=63):
        self.weight_limit = weight_limit

    def run(self, network, spikes, duration, *, voltage_times=None):
        shapes = [(len(spikes), layer.neurons) for layer in network.layers]
        looks = 0 if voltage_times is None else len(voltage_times)
        return Observation(
            tuple(
                np.full((*shape, layer.max_spikes), np.inf)
                for shape, layer in zip(shapes, network.layers, strict=True)
            ),
            tuple(np.zeros((*shape, looks)) for shape in shapes),
        )


def model_of(*weights, **names):
    layers = []
    for weight in weights:
        layer = snn.LIF(weight.shape[1], weight.shape[0], refractory=math.inf, **TIMES)
        layer.load_state_dict({"weight": torch.as_tensor(weight, dtype=torch.float32)})
        layers.append(layer)
    return nn.Sequential(*layers)


def test_weights_that_are_whole_numbers_on_some_scale_get_it():
    weights = np.arange(-63, 64).reshape(1, 127) / 7, np.array([[5 / 7], [-2 / 7]])
    scaling = Scaling.fit(model_of(*weights), Silent(), time=1e-3)
    assert scaling.weight == pytest.approx(7, rel=1e-6)
    assert scaling.time == 1e-3
    assert scaling.layers.keys() == {"0", "1"}
    assert max(fit.rounding_error for fit in scaling.layers.values()) < 1e-6
    assert str(scaling).splitlines()[1].split() == ["layer", "clipped", "rounding", "error"]


@pytest.mark.parametrize("limit", [7, 63])
def test_no_other_factor_that_clips_as_little_is_much_better(rng, limit):
    weights = rng.normal(1, 2, (12, 20)), rng.laplace(0, 0.3, (40, 12))

    def error(factor):
        total = 0.0
        for weight in weights:
            used = np.clip(np.rint(weight * factor), -limit, limit) / factor
            total += ((used - weight) ** 2).sum() / (weight**2).sum()
        return math.sqrt(total)

    scaling = Scaling.fit(model_of(*weights), Silent(limit))
    largest = limit / max(abs(weight).max() for weight in weights)
    assert scaling.weight <= largest * (1 + 1e-6)
    best = min(error(factor) for factor in np.linspace(0.2 * largest, largest, 2000))
    assert error(scaling.weight) < 1.1 * best
    found = math.hypot(*(fit.rounding_error for fit in scaling.layers.values()))
    assert found == pytest.approx(error(scaling.weight), rel=1e-3)


def test_a_few_weights_far_out_do_not_take_the_resolution_of_the_others(rng):
    weight = rng.normal(0, 1, (100, 100))
    weight.flat[:5] = 40.0
    scaling = Scaling.fit(model_of(weight), Silent(7))
    assert scaling.layers["0"].clipped == 5e-4
    assert scaling.weight > 7 / 40
    few = rng.normal(0, 1, (10, 10))
    few[0, 0] = 40.0
    fitted = Scaling.fit(model_of(few), Silent(63))
    assert fitted.layers["0"].clipped == 0
    assert fitted.weight <= 63 / 40


def test_what_needs_no_factor_and_what_has_none(rng):
    weight = rng.normal(0, 1, (3, 2))
    assert Scaling.fit(model_of(weight), Silent(None)).weight == 1
    assert Scaling.fit(model_of(np.zeros((3, 2))), Silent()).weight == 1
    with pytest.raises(ValueError, match="weights of '1' must be finite"):
        Scaling.fit(model_of(weight, np.full((1, 3), np.nan)), Silent())
    with pytest.raises(TypeError, match=r"model must be an nn.Sequential or a LIF layer"):
        Scaling.fit(nn.Linear(2, 2), Silent())
    with pytest.raises(ValueError, match="no LIF layer"):
        Scaling.fit(nn.Sequential(snn.LI(2, 2)), Silent())
    with pytest.raises(TypeError, match="backend must be"):
        Scaling.fit(model_of(weight), "chip")  # pyright: ignore[reportArgumentType]
    assert Scaling.fit(model_of(weight)[0], Silent()).weight > 1


def test_layers_that_torch_computes_do_not_count(rng):
    readout = snn.LI(3, 2, t_max=0.1)
    with torch.no_grad():
        readout.weight.fill_(100.0)
    model = nn.Sequential(*model_of(rng.normal(0, 1, (3, 2))), readout)
    assert Scaling.fit(model, Silent()).layers.keys() == {"0"}
    with_readout = Scaling.fit(model, Silent(), voltage_samples=2)
    assert with_readout.layers.keys() == {"0", "1"}
    assert with_readout.weight <= 0.63


def test_the_health_report_has_the_clipped_share_and_the_rounding_error():
    weight = np.array([[1.0, 2.0], [3.0, 4.0]])
    readout = snn.LI(2, 1, readout="value", t_max=0.1)
    with torch.no_grad():
        readout.weight.copy_(torch.tensor([[1.0, -10.0]]))
    model = nn.Sequential(*model_of(weight), readout)
    chip = snn.hardware.on_backend(model, Silent(), scaling=Scaling(weight=20.0), voltage_samples=2)
    spikes = torch.full((2, 2, 1), 1e-3)
    with pytest.warns(snn.hardware.WeightClippingWarning) as caught:
        chip(spikes)
    assert [str(each.message)[:32] for each in caught] == [
        "layer 0 on silent: 25.0% of the ",
        "layer 1 on silent: 50.0% of the ",
    ]
    assert "Scaling.fit(model, backend)" in str(caught[0].message)
    first, second = (layer.weights for layer in snn.health_report(chip).layers)
    assert first is not None
    assert second is not None
    # 4 becomes 63 / 20, the others stay as they are.
    assert first == (0.25, pytest.approx(0.85 / math.sqrt(30), rel=1e-6))
    assert second == (0.5, pytest.approx(6.85 / math.sqrt(101), rel=1e-6))
    assert "clipped  rounding" in str(snn.health_report(chip))
    # Once in a training, not at each step; and again after it had been well.
    chip(spikes)
    chip.scaling = Scaling.fit(model, Silent(), voltage_samples=2)
    chip(spikes)
    chip.scaling = Scaling(weight=20.0)
    with pytest.warns(snn.hardware.WeightClippingWarning):
        chip(spikes)
    model[0](spikes)
    readout(torch.full((2, 2, 1), math.inf))
    (simulated,) = snn.health_report(chip).layers
    assert simulated.weights is None


def test_a_share_of_one_per_cent_is_not_warned_of():
    weight = np.ones((10, 20))
    weight[0, :2] = 7.0
    layer = model_of(weight)[0]
    layer.backend, layer.scaling = Silent(), Scaling(weight=10.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(torch.full((1, 20, 1), 1e-3))
    health = layer.health()
    assert health is not None
    assert health.weights is not None
    assert health.weights.clipped == 0.01


def test_a_trained_network_works_with_a_fitted_factor():
    # 92 % in simulation.
    model, test = _yinyang.trained(), YinYang(300, seed=5)
    backend = snn.hardware.MockBSS2.ideal(weight_limit=63)

    @torch.no_grad()
    def accuracy(scaling):
        chip = snn.hardware.on_backend(model, backend, scaling=scaling)
        right = snn.first_to_spike(chip(test.values)) == test.classes
        return right.double().mean()

    assert accuracy(Scaling.fit(model, backend, time=1e-3)) > 0.85
    with pytest.warns(snn.hardware.WeightClippingWarning) as caught:
        assert accuracy(Scaling(weight=30.0, time=1e-3)) < 0.7
    shares = [str(each.message).split(": ")[1].split(" of ")[0] for each in caught]
    assert shares == ["44.0%", "14.4%"]
