"""What layers say where torch cannot take them, and how they come from the meta device."""

import io
import math

import pytest
import torch
from torch import nn

from evtorch import bridge
from evtorch import torch_api as snn

SPIKES = torch.tensor([[[0.001], [0.002], [0.003]]])


@pytest.fixture
def layer():
    torch.manual_seed(1)
    return snn.LIF(3, 2, refractory=math.inf)


REMEDY = r"torch\.export and ONNX cannot hold.*Save the state_dict"


@pytest.fixture(params=["layer", "in a model", "on a backend", "in a model on a backend"])
def model(request):
    torch.manual_seed(1)
    options = {"refractory": math.inf, "t_max": 0.03}
    if request.param == "layer":
        return snn.LIF(3, 2, **options)
    if request.param == "in a model":
        return nn.Sequential(nn.ReLU(), snn.LI(3, 2, t_max=0.03))
    if request.param == "on a backend":
        return snn.LIF(3, 2, **options, backend=snn.hardware.MockBSS2())
    return snn.hardware.on_backend(snn.LIF(3, 2, **options), snn.hardware.MockBSS2())


def test_export_names_what_runs_jax(layer):
    with pytest.raises(bridge.BridgeError, match=r"^lif runs JAX, which programs of torch.export"):
        torch.export.export(layer, (SPIKES,))


# Both ways in turn are what torch.onnx.export(dynamo=True) tries.
@pytest.mark.parametrize("strict", [False, True])
def test_export_is_refused_with_a_remedy(model, strict):
    # Under strict=True the compiler wraps the error in one of its own.
    with pytest.raises(Exception, match=REMEDY):
        torch.export.export(model, (SPIKES,), strict=strict)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_onnx_is_refused_with_a_remedy(model):
    with pytest.raises(bridge.BridgeError, match=REMEDY):
        torch.onnx.export(model, (SPIKES,), io.BytesIO(), dynamo=False)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_onnx_through_programs_is_refused_with_a_remedy(layer):
    pytest.importorskip("onnxscript", reason="torch.onnx.export(dynamo=True) needs onnxscript")
    with pytest.raises(torch.onnx.OnnxExporterError, match=REMEDY) as found:
        torch.onnx.export(layer, (SPIKES,), io.BytesIO(), dynamo=True, verbose=False)
    assert isinstance(found.value.__cause__, bridge.BridgeError)


def test_a_full_graph_with_a_look_at_overflow_names_the_remedies():
    several = snn.LIF(3, 2, max_spikes=4, t_max=0.03)
    compiled = torch.compile(several, fullgraph=True, backend="eager")
    with pytest.raises(Exception, match=r"on_overflow='truncate'.*refractory=inf"):
        compiled(SPIKES)


@pytest.mark.parametrize("make", [lambda: snn.LIF(3, 2), lambda: snn.LI(3, 2, t_max=0.1)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused_with_a_remedy(make, dtype):
    with pytest.raises(TypeError, match=r"float32 or float64.* a module with module.float\(\)"):
        make().to(dtype)(SPIKES)


def test_a_layer_made_on_meta_takes_values_later(layer):
    def make(device):
        return snn.LIF(
            *(3, 2),
            tau_syn=torch.full((2,), 1e-2),
            learn=["tau_mem", "refractory"],
            delay="axonal",
            t_max=0.02,
            device=device,
        )

    original, empty = make("cpu"), make("meta")
    held = {name: tensor.is_meta for name, tensor in empty.state_dict().items()}
    # Numbers are known without a device.
    assert held.pop("_extra_state") is False
    assert all(held.values())
    with pytest.raises(ValueError, match=r"on device 'meta'.*to_empty\(device='cpu'\)"):
        empty(SPIKES)
    filled = empty.to_empty(device="cpu")
    filled.load_state_dict(original.state_dict())
    for name, tensor in original.state_dict().items():
        assert torch.equal(filled.state_dict()[name], tensor)
    with torch.device("meta"):
        delay = snn.Delay(3)
    assert delay.delay.is_meta
    with pytest.raises(ValueError, match="init must be finite"):
        snn.Delay(3, init=-1.0, device="meta")
