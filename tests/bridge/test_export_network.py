"""Networks in files compute what the torch module computes, without torch."""

import copy
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from evtorch import bridge, jax_core
from evtorch import torch_api as snn

ALONE = """
import sys
import numpy as np
from evtorch import jax_core
network = jax_core.load_network(sys.argv[1])
spikes = np.load(sys.argv[2])
np.save(sys.argv[3], network(spikes))
assert "torch" not in sys.modules
"""


def spiking(**options: object) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(snn.LIF(4, 6, refractory=math.inf, **options), snn.LI(6, 3, **options))


@pytest.mark.parametrize("weights", ["inside", "beside"])
def test_a_process_without_torch_computes_the_same(tmp_path: Path, weights: Any) -> None:
    model, spikes = spiking(), torch.rand(5, 4, 1) * 0.02
    bridge.export_network(model, tmp_path / "net", spikes, weights=weights)
    assert (tmp_path / "net.safetensors").exists() == (weights == "beside")
    np.save(tmp_path / "in.npy", spikes.numpy())
    files = [str(tmp_path / name) for name in ("net", "in.npy", "out.npy")]
    done = subprocess.run([sys.executable, "-c", ALONE, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(files[2]), model(spikes).detach().numpy(), rtol=0, atol=1e-6)


def test_float64_buffers_and_other_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).double()
    x = torch.randn(6, 4, dtype=torch.float64)
    model(x)
    model.eval()
    bridge.export_network(model, tmp_path / "net", x)
    network = jax_core.load_network(tmp_path / "net")
    expected = model(x).detach().numpy()
    np.testing.assert_allclose(network(x.numpy()), expected, rtol=1e-13)
    assert network.inputs[0].shape == (6, 4)
    with torch.no_grad():
        model[0].bias.add_(1.0)
    changed = network.with_({"0.bias": model[0].bias.detach().numpy()})
    np.testing.assert_allclose(changed(x.numpy()), model(x).detach().numpy(), rtol=1e-13)
    np.testing.assert_allclose(network(x.numpy()), expected, rtol=1e-13)


def test_pytrees_and_integers_under_jit(tmp_path: Path) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(5, 3)

        def forward(self, given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {"y": self.table(given["index"]) * given["scale"]}

    model = Model()
    given = {"index": torch.tensor([1, 4]), "scale": torch.tensor(2.0)}
    bridge.export_network(model, tmp_path / "net", given)
    network = jax_core.load_network(tmp_path / "net")
    arrays = {"index": jnp.array([1, 4]), "scale": jnp.float32(2.0)}
    found = jax.jit(network)(arrays)["y"]
    np.testing.assert_allclose(found, model(given)["y"].detach().numpy(), rtol=1e-6)


@pytest.mark.parametrize("weights", ["inside", "beside"])
def test_weights_of_types_that_numpy_does_not_know(tmp_path: Path, weights: Any) -> None:
    model, x = nn.Linear(4, 3).bfloat16(), torch.randn(2, 4).bfloat16()
    bridge.export_network(model, tmp_path / "net", x, weights=weights)
    network = jax_core.load_network(tmp_path / "net")
    found = network(bridge.to_jax(x))
    torch.testing.assert_close(bridge.to_torch(found), model(x), rtol=2e-2, atol=2e-2)


def test_what_cannot_be_written_says_why(tmp_path: Path) -> None:
    spikes = torch.rand(5, 4, 2).sort(-1).values * 0.02
    several = snn.LIF(4, 6, max_spikes=4)
    with pytest.raises(bridge.BridgeError, match="on_overflow='truncate'"):
        bridge.export_network(several, tmp_path / "net", spikes)
    with pytest.raises(bridge.BridgeError, match=r"model\.eval\(\)"):
        bridge.export_network(nn.Dropout(0.5), tmp_path / "net", spikes)
    with pytest.raises(TypeError, match=r"nn\.Module"):
        bridge.export_network(len, tmp_path / "net", spikes)
    assert not (tmp_path / "net").exists()


def test_wrong_files_and_inputs_are_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a network")
    with pytest.raises(ValueError, match=r"not written by evtorch\.bridge\.export_network"):
        jax_core.load_network(tmp_path / "text")
    bridge.export_network(nn.Linear(4, 3), tmp_path / "net", torch.ones(2, 4))
    network = jax_core.load_network(tmp_path / "net")
    with pytest.raises(ValueError, match=r"inputs\[0\] is float32\[3, 4\], but .* float32\[2, 4\]"):
        network(np.ones((3, 4), np.float32))
    with pytest.raises(ValueError, match="inputs of the structure"):
        network(np.ones((2, 4), np.float32), 1)
    with pytest.raises(ValueError, match="names that the network lacks: \\['scale'\\]"):
        network.with_({"scale": np.ones(3)})
    with pytest.raises(ValueError, match=r"weights\['bias'\] is float32\[4\], expected"):
        network.with_({"bias": np.ones(4, np.float32)})


def test_weights_beside_are_those_that_were_written(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).eval(), torch.randn(2, 4)
    bridge.export_network(model, tmp_path / "net.v1", x, weights="beside")
    stored = tmp_path / "net.v1.safetensors"
    names = {n: tuple(t.shape) for n, t in safetensors.torch.load_file(stored).items()}
    assert names == {n: tuple(t.shape) for n, t in model.state_dict().items()}
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("net.v1", stored.name):
        (tmp_path / name).rename(moved / name)
    stored = moved / stored.name
    network = jax_core.load_network(moved / "net.v1")
    np.testing.assert_allclose(network(x.numpy()), model(x).detach().numpy(), rtol=1e-6)

    other = copy.deepcopy(model)
    with torch.no_grad():
        other[0].weight.mul_(2)
    kept = stored.read_bytes()
    bridge.export_parameters(other, stored)
    with pytest.raises(ValueError, match=r"is not the file that was written with the network"):
        jax_core.load_network(moved / "net.v1")
    changed = jax_core.load_network(moved / "net.v1", weights=stored)
    np.testing.assert_allclose(changed(x.numpy()), other(x).detach().numpy(), rtol=1e-6)

    values = other.state_dict()
    values["0.bias"] = values["0.bias"].double()
    safetensors.torch.save_file(values, stored)
    with pytest.raises(ValueError, match=r"'0.bias' as F64\[3\], expected F32\[3\]"):
        jax_core.load_network(moved / "net.v1", weights=stored)
    del values["0.bias"]
    safetensors.torch.save_file(values, stored)
    with pytest.raises(ValueError, match="has the names"):
        jax_core.load_network(moved / "net.v1", weights=stored)
    stored.write_bytes(kept[:-1])
    with pytest.raises(ValueError, match=r"is no \.safetensors file"):
        jax_core.load_network(moved / "net.v1", weights=stored)
    stored.unlink()
    with pytest.raises(FileNotFoundError, match=r"in net.v1.safetensors, which is not in .*elsewh"):
        jax_core.load_network(moved / "net.v1")


@pytest.mark.filterwarnings("ignore:Complex modules")
def test_weights_that_cannot_stand_beside_say_so(tmp_path: Path) -> None:
    model, x = nn.Linear(4, 3).to(torch.complex128), torch.randn(2, 4, dtype=torch.complex128)
    with pytest.raises(TypeError, match=r"complex128, which .* cannot hold"):
        bridge.export_network(model, tmp_path / "net", x, weights="beside")
    with pytest.raises(ValueError, match=r"`weights` must be one of \('inside', 'beside'\)"):
        bridge.export_network(model, tmp_path / "net", x, weights="above")  # pyright: ignore
    assert not list(tmp_path.iterdir())
