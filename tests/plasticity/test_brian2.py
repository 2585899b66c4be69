"""STDP of pairs is that of Brian 2 on the same spikes, in the environment of ``make pynn``."""

import os
import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest

from evtorch.jax_core.plasticity import PairSTDP

from .._thorough import usual

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("EVTORCH_PYNN_PYTHON", ROOT / ".venv-pynn/bin/python"))
STEP, STEPS = 1e-4, 3000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="Brian 2 is not installed: make pynn"),
]


def drawn(rng: np.random.Generator, neurons: int, most: int) -> np.ndarray:
    """Spikes on Brian's clock, of which many coincide; one neuron is silent."""
    steps = np.full((neurons, most), np.inf)
    for neuron in range(1, neurons):
        count = rng.integers(1, most + 1)
        steps[neuron, :count] = np.sort(rng.choice(STEPS // 10, count, replace=False)) * 10
    return steps * STEP


@pytest.mark.parametrize("mu", usual({None}, [None, 0.0]))
def test_weights_are_those_of_brian2(
    mu: float | None, tmp_path: Path, rng: np.random.Generator
) -> None:
    pre, post = drawn(rng, 6, 40), drawn(rng, 4, 60)
    coincident = np.intersect1d(pre[np.isfinite(pre)], post[np.isfinite(post)])
    assert len(coincident) > 10
    weight = rng.uniform(0.2, 0.8, (4, 6))
    rule = PairSTDP(
        a_plus=0.05, a_minus=0.06, tau_plus=0.02, tau_minus=0.03, mu=mu, w_min=0.0, w_max=1.0
    )
    names = ("a_plus", "a_minus", "tau_plus", "tau_minus", "w_min", "w_max")
    np.savez(
        tmp_path / "given.npz",
        pre=pre,
        post=post,
        weight=weight,
        step=STEP,
        t_max=STEP * (STEPS + 1),
        bounded=mu is not None,
        **{name: getattr(rule, name) for name in names},
    )
    script = Path(__file__).with_name("_brian2_stdp.py")
    command = [str(PYTHON), str(script), str(tmp_path / "given.npz"), str(tmp_path / "found.npy")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with jax.enable_x64(True):
        change = np.asarray(rule(weight, pre, post))
    assert np.abs(change).max() > 0.1
    np.testing.assert_allclose(weight + change, np.load(tmp_path / "found.npy"), atol=1e-9)
