"""The distribution works as installed: outside the repository, with its declared needs only."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
FOLDERS = ("bridge", "jax_core", "torch_api")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

USE_TORCH_API = """
import torch
from evtorch import bridge, jax_core, torch_api as snn
print(*(module.__file__ for module in (bridge, jax_core, snn)), sep="\\n")
layer = snn.LIF(5, 3)
with torch.no_grad():
    layer.weight.fill_(1.0)
spikes = torch.linspace(0.0, 1e-2, 20).reshape(4, 5, 1).requires_grad_()
times = layer(spikes)
assert times.shape == (4, 3, 1) and times.isfinite().all(), times
times.sum().backward()
assert (layer.weight.grad < 0).all(), layer.weight.grad
assert spikes.grad.abs().sum() > 0, spikes.grad
"""

USE_JAX_CORE = """
import importlib.util
import jax, jax.numpy as jnp
from evtorch import jax_core
assert importlib.util.find_spec("torch") is None
print(jax_core.__file__)
spikes = jnp.linspace(0.0, 1e-2, 20).reshape(4, 5, 1)
loss = lambda weight: jax_core.lif(spikes, weight, max_spikes=1).sum()
value, gradient = jax.jit(jax.value_and_grad(loss))(jnp.ones((3, 5)))
assert jnp.isfinite(value) and (gradient < 0).all(), (value, gradient)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist and, from the unpacked sdist, the wheel."""
    source = tmp_path_factory.mktemp("source") / "evtorch"
    unwanted = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "runs", "__pycache__")
    shutil.copytree(ROOT, source, ignore=unwanted)
    out = tmp_path_factory.mktemp("dist")
    _run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)])
    assert len(list(out.glob("*.tar.gz"))) == 1
    (built,) = out.glob("*.whl")
    return built


def _run(command: list[str], cwd: Path | None = None) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _closure(names: list[str]) -> dict[str, importlib.metadata.Distribution]:
    """Return the installed distributions that ``names`` need, themselves included."""
    found: dict[str, importlib.metadata.Distribution] = {}
    pending = list(names)
    while pending:
        name = pending.pop()
        if name in found:
            continue
        found[name] = importlib.metadata.distribution(name)
        needs = [Requirement(text) for text in found[name].requires or []]
        pending += [r.name for r in needs if not r.marker or r.marker.evaluate({"extra": ""})]
    return found


def _environment(folder: Path, wheel: Path, needs: list[str]) -> Path:
    """Create an environment with the wheel and links to ``needs`` alone; return its interpreter.

    The needs are taken from the running environment, which saves downloading torch for each test.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    _run([sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps",
          "--no-index", "--quiet", str(wheel)])  # fmt: skip
    site = Path(_run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
                     ).strip())  # fmt: skip
    for distribution in _closure(needs).values():
        for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(distribution.locate_file(top))))
    return python


def test_every_folder_with_an_init_file_is_packaged() -> None:
    packages = {
        ".".join(("evtorch", *path.relative_to(ROOT).parent.parts))
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("__init__.py")
    }
    settings = PROJECT["tool"]["setuptools"]
    assert packages == set(settings["packages"])
    assert settings["package-dir"] == {f"evtorch.{folder}": folder for folder in FOLDERS}


def test_installed_version_is_that_of_the_project() -> None:
    assert importlib.metadata.version("evtorch") == PROJECT["project"]["version"]


def test_wheel_holds_the_library_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {
        f"evtorch/{path.relative_to(ROOT).as_posix()}"
        for folder in FOLDERS
        for pattern in ("*.py", "py.typed")
        for path in (ROOT / folder).rglob(pattern)
    }
    assert names == expected
    assert {f"evtorch/{folder}/py.typed" for folder in FOLDERS} <= names


def test_wheel_trains_a_layer_with_the_declared_dependencies(wheel: Path, tmp_path: Path) -> None:
    needs = [Requirement(text).name for text in PROJECT["project"]["dependencies"]]
    python = _environment(tmp_path / "venv", wheel, needs)
    files = _run([str(python), "-I", "-c", USE_TORCH_API], cwd=tmp_path).split()
    assert len(files) == 3
    assert all(Path(file).is_relative_to(tmp_path) for file in files)


def test_jax_core_works_where_torch_is_not_installed(wheel: Path, tmp_path: Path) -> None:
    python = _environment(tmp_path / "venv", wheel, ["jax", "numpy"])
    (file,) = _run([str(python), "-I", "-c", USE_JAX_CORE], cwd=tmp_path).split()
    assert Path(file).is_relative_to(tmp_path)
