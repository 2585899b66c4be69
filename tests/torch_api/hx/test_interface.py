"""What scripts meet: handles, errors, parameters, encoders, and hxtorch's own module names."""

import functools
import logging
import sys

import numpy as np
import pytest
import torch

from evtorch.torch_api import hardware, hx

from ._networks import Network, encoded


def test_handles_are_empty_before_run_and_keep_their_data_after_the_next():
    network, spikes = Network(), encoded()
    handle = network.first(hx.LIFObservables(spikes=spikes))
    assert not handle.holds("graded_spikes")
    assert handle.graded_spikes is None
    assert handle.producer == "Synapse(5, 8)"
    hx.run(network.exp, 40)
    before = handle.graded_spikes
    torch.testing.assert_close(before, spikes @ network.first.weight.T)
    network.first(hx.LIFObservables(spikes=0 * spikes))
    hx.run(network.exp, 40)
    assert handle.graded_spikes is before


@pytest.mark.parametrize(
    ("connect", "error", "message"),
    [
        (lambda n, s: n.first(s), TypeError, r"Synapse\(5, 8\) expects a LIFObservables.*wrap it"),
        (lambda n, s: n.lif(hx.LIFObservables(spikes=s)), TypeError, r"LIF\(8\) expects a Synapse"),
        (
            lambda n, s: (n.first(hx.LIFObservables(spikes=s[..., :3])), hx.run(n.exp, 40)),
            ValueError,
            r"Synapse\(5, 8\) expects spikes of 5 neurons, got 3",
        ),
        (
            lambda n, s: (n.first(hx.LIFObservables(spikes=s[0])), hx.run(n.exp, 40)),
            ValueError,
            r"Synapse\(5, 8\): input spikes must be dense",
        ),
        (
            lambda n, s: (n.li(n.first(hx.LIFObservables(spikes=s))), hx.run(n.exp, 40)),
            ValueError,
            r"LI\(2\): its synapses end on 8 neurons, not 2",
        ),
        (
            lambda n, s: (n.lif(hx.SynapseHandle(graded_spikes=s)), hx.run(n.exp, 40)),
            ValueError,
            r"LIF\(8\): its input has dense graded spikes only.*engine='euler'",
        ),
    ],
)
def test_mistakes_are_named(connect, error, message):
    network, spikes = Network(), encoded()
    with pytest.raises(error, match=message):
        connect(network, spikes)
    network.exp.clear()
    network(spikes)


def test_handles_of_any_observables_can_be_made():
    handle = hx.Handle("voltage", "current")
    assert (handle.voltage, handle.current) == (None, None)
    kind = type(handle)
    assert kind is type(hx.Handle(current=1, voltage=2))
    assert (kind(1, 2).current, kind(voltage=3).voltage) == (1, 3)
    assert hx.Handle(spikes=1, current=2).holds("spikes")
    assert type(hx.Handle("graded_spikes")) is hx.SynapseHandle
    assert isinstance(handle, hx.Handle)

    class Own(hx.HXModule):
        output_type = kind

        def forward_func(self, input):
            return kind(voltage=input.tensor + 1)

    exp = hx.Experiment(mock=True)
    out = Own(exp)(hx.TensorHandle(torch.zeros(2)))
    hx.run(exp, None)
    assert out.voltage.tolist() == [1.0, 1.0]


def test_unsupported_terms_say_so():
    exp = hx.Experiment(mock=True)
    neurons, synapse = hx.AELIF(2, exp), hx.Synapse(5, 2, exp)
    neurons(synapse(hx.LIFObservables(spikes=encoded(dtype=torch.float32))))
    with pytest.raises(ValueError, match=r"AELIF\(2\).*exponential.*engine='euler'"):
        hx.run(exp, None)
    with pytest.raises(ValueError, match="plasticity_rule is not supported"):
        hx.Synapse(2, 2, exp, plasticity_rule=object())
    with pytest.raises(ValueError, match="engine must be"):
        hx.Experiment(engine="norse")


