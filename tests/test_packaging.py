"""The distribution works as installed: outside the repository, with its declared needs only."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
# What each folder is when it is installed.
FOLDERS = {
    "top": "evtorch",
    "bridge": "evtorch.bridge",
    "jax_core": "evtorch.jax_core",
    "torch_api": "evtorch.torch_api",
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]

USE_TOP_LEVEL = """
import sys
import evtorch
assert not {"numpy", "jax", "torch"} & set(sys.modules), "import evtorch loads what it may not need"
assert dir(evtorch) == evtorch.__all__ == ["__version__", "bridge", "jax_core", "torch_api"]
print(evtorch.__version__, evtorch.__file__, evtorch.jax_core.__file__)
assert evtorch.jax_core is sys.modules["evtorch.jax_core"]
try:
    evtorch.torch
except AttributeError as error:
    assert "'evtorch' has no attribute 'torch'" in str(error)
else:
    raise AssertionError("evtorch.torch exists")
"""

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
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout."""
    source = tmp_path_factory.mktemp("source") / "evtorch"
    unwanted = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "runs", "__pycache__")
    shutil.copytree(ROOT, source, ignore=unwanted)
    return source


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist and, from the unpacked sdist, the wheel."""
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


def _environment(folder: Path, needs: list[str], *install: str) -> Path:
    """Create an environment with links to ``needs`` alone and install into it; return its Python.

    The needs are taken from the running environment, which saves downloading torch for each test.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    site = Path(_run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
                     ).strip())  # fmt: skip
    for distribution in _closure(needs).values():
        for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(distribution.locate_file(top))))
    _run([sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps",
          "--no-index", "--no-build-isolation", "--quiet", *install])  # fmt: skip
    return python


def test_every_folder_with_an_init_file_is_packaged() -> None:
    packages = {
        ".".join((package, *path.relative_to(ROOT / folder).parent.parts))
        for folder, package in FOLDERS.items()
        for path in (ROOT / folder).rglob("__init__.py")
    }
    settings = PROJECT["tool"]["setuptools"]
    assert packages == set(settings["packages"])
    assert settings["package-dir"] == {package: folder for folder, package in FOLDERS.items()}


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs the repository")
def test_the_repository_has_no_links() -> None:
    """They would lead to what only one machine has."""
    files = _run(["git", "ls-files", "--stage"], cwd=ROOT).splitlines()
    assert files
    assert not [file for file in files if file.startswith("120000")]


def test_installed_version_is_that_of_the_project() -> None:
    assert importlib.metadata.version("evtorch") == PROJECT["project"]["version"]


def test_changelog_and_citation_are_those_of_the_version() -> None:
    version = PROJECT["project"]["version"]
    entries = re.findall(r"^## \[(.*)\](?: - (.*))?$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    released = [entry for entry in entries if entry[0] != "Unreleased"]
    assert released[0][0] == version
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {version}\ndate-released: {released[0][1]}\n" in citation


def test_metadata_say_whose_it_is_and_where_it_runs() -> None:
    described = importlib.metadata.metadata("evtorch")
    assert described["Author"] == "evtorch developers"
    classifiers = described.get_all("Classifier") or []
    kinds = {text.split(" :: ")[0] for text in classifiers}
    assert {"Development Status", "Operating System", "Programming Language", "Topic"} <= kinds
    lowest = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert f"Programming Language :: Python :: {lowest}" in classifiers


def test_wheel_holds_the_library_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {
        f"{package.replace('.', '/')}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, package in FOLDERS.items()
        for pattern in ("*.py", "*.html", "py.typed")
        for path in (ROOT / folder).rglob(pattern)
    }
    assert names == expected
    assert {f"{package.replace('.', '/')}/py.typed" for package in FOLDERS.values()} <= names


def test_wheel_trains_a_layer_with_the_declared_dependencies(wheel: Path, tmp_path: Path) -> None:
    needs = [Requirement(text).name for text in PROJECT["project"]["dependencies"]]
    python = _environment(tmp_path / "venv", needs, str(wheel))
    files = _run([str(python), "-I", "-c", USE_TORCH_API], cwd=tmp_path).split()
    assert len(files) == 3
    assert all(Path(file).is_relative_to(tmp_path) for file in files)


def test_the_demonstration_of_the_sdist_runs_with_the_wheel(wheel: Path, tmp_path: Path) -> None:
    (sdist,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    extra = [Requirement(text).name for text in EXTRAS["examples"] + EXTRAS["plots"]]
    needs = [Requirement(text).name for text in PROJECT["project"]["dependencies"]]
    needs += [name for name in extra if name != "evtorch"]
    python = _environment(tmp_path / "venv", needs, str(wheel))
    options = ["--epochs", "1", "--hidden", "20", "--out", str(tmp_path / "out")]
    printed = _run([str(python), "examples/yinyang.py", *options], cwd=unpacked)
    assert "test accuracy" in printed
    assert (tmp_path / "out" / "figure.png").exists()


def test_jax_core_works_where_torch_is_not_installed(wheel: Path, tmp_path: Path) -> None:
    python = _environment(tmp_path / "venv", ["jax", "numpy"], str(wheel))
    version, *files = _run([str(python), "-I", "-c", USE_TOP_LEVEL], cwd=tmp_path).split()
    assert version == PROJECT["project"]["version"]
    assert all(Path(file).is_relative_to(tmp_path) for file in files)
    (file,) = _run([str(python), "-I", "-c", USE_JAX_CORE], cwd=tmp_path).split()
    assert Path(file).is_relative_to(tmp_path)


@pytest.mark.parametrize("options", [["--editable"], []], ids=["editable", "plain"])
def test_checkout_is_installed_by_pip(options: list[str], source: Path, tmp_path: Path) -> None:
    needs = ["jax", "numpy", "setuptools"]
    python = _environment(tmp_path / "venv", needs, *options, str(source))
    # In the checkout too: what lies in the current folder must not hide what is installed.
    for folder in (tmp_path, source):
        printed = _run([str(python), "-c", USE_TOP_LEVEL], cwd=folder).split()
        assert printed[0] == PROJECT["project"]["version"]
        inside = source if options else tmp_path
        assert all(Path(file).is_relative_to(inside) for file in printed[1:])
