"""torch's operators on torch's own samples: values, gradients and dtypes in JAX.

``EVTORCH_OPERATOR_SAMPLES=8`` takes up to eight samples of all operators, not one of some.
"""

import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evtorch.bridge.lower._reasons import NotLowered

FOLDER = Path(__file__).parent


def _load_samples() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        return importlib.import_module("_samples")


samples = _load_samples()
# By torch's own names, those that become JAX entirely.
NAMES = (FOLDER / "operators.txt").read_text().split()
# torch warns of operators that it discourages.
pytestmark = pytest.mark.filterwarnings("ignore")
COUNT = int(os.environ.get("EVTORCH_OPERATOR_SAMPLES", "0"))
DOUBLE = NAMES if COUNT else NAMES[::4]
SINGLE = NAMES if COUNT else NAMES[1::24]
GROUPS = 4


def supported(name, dtype):
    """The dtype, or the integer one for operators of integers; None for those of this version of
    torch only."""
    op = samples.OPERATORS.get(name)
    found = [d for d in (dtype, torch.int64) if op is not None and op.supports_dtype(d, "cpu")]
    return found[0] if found else None


def lowered(names, dtype):
    """Samples that torch runs, with the JAX programs that they become."""
    for name in names:
        kind = supported(name, dtype)
        for sample in samples.samples(name, kind, max(COUNT, 1)) if kind else ():
            try:
                program = samples.lowered(sample)
            except NotLowered as error:
                # `double`, `cdouble` and their like, with which JAX's x64 mode must be on.
                if any(f"torch.{wide} inside" in str(error) for wide in ("float64", "complex128")):
                    continue
                raise
            if not program.random:
                expected, used, weights = samples.in_torch(sample)
                yield expected, (sample, program, used, weights)


def compare(found, expected, name, tolerance):
    """Compare arrays; wide dtypes may be narrow where JAX has no others."""
    assert len(found) == len(expected), name
    for array, wanted in zip(found, expected, strict=True):
        narrow = {"int64": "int32", "uint64": "uint32"}.get(wanted.dtype.name, wanted.dtype.name)
        names = wanted.dtype.name if tolerance < 1e-6 else narrow
        assert (array.shape, array.dtype.name) == (wanted.shape, names), name
        finite = np.isfinite(wanted)
        scale = np.abs(np.where(finite, wanted, 0)).astype(float).max(initial=1)
        np.testing.assert_allclose(
            array, wanted, rtol=100 * tolerance, atol=scale * tolerance, err_msg=name
        )


@pytest.mark.parametrize("group", range(GROUPS))
def test_double(group, x64):
    found = list(lowered(DOUBLE[group::GROUPS], torch.float64))
    results = samples.run_together([program for _, program in found])
    for (expected, (sample, *_)), outcome in zip(found, results, strict=True):
        compare(outcome.values, expected.values, sample.name, 1e-10)
        compare(outcome.gradients, expected.gradients, sample.name, 1e-9)


def test_single():
    found = list(lowered(SINGLE, torch.float32))
    results = samples.run_together([program for _, program in found])
    for (expected, (sample, *_)), outcome in zip(found, results, strict=True):
        compare(outcome.values, expected.values, sample.name, 1e-4)
        compare(outcome.gradients, expected.gradients, sample.name, 1e-3)