def test_a_users_own_forward_func_wins():
    class Doubled(hx.LI):
        def forward_func(self, *input):  # pyright: ignore[reportIncompatibleMethodOverride]
            return hx.LIObservables(membrane_cadc=2 * input[0].graded_spikes)

    exp = hx.Experiment(mock=True)
    synapse, own = hx.Synapse(5, 2, exp), Doubled(2, exp)
    weighted = synapse(hx.LIFObservables(spikes=encoded(dtype=torch.float32)))
    out = own(weighted)
    hx.run(exp, None)
    torch.testing.assert_close(out.membrane_cadc, 2 * weighted.graded_spikes)


def unchanged(kind):
    """A population whose own forward_func does what the original one does."""

    class Own(kind):
        @functools.wraps(kind.forward_func)
        def forward_func(self, *input, hw_data=None):
            return super().forward_func(*input, hw_data=hw_data)

    return Own


@pytest.mark.parametrize("kind", [hx.LIF, hx.EventPropLIF, hx.LI, hx.InputNeuron])
def test_a_users_own_forward_func_is_the_grids_in_either_engine(kind):
    """Also one that is decorated as the original, or calls it; inherited ones are no exchange."""

    class Inherited(kind):
        pass

    def run(cls, engine):
        exp = hx.Experiment(mock=True, engine=engine)
        if kind is hx.InputNeuron:
            out = cls(5, exp)(hx.LIFObservables(spikes=encoded(dtype=torch.float32)))
            hx.run(exp)
            return out
        synapse = (hx.EventPropSynapse if kind is hx.EventPropLIF else hx.Synapse)(5, 2, exp)
        torch.nn.init.constant_(synapse.weight, 1.5)
        constants = {"leak": 0.0, "reset": 0.0, "threshold": 1.0}
        out = cls(2, exp, **constants)(
            synapse(hx.LIFObservables(spikes=encoded(dtype=torch.float32)))
        )
        hx.run(exp)
        return out

    assert run(unchanged(kind), "event") == run(kind, "euler")
    assert run(Inherited, "event") == run(kind, "event")
    if kind is not hx.InputNeuron:
        assert run(kind, "event") != run(kind, "euler")


def test_parameters_have_two_values():
    mixed = hx.MixedHXModelParameter(1.0, 150)
    assert (mixed.model_value, mixed.hardware_value) == (1.0, 150)
    derived = hx.HXTransformedModelParameter(2.0, lambda x: 10 * x)
    assert derived.hardware_value == 20.0
    same = hx.HXParameter(3).make_trainable()
    assert same.is_trainable()
    assert same.hardware_value is same.model_value
    model = hx.ModelParameter(1.0)
    model.hardware_value = 5
    assert (model.model_value, model.hardware_value) == (1.0, 1.0)
    capacitance = torch.tensor([1e-5, 2e-5])
    found = hx.LIF(2, hx.Experiment(mock=True), membrane_capacitance=capacitance)
    assert torch.equal(found.model("membrane_capacitance"), capacitance)
    network = Network()
    assert not network.lif.has_trainable_params()
    network.lif.threshold.make_trainable()
    assert network.lif.has_trainable_params()
    assert "lif.threshold._model_value" in dict(network.named_parameters())


