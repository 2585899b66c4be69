"""Input that cannot be right is refused by name, in both engines."""

import math
from typing import Any

import pytest
import torch

from evtorch.torch_api import hardware, hx

SPIKES = torch.zeros(20, 2, 5)
SPIKES[3] = 1


def through(module, spikes=SPIKES, **experiment):
    """Run one module that takes spikes."""
    exp = hx.Experiment(**{"mock": True, **experiment})
    out = module(exp)(hx.LIFObservables(spikes=spikes))
    hx.run(exp, len(spikes))
    return out


def layer(spikes=SPIKES, engine="event", **parameters):
    """Run a synapse and spiking neurons."""
    exp = hx.Experiment(mock=True, engine=engine)
    synapse, neurons = hx.Synapse(5, 3, exp), hx.LIF(3, exp, **parameters)
    out = neurons(synapse(hx.LIFObservables(spikes=spikes)))
    hx.run(exp, len(spikes))
    return out


def two_inputs(first, second):
    exp = hx.Experiment(mock=True)
    synapses = [hx.Synapse(5, 3, exp) for _ in range(2)]
    inputs = (hx.LIFObservables(spikes=spikes) for spikes in (first, second))
    hx.LI(3, exp)(*(synapse(x) for synapse, x in zip(synapses, inputs, strict=True)))
    hx.run(exp, None)


@pytest.mark.parametrize("engine", ["event", "euler"])
def test_sizes_and_values(engine):
    for module in (lambda exp: hx.InputNeuron(4, exp), lambda exp: hx.BatchDropout(4, 0.5, exp)):
        with pytest.raises(ValueError, match=r"\(4\) expects spikes of 4 neurons, got 5"):
            through(module, engine=engine)
    with pytest.raises(ValueError, match=r"LIF\(3\): tau_mem must be > 0, got -1"):
        layer(engine=engine, tau_mem=-1.0)
    spikes = SPIKES.clone()
    spikes[4, 1, 2] = math.nan
    with pytest.raises(ValueError, match=r"Synapse\(5, 3\): input spikes must be finite"):
        layer(spikes, engine=engine)


@pytest.mark.parametrize("engine", ["event", "euler"])
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"refractory_time": -1e-6}, "refractory_time must be >= 0, got -1e-06"),
        ({"refractory_time": math.nan}, "refractory_time must be >= 0, got nan"),
        ({"threshold": math.nan}, "threshold must be finite, got nan"),
        ({"leak": torch.tensor([0.0, math.inf, 1.0])}, r"leak must be finite, got tensor\("),
        ({"reset": 125}, "reset must be finite and below threshold, got 125"),
        (
            {"tau_syn": torch.ones(4)},
            r"tau_syn must be a number or have shape \(3,\), got shape \(4,",
        ),
    ],
)
def test_parameters_are_checked_alike(engine, parameters, message):
    with pytest.raises(ValueError, match=rf"LIF\(3\): {message}"):
        layer(engine=engine, **parameters)


@pytest.mark.parametrize("engine", ["event", "euler"])
def test_input_of_any_type(engine):
    """Rasters of integers and truth values are taken."""

    def run(spikes, dtype=torch.float32):
        exp = hx.Experiment(mock=True, engine=engine)
        synapse, li = hx.Synapse(5, 3, exp, dtype=dtype), hx.LI(3, exp, leak=0.0)
        torch.nn.init.constant_(synapse.weight, 0.5)
        weighted = synapse(hx.LIFObservables(spikes=spikes))
        out = li(weighted)
        hx.run(exp, None)
        return weighted.graded_spikes, out.membrane_cadc

    expected = run(SPIKES)
    assert expected[1][-1].abs().sum() > 0
    for spikes in (SPIKES.int(), SPIKES.bool()):
        for found, same in zip(run(spikes), expected, strict=True):
            torch.testing.assert_close(found, same)
    assert run(SPIKES.bool(), torch.float64)[1].dtype == torch.float64
    with pytest.raises(
        TypeError, match=r"Synapse\(5, 3\): its input spikes are torch.float64, but"
    ):
        run(SPIKES.double())


