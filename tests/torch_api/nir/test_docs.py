"""The code in docs/nir.md runs, from top to bottom, and prints what it says."""

import re
import warnings
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "nir.md"


def test_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) > 4
    names: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch, in Norse
        for block in blocks:
            exec(compile(block, str(PAGE), "exec"), names)
    tables = capsys.readouterr().out.splitlines()
    assert len(tables) == 4
    assert tables[0] in text