def test_encoders_and_decoders():
    values = torch.tensor([[0.0, 0.5, 1.0]])
    raster = hx.transforms.encode.CoordinatesToSpikes(30, 2e-6, 26e-6, 1e-6, 3e-6)(values)
    assert torch.nonzero(raster)[:, [0, 2]].tolist() == [[2, 0], [3, 3], [14, 1], [26, 2]]
    with pytest.raises(ValueError, match="CoordinatesToSpikes needs"):
        hx.transforms.encode.CoordinatesToSpikes(20, 2e-6, 26e-6)
    pixels = hx.transforms.encode.PixelsToSpikeTimes(tau=2.0, threshold=0.2, t_max=5.0)
    found = pixels(torch.tensor([0.1, 0.2, 0.4, 1.0]))
    np.testing.assert_allclose(found, [5.0, 5.0, 2 * np.log(2), 2 * np.log(1.25)], rtol=1e-5)
    decode = hx.transforms.decode
    trace = torch.tensor([[[1.0]], [[3.0]], [[2.0]]])
    found = [d(trace).item() for d in (decode.MaxOverTime(), decode.SumOverTime())]
    assert found == [3.0, 6.0]
    assert decode.MeanOverTime()(trace).item() == 2.0
    clip = hx.transforms.weight_transforms.linear_saturating(torch.tensor([0.5, 2.0]), scale=40.0)
    assert clip.tolist() == [20.0, 63.0]


def test_exponential_clamp_rounds_and_saturates():
    weight = torch.tensor([[0.5, 1.499, 40.0, -40.0]], dtype=torch.float64, requires_grad=True)
    used = hx.functional.linear_exponential_clamp(
        torch.eye(4, dtype=torch.float64), weight, cap=1.5, quantize=True
    )[:, 0]
    np.testing.assert_allclose(used.detach() * 63 / 1.5, [21, 62, 63, -63], atol=1e-9)
    used.sum().backward()
    assert weight.grad[0, 0] == 1
    assert 0 < weight.grad[0, 1] < 1


def test_data_set_gives_numpy_samples():
    data = hx.datasets.YinYangDataset(size=5, seed=42)
    sample, label = data[0]
    assert sample.dtype == np.float64
    assert sample.shape == (4,)
    assert label in (0, 1, 2)
    assert data.which_class(*sample[:2]) == label
    assert data.dist_to_right_dot(0.75, 0.2) == pytest.approx(0.3)
    assert data.dist_to_left_dot(0.65, 0.5) == pytest.approx(0.4)
    batch, _ = next(iter(torch.utils.data.DataLoader(data, batch_size=5)))
    assert batch.shape == (5, 4)


SCRIPT = """
from functools import partial
import torch
import hxtorch
import hxtorch.spiking as hxsnn
from dlens_vx_v3 import halco
from hxtorch.spiking.modules import LI, LIF, Synapse
from hxtorch.spiking.transforms import weight_transforms
from hxtorch.spiking.transforms.decode import MaxOverTime
from hxtorch.spiking.transforms.encode import CoordinatesToSpikes
from hxtorch.spiking.datasets.yinyang import YinYangDataset

hxtorch.logger.default_config(level=hxtorch.logger.LogLevel.ERROR)
log = hxtorch.logger.get("script")
hxtorch.init_hardware()
experiment = hxsnn.Experiment(mock=False, dt=1e-6)
scaled = partial(weight_transforms.linear_saturating, scale=30.0)
synapse = Synapse(5, 6, experiment=experiment, transform=scaled)
place = [halco.LogicalNeuronOnDLS(hxsnn.morphology.SingleCompartmentNeuron(1).compartments,
         halco.AtomicNeuronOnDLS(halco.NeuronRowOnDLS(1), halco.NeuronColumnOnDLS(k)))
         for k in range(6)]
lif = LIF(6, experiment, leak=0.0, reset=0.0, threshold=hxsnn.MixedHXModelParameter(0.3, 150),
          placement_constraint=place)
readout, li = Synapse(6, 3, experiment, transform=scaled), LI(3, experiment, leak=0.0)
samples = YinYangDataset(size=4, seed=1)
points = torch.stack([torch.as_tensor(samples[k][0]) for k in range(4)])
spikes = CoordinatesToSpikes(38, 2e-6, 26e-6, 1e-6, 2e-6)(points)
hidden = lif(synapse(hxsnn.LIFObservables(spikes=spikes)))
voltage = li(readout(hidden))
hxsnn.run(experiment, 38)
scores = MaxOverTime()(voltage.membrane_cadc)
scores.sum().backward()
log.INFO("done")
hxtorch.release_hardware()
"""


