"""The code in the user guide and in the guide to training runs, from top to bottom."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("guide", "least"), [("torch_api.md", 6), ("training.md", 1)])
def test_the_guide_runs(guide, least, capsys):
    text = (DOCS / guide).read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= least
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, guide, "exec"), names)
    assert capsys.readouterr().out.startswith("layer  neurons  samples  silent")
