"""The worker's folder stands alone: it is copied, started by its path, and needs NumPy only."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from evtorch.jax_core.hardware import WORKER_SCRIPT, WorkerBackend, WorkerError
from tests.hardware._workers import BACKENDS, assert_answers

FOLDER = WORKER_SCRIPT.parent
MODULES = {
    ".".join(("evtorch_worker", *path.relative_to(FOLDER).with_suffix("").parts))
    for path in FOLDER.rglob("*.py")
}

IMPORT_ALL = """
import importlib, sys

class NumPyAlone:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {"numpy", "evtorch_worker", *sys.stdlib_module_names}:
            raise ModuleNotFoundError(f"a worker cannot import {name}", name=name)

sys.meta_path.insert(0, NumPyAlone())
for blocked in ("evtorch", "jax", "torch"):
    try:
        importlib.import_module(blocked)
    except ModuleNotFoundError:
        continue
    raise AssertionError(f"{blocked} can be imported")
for name in sys.argv[1:]:
    importlib.import_module(name)

import evtorch_worker
from evtorch_worker import _worker_pynn, _worker_pynn_brainscales, pynn
print(evtorch_worker.__file__)
assert _worker_pynn.brian2 is pynn.brian2
assert _worker_pynn.simulator is pynn.simulator
assert _worker_pynn_brainscales.calibrated is pynn.brainscales.calibrated
assert _worker_pynn_brainscales.precalibrated is pynn.brainscales.precalibrated
"""


def copied(folder: Path) -> Path:
    """The worker's folder alone, at ``folder``."""
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_every_module_of_a_copied_folder_imports_with_numpy_alone(tmp_path):
    copy = copied(tmp_path / "evtorch_worker")
    assert {"evtorch_worker.__main__", "evtorch_worker.pynn.brainscales._chip"} < MODULES
    command = [sys.executable, "-c", IMPORT_ALL, *sorted(MODULES)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == copy / "__init__.py"


def test_the_folder_keeps_to_the_syntax_of_python_3_10():
    for path in FOLDER.rglob("*.py"):
        ast.parse(path.read_text(), str(path), feature_version=(3, 10))


VENDOR = """
import sys
import evtorch_worker
from evtorch_worker import Layer, Network, Observation, check_weights
sys.path.append({tests!r})
from _worker_backends import Answering

class Chip(Answering):
    name = evtorch_worker.__path__[0]

assert not {{"evtorch", "jax", "torch"}} & set(sys.modules)
assert Layer.__module__ == "evtorch_worker._contract"
"""


@pytest.mark.parametrize("spelling", ["a copied folder", "the installed folder", "_worker.py"])
def test_a_worker_is_started_by_the_path_of_its_folder(short_path, spelling):
    if spelling == "a copied folder":
        started = folder = copied(short_path / "chip")
    else:
        started, folder = FOLDER, FOLDER
    if spelling == "_worker.py":  # as before there was a folder
        started = FOLDER.parent / spelling
    (short_path / "vendor.py").write_text(VENDOR.format(tests=str(BACKENDS.parent)))
    command = [sys.executable, str(started), "--backend", "vendor:Chip", "--socket", "s"]
    process = subprocess.Popen(command, cwd=short_path)
    try:
        with WorkerBackend.attach(f"unix:{short_path / 's'}", connect_timeout=60) as worker:
            assert Path(worker.name) == folder.resolve()
            assert_answers(worker)
    finally:
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("backend", "library"),
    [
        ("evtorch_worker.pynn:simulator", "pyNN"),
        ("evtorch_worker._worker_pynn:simulator", "pyNN"),
        ("evtorch_worker.pynn.brainscales:calibrated", "pynn_brainscales"),
        ("evtorch_worker._worker_pynn_brainscales:calibrated", "pynn_brainscales"),
    ],
)
def test_the_backends_on_pynn_are_found_by_their_names_old_and_new(tmp_path, backend, library):
    (tmp_path / f"{library}.py").write_text("raise ImportError('the library that was asked for')")
    options = {"name": "none"} if library == "pyNN" else {}
    with pytest.raises(WorkerError, match="ImportError: the library that was asked for"):
        WorkerBackend.start(backend, options, folder=tmp_path)