def test_scripts_run_under_the_original_names():
    before = set(sys.modules)
    hx.compat.install(hardware.MockBSS2(chip=3))
    try:
        names = {}
        exec(compile(SCRIPT, "script", "exec"), names)
        assert names["scores"].shape == (4, 3)
        assert names["synapse"].weight.grad is not None
        assert "NeuronColumnOnDLS(0)" in repr(names["lif"].options["placement_constraint"][0])
        import hxtorch  # pyright: ignore[reportMissingImports]

        with pytest.raises(AttributeError, match=r"hxtorch\.perceptron is not supported"):
            _ = hxtorch.perceptron
    finally:
        hx.compat.uninstall()
    assert not [name for name in set(sys.modules) - before if name.startswith("hxtorch")]


PARTS = """
import hxtorch
import hxtorch.snn
import hxtorch.spiking as hxsnn
import pylogging
from hxtorch.snn.functional.lif import cuba_lif_integration
from hxtorch.spiking.execution_instance import ExecutionInstance
from hxtorch.spiking.modules.hx_module import HXModule
from hxtorch.spiking.modules.types import Projection
from hxtorch.spiking.run import run

assert hxsnn.run is run and hxsnn.functional.cuba_lif_integration is cuba_lif_integration
if pylogging.get_root().get_number_of_appenders() == 0:
    pylogging.reset()
pylogging.set_loglevel(pylogging.get("evtorch.script"), pylogging.LogLevel.FATAL)
experiment = hxsnn.Experiment(mock=True)
experiment.default_execution_instance.load_calib("calibration.pbin")
instance = hxsnn.ExecutionInstance(calib_path="calibration.pbin")
synapse = hxsnn.Synapse(2, 3, experiment, execution_instance=instance)
assert issubclass(hxsnn.Synapse, (HXModule, Projection)) and isinstance(instance, ExecutionInstance)
"""


def test_engine_and_placement_of_scripts():
    with pytest.raises(ValueError, match="engine must be 'event' or 'euler', got 'steps'"):
        hx.compat.install(engine="steps")
    assert "hxtorch" not in sys.modules
    finders = list(sys.meta_path)
    hx.compat.install()
    try:
        names = {}
        exec(compile(PARTS, "script", "exec"), names)
        assert names["experiment"].engine == "euler"
        assert names["hxsnn"].Experiment(mock=False).engine == "event"
        assert repr(names["synapse"].execution_instance).endswith("(calib_path='calibration.pbin')")
        assert logging.getLogger("evtorch.script").level == logging.CRITICAL
        hx.compat.install(engine="event")
        assert names["hxsnn"].Experiment(mock=True).engine == "event"
        assert hx.Experiment(mock=True, engine="euler").engine == "euler"
        hx.compat.install()
        assert hx.Experiment(mock=True).engine == "euler"
    finally:
        hx.compat.uninstall()
    assert hx.Experiment(mock=True).engine == "event"
    assert sys.meta_path == finders


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("import hxtorch.perceptron", "hxtorch.perceptron"),
        ("from hxtorch import perceptron", "hxtorch.perceptron"),
        ("from hxtorch.spiking.modules import Plastic", "hxtorch.spiking.modules.Plastic"),
        ("import hxtorch.spiking.execution_info", "hxtorch.spiking.execution_info"),
        ("import pygrenade_vx", "pygrenade_vx"),
        ("import _hxtorch_core", "_hxtorch_core"),
        ("from _hxtorch_spiking import SpikeHandle", "_hxtorch_spiking"),
    ],
)
def test_what_scripts_import_in_vain_is_named(statement, name):
    hx.compat.install()
    try:
        with pytest.raises(ModuleNotFoundError, match=rf"^{name} is not supported by evtorch"):
            exec(statement, {})
    finally:
        hx.compat.uninstall()
    with pytest.raises(ModuleNotFoundError, match="No module named"):
        exec(statement, {})
