"""The functions behind the closed forms, to their last digits."""

import jax
import mpmath
import numpy as np
import pytest

from evtorch.jax_core.neuron._kernel import SERIES_BELOW, relative_decay, relative_decay_slope
from evtorch.jax_core.readout._integral import lag, rise


def exact_decay(x):
    return -mpmath.expm1(-x) / x if x else mpmath.mpf(1)


EXACT = {
    relative_decay: exact_decay,
    relative_decay_slope: lambda x: (mpmath.exp(-x) - exact_decay(x)) / x if x else -0.5,
    lag: lambda x: 1 - exact_decay(x),
    rise: lambda x: 1 - (1 + x) * mpmath.exp(-x),
}


@pytest.mark.parametrize(
    ("function", "units"),
    [(relative_decay, 1.5), (relative_decay_slope, 10), (lag, 10), (rise, 10)],
    ids=lambda value: getattr(value, "__name__", None),
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_they_are_exact_to_rounding(function, units, dtype, rng):
    """Within a few units of the last place, on both sides of where the series ends.

    Just beyond, closed forms subtract numbers up to 5 times as large as their difference.
    """
    eps = np.finfo(dtype).eps
    near = SERIES_BELOW * (1 + eps * np.arange(-50, 50))
    x = np.concatenate([[0], 10 ** rng.uniform(-12, 1.5, 2000), rng.uniform(0, 2, 2000), near])
    x = x.astype(dtype)
    with jax.enable_x64(dtype == np.float64), mpmath.workdps(60):
        found = np.asarray(jax.jit(function)(x))
        for argument, value in zip(x.tolist(), found.tolist(), strict=True):
            exact = EXACT[function](mpmath.mpf(argument))
            assert abs(value - exact) <= units * eps * abs(exact), argument
