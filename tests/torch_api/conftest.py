"""What tests of layers share."""

import logging

import jax
import pytest


@pytest.fixture
def compiled(caplog):
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
