"""What hxtorch measures of a chip, here of an ideal one; weights of other models."""

import math

import pytest
import torch
from torch import nn

from evtorch.torch_api import hx

NAMES = """
from hxtorch.spiking.morphology import SingleCompartmentNeuron
from hxtorch.spiking.utils import MixinHXModelMapper
from hxtorch.spiking.utils.model_mapper import MixinHXModelMapper
from hxtorch.spiking.utils.dynamic_range.boundary import Boundaries, get_dynamic_range
from hxtorch.spiking.utils.dynamic_range.threshold import Threshold
from hxtorch.spiking.utils.dynamic_range.weight_scaling import WeightScaling
from hxtorch.spiking.functional.linear import WeightRounding
from hxtorch.spiking.functional.superspike import superspike_func
from hxtorch.spiking.modules.types import BasePopulation
from hxtorch.spiking.parameter import ParameterType
"""


@pytest.fixture
def hxtorch():
    """Names of hxtorch, of which a chip has two neurons of 256 circuits."""
    hx.compat.install()
    names: dict = {}
    exec(NAMES, names)
    yield {**names, "structure": names["SingleCompartmentNeuron"](256)}
    hx.compat.uninstall()


def params():
    return {
        "leak": hx.MixedHXModelParameter(0.25, 80),
        "reset": hx.MixedHXModelParameter(-0.5, 70),
        "threshold": hx.MixedHXModelParameter(torch.tensor([1.0, 2.25]), 125),
        "tau_mem": 2e-5,
        "tau_syn": 1e-5,
        "refractory_time": 3e-6,
    }


def test_boundaries(hxtorch):
    measured = hxtorch["Boundaries"](params(), neuron_structure=hxtorch["structure"])
    assert measured.output_size == 2
    assert [x.item() for x in measured.run()] == [0.25, math.inf, -math.inf]
    found = hxtorch["get_dynamic_range"](params={"leak": 0.5})
    assert [x.item() for x in found] == [0.5, math.inf, -math.inf]


def test_thresholds_and_traces(hxtorch):
    measured = hxtorch["Threshold"](params(), None, 4, hxtorch["structure"])
    mean, thresholds, traces, places = measured.run()
    assert thresholds.tolist() == [0.75, 2.0]
    assert (mean.item(), places) == (1.375, None)
    assert measured.neuron.threshold.model_value.tolist() == [1.0, 2.25]
    assert traces.shape == (100, 4, 2)
    for k, height in enumerate((0.75, 2.0)):
        simulated = charged(height, reset=-0.75, tau=2e-5, pause=3e-6)
        error = (traces[:, 0, k].double() - simulated).abs()
        # A step at a spike may lie before it here and behind it there.
        assert error.sort().values[:-2].max() < 2e-3 * height


def charged(height: float, reset: float, tau: float, pause: float, fine: int = 1000):
    """Euler steps of a neuron whose current would raise it to twice its threshold."""
    dt, v, until, found = 1e-6 / fine, 0.0, -1.0, []
    for step in range(100 * fine):
        if step % fine == 0:
            found.append(v)
        if step * dt >= until:
            v += dt / tau * (2 * height - v)
        if v >= height:
            v, until = reset, step * dt + pause
    return torch.tensor(found, dtype=torch.float64)


def test_thresholds_need_a_rest_below(hxtorch):
    with pytest.raises(ValueError, match="leak must be below threshold"):
        hxtorch["Threshold"]({"leak": 2.0, "threshold": 1.0, "reset": 0.0}).run()


