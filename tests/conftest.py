"""Settings and fixtures that every test shares."""

import gc
import importlib
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import jax
import numpy as np
import pytest
import torch

# The test processes, the programs that they start, and later runs share what they compile. With a
# limit of the size JAX looks through the whole folder at each entry that it adds, a tenth of the
# time of all tests; what one process reads while another writes it is compiled once more.
_CACHE_FOLDER, _CACHE_SIZE = Path(__file__).parents[1] / ".jax_cache", 2**30
_JAX = {
    "jax_compilation_cache_dir": str(_CACHE_FOLDER),
    "jax_persistent_cache_min_compile_time_secs": 0.1,
    # What XLA would show in its errors of where an operation stands takes a twentieth of the time.
    "jax_traceback_in_locations_limit": 0,
}
for _name, _value in _JAX.items():
    if _name.upper() not in os.environ:
        os.environ[_name.upper()] = str(_value)
        jax.config.update(_name, _value)

# In CI a failure must come from the change under test, so examples are drawn the same every time.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--thorough", action="store_true", help="run all cases, also similar ones")


def pytest_configure(config: pytest.Config) -> None:
    """Begin a new cache when that of earlier runs has become large."""
    is_worker = hasattr(config, "workerinput")
    files = [] if is_worker else [file for file in _CACHE_FOLDER.glob("*") if file.is_file()]
    if sum(file.stat().st_size for file in files) > _CACHE_SIZE:
        shutil.rmtree(_CACHE_FOLDER)


def pytest_collection_finish() -> None:
    """Let Python's garbage collector look at what tests make only, and less often.

    JAX's programs are many objects: the collector took a tenth of the time of all tests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what `_thorough.usual` leaves out, if not asked for everything."""
    if config.getoption("--thorough"):
        return
    left = [item for item in items if item.get_closest_marker("thorough")]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if not item.get_closest_marker("thorough")]


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Start every test from the same state of torch's global generator, whatever ran before."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _strict_promotion() -> Iterator[None]:
    """Make JAX refuse to mix dtypes, which would hide a loss of precision."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def x64() -> Iterator[None]:
    """Let JAX compute in float64 for the duration of one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded NumPy generator."""
    return np.random.default_rng(0)


@pytest.fixture
def compiled(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """A list that grows by one with every program that XLA compiles."""
    programs: list[str] = []

    class Count(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("Compiling "):
                programs.append(record.getMessage())

    handler, logger = Count(), logging.getLogger("jax")
    logger.addHandler(handler)
    with jax.log_compiles(True):
        yield programs
    logger.removeHandler(handler)


@pytest.fixture(scope="module")
def imported() -> Iterator[Any]:
    """To import modules of the examples, which are not left behind for other tests."""
    examples = Path(__file__).parents[1] / "examples"
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(examples)
        yield importlib.import_module
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent == examples:
            del sys.modules[name]
