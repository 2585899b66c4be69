"""The code in the hardware guide runs, and its backend in 40 lines does what it says."""

import re
from pathlib import Path

import numpy as np

GUIDE = Path(__file__).parents[2] / "docs" / "hardware.md"


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
    difference = names["difference"].detach().numpy()
    seen = np.isfinite(difference)
    assert seen.mean() > 0.3
    assert not np.isinf(difference).any(), "spikes of one side only"
    # Model seconds: a few steps of 0.1 µs, a thousand times slower.
    assert np.median(difference[seen]) < 5e-4
    assert difference[seen].max() < 2e-3
