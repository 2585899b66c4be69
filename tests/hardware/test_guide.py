"""The code in the hardware guide runs, and its backend in 40 lines does what it says."""

import dataclasses
import re
from pathlib import Path

import numpy as np

from evtorch import torch_api as snn

GUIDE = Path(__file__).parents[2] / "docs" / "hardware.md"
CONSTANTS = ("weight", "tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset", "refractory")


def test_the_guide_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(GUIDE), "exec"), names)
    printed = capsys.readouterr().out
    assert "unpredicted" in printed
    assert "23 neurons; not corrected: 0 silent" in printed
    assert len(blocks[2].split("\n\n\n")[0].splitlines()) <= 40
    # The guide's backend keeps the conventions, so that it can be measured.
    clocked = names["clocked"]
    small = snn.hardware.Network(
        tuple(
            dataclasses.replace(layer, **{name: getattr(layer, name)[:3] for name in CONSTANTS})
            for layer in clocked.networks()[0].layers[:1]
        )
    )
    measured = snn.hardware.Calibration.measure(clocked.backend, small, repeats=1)
    assert measured.counts() == {"neurons": 3, "silent": 0, "implausible": 0}
    # A step of 0.1 µs is a hundredth of the time constants.
    assert abs(measured.factors("threshold") - 1).max() < 0.1
    assert abs(measured.factors("tau_mem") - 1).max() < 0.1
    difference = names["difference"].detach().numpy()
    seen = np.isfinite(difference)
    assert seen.mean() > 0.3
    assert not np.isinf(difference).any(), "spikes of one side only"
    # Model seconds: a few steps of 0.1 µs, a thousand times slower.
    assert np.median(difference[seen]) < 5e-4
    assert difference[seen].max() < 2e-3