def test_arguments_that_do_not_exist_are_refused():
    exp = hx.Experiment(mock=True)
    for kind in (hx.AELIF, hx.LIF, hx.LI):
        with pytest.raises(
            TypeError, match=r"\(4\) has no argument 'treshold'; parameters of your"
        ):
            kind(4, exp, treshold=3.0)
    own: Any = hx.LIF(4, exp, extra=hx.HXParameter(3.0), trace_scale=2.0)
    assert own.extra.model_value == 3.0
    assert own.options["trace_scale"] == 2.0
    for sizes in ((-1, 3), (2.5, 3), (3, True)):
        with pytest.raises(ValueError, match="Synapse: in_features and out_features must be"):
            hx.Synapse(*sizes, exp)


def test_graded_input_is_for_the_grid():
    with pytest.raises(ValueError, match=r"Synapse\(5, 3\): input spikes must be 0 or 1.*euler"):
        layer(0.5 * SPIKES)
    assert layer(0.5 * SPIKES, engine="euler").spikes.shape == (20, 2, 3)


def test_inputs_agree_in_time_and_batch():
    with pytest.raises(ValueError, match=r"Synapse\(5, 3\): its input has 10 time steps, another"):
        two_inputs(SPIKES, SPIKES[:10])
    with pytest.raises(ValueError, match=r"Synapse\(5, 3\): its input has a batch of 1, another"):
        two_inputs(SPIKES, SPIKES[:, :1])


@pytest.mark.parametrize("runtime", [0, None, 2.5, True])
def test_hardware_needs_a_number_of_steps(runtime):
    with pytest.raises(ValueError, match=rf"runtime must be a number.* >= 1.*got {runtime}"):
        hx.run(hx.Experiment(mock=False, backend=hardware.MockBSS2()), runtime)


@pytest.mark.parametrize("engine", ["event", "euler"])
def test_a_cycle_needs_a_wrapper(engine):
    exp = hx.Experiment(mock=True, engine=engine)
    feed, neurons, back = hx.Synapse(5, 3, exp), hx.LIF(3, exp), hx.Synapse(3, 3, exp)
    given = feed(hx.LIFObservables(spikes=SPIKES))
    neurons(given, back(neurons._output_handle))
    with pytest.raises(
        ValueError, match=r"cyclic dependencies between .*LIF\(3\).*HXModuleWrapper"
    ):
        hx.run(exp, 20)


def test_populations_are_made_with_what_exists():
    exp = hx.Experiment(mock=True)
    with pytest.raises(ValueError, match="LI: size must be an integer >= 1, got -1"):
        hx.LI(-1, exp)
    with pytest.raises(ValueError, match=r"LIF\(3\): method must be 'superspike', got 'step'"):
        hx.LIF(3, exp, method="step")


def test_a_handle_of_another_experiment_is_empty():
    source = hx.Synapse(5, 3, hx.Experiment(mock=True))(hx.LIFObservables(spikes=SPIKES))
    exp = hx.Experiment(mock=True)
    hx.LIF(3, exp)(source)
    with pytest.raises(ValueError, match=r"graded_spikes of Synapse\(5, 3\) is read before run"):
        hx.run(exp, 20)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (lambda exp: hx.AELIF(3, exp), r"AELIF\(3\).*exponential"),
        (lambda exp: hx.LIF(3, exp, enable_madc_recording=True), r"LIF\(3\): enable_madc_record"),
    ],
)
def test_what_the_hardware_interface_lacks(module, message):
    exp = hx.Experiment(mock=False, backend=hardware.MockBSS2())
    module(exp)(hx.Synapse(5, 3, exp)(hx.LIFObservables(spikes=SPIKES)))
    with pytest.raises(ValueError, match=message):
        hx.run(exp, 20)


def test_custom_routing_is_refused():
    with pytest.raises(ValueError, match="hw_routing_func: custom routing is not supported"):
        hx.Experiment(mock=False, hw_routing_func=lambda network: None)
    assert hx.Experiment(mock=True, hw_routing_func=print).hw_routing_func is print


def test_dropout_is_not_on_hardware():
    exp = hx.Experiment(mock=False, backend=hardware.MockBSS2())
    left = hx.BatchDropout(5, 0.5, exp)(hx.LIFObservables(spikes=SPIKES))
    hx.LIF(5, exp)(hx.Synapse(5, 5, exp)(left))
    with pytest.raises(ValueError, match=r"BatchDropout cannot run on hardware"):
        hx.run(exp, 20)