def test_the_scale_of_weights(hxtorch):
    settings = {name: params()[name] for name in ("leak", "tau_mem", "tau_syn")}
    settings["membrane_capacitance"] = 4e-5  # The leak conductance is 2.
    measured = hxtorch["WeightScaling"](settings, neuron_structure=hxtorch["structure"])
    mean, factors, chip, model, of_chip, of_model = measured.run(weight_step=10)
    assert mean.item() == pytest.approx(63)
    assert factors.tolist() == pytest.approx([63, 63])
    assert (of_chip.shape, of_model.shape) == ((10, 2), (21, 2))

    experiment = hx.Experiment(mock=True, dt=1e-7, engine="event")
    synapse, neuron = hx.Synapse(1, 2, experiment), hx.LI(2, experiment, **settings)
    nn.init.ones_(synapse.weight)
    spikes = torch.zeros(600, 1, 1)
    spikes[10] = 1
    trace = neuron(synapse(hx.LIFObservables(spikes=spikes)))
    hx.run(experiment, None)
    peak = trace.membrane_cadc.max().item() - 0.25
    assert model.tolist() == pytest.approx([peak] * 2, rel=1e-4)
    assert of_model[[0, -1], 0].tolist() == pytest.approx([-peak, peak], rel=1e-4)
    assert of_chip[[0, -1], 0].tolist() == pytest.approx([-peak, peak], rel=1e-4)
    assert (63 * chip).tolist() == pytest.approx(model.tolist())


def test_other_structures_are_refused(hxtorch):
    with pytest.raises(ValueError, match="several compartments are not available"):
        hxtorch["Boundaries"](neuron_structure="tree")


def test_weights_of_a_model_with_other_names(hxtorch):
    class Mapped(hxtorch["MixinHXModelMapper"], nn.Module):
        def __init__(self):
            super().__init__()
            experiment = hx.Experiment(mock=True)
            self.synapse = hx.Synapse(3, 2, experiment)
            self.readout = hx.Synapse(2, 1, experiment)
            self.lif = hx.LIF(2, experiment)

    state = {"l1.weight": torch.rand(2, 3), "readout.weight": torch.rand(1, 2)}
    model = Mapped()
    model.map_from(state, {"synapse.weight": "l1.weight"})
    assert torch.equal(model.synapse.weight, state["l1.weight"])
    assert torch.equal(model.readout.weight, state["readout.weight"])
    other = Mapped()
    before = other.readout.weight.clone()
    other.map_from(state, {"synapse.weight": "l1.weight"}, map_all=False)
    assert torch.equal(other.synapse.weight, state["l1.weight"])
    assert torch.equal(other.readout.weight, before)
    with pytest.raises(KeyError, match=r"neither 'synapse\.weight' nor 'l2'.*map_all=False"):
        other.map_from(state, {"synapse.weight": "l2"})
    with pytest.warns(UserWarning, match=r"no parameter 'synaps\.weight', only synapse\.weight"):
        other.map_from(state, {"synapse.weight": "l1.weight", "synaps.weight": "l1.weight"})


def test_rounded_weights(hxtorch):
    weight = torch.tensor([0.1, -1.49], requires_grad=True)
    rounded = hxtorch["WeightRounding"].apply(1.5, weight)
    assert rounded.tolist() == pytest.approx([4 * 1.5 / 63, -63 * 1.5 / 63])
    rounded.sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("import hxtorch.perceptron.nn", "multiplies matrices"),
        ("import hxtorch.ann", "multiplies matrices"),
        ("from hxtorch.spiking.utils.dynamic_range import helper", "no constant current"),
        ("from hxtorch.snn.utils.calib_helper import chip_from_file", "can be named, not read"),
        ("import _hxtorch_core", "in C\\+\\+.*init_hardware"),
        ("import pygrenade_vx", "plasticity programs and custom routing"),
        ("from dlens_vx_v3.lola import Chip", "a chip's configuration"),
        ("from hxtorch.examples.spiking import yinyang", "run the example's own file"),
        ("from hxtorch.spiking.modules.hx_module import HXHardwareEntityMixin", "HXModule"),
    ],
)
def test_what_cannot_be_had_says_why(hxtorch, statement, reason):
    with pytest.raises(ModuleNotFoundError, match=rf"is not supported by evtorch.*: .*{reason}"):
        exec(statement, {})
