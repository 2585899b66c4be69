"""What layers say where torch cannot take them, and how they come from the meta device."""

import io
import math

import pytest
import torch

from evtorch import bridge
from evtorch import torch_api as snn

SPIKES = torch.tensor([[[0.001], [0.002], [0.003]]])


@pytest.fixture
def layer():
    torch.manual_seed(1)
    return snn.LIF(3, 2, refractory=math.inf)


def test_export_is_refused_with_a_remedy(layer):
    with pytest.raises(bridge.BridgeError, match=r"^lif runs JAX, which programs of torch.export"):
        torch.export.export(layer, (SPIKES,))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_onnx_is_refused_with_a_remedy(layer):
    with pytest.raises(bridge.BridgeError, match=r"ONNX cannot hold.*Save the state_dict"):
        torch.onnx.export(layer, (SPIKES,), io.BytesIO(), dynamo=False)


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
