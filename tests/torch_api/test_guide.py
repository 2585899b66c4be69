"""The code in the user guide runs, from top to bottom."""

import re
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "torch_api.md"


def test_the_guide_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) > 5
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(GUIDE), "exec"), names)
    assert capsys.readouterr().out.startswith("layer  neurons  samples  silent")
