"""Fixtures of the hardware tests."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A temporary folder for Unix sockets, whose paths may have about 100 characters."""
    with tempfile.TemporaryDirectory(prefix="evtorch-test-") as folder:
        yield Path(folder)
