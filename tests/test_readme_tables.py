"""README's tables are what their sources give, links lead somewhere, results have commands."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"
ANEW = "run `make tables ONLY=readme`"


@pytest.fixture
def readme(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("readme_tables")


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("tables")


def test_the_readme_is_what_the_generator_gives(readme: Any) -> None:
    text = readme.README.read_text(encoding="utf-8")
    assert readme.refreshed(text) == text, ANEW


def test_every_number_has_a_link_that_exists_or_a_reason(readme: Any) -> None:
    for name, table in readme.tables().items():
        for label, *cells in table["rows"]:
            assert isinstance(label, str)
            assert len(cells) == len(table["header"]) - 1
            for cell in cells:
                file, _, test = readme.link(cell).partition("::")
                if not file:
                    assert cell.get("why"), f"{name}: {label}: {cell}"
                    continue
                assert (ROOT / file).is_file(), file
                functions = set()
                if test:
                    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
                    functions = {x.name for x in tree.body if isinstance(x, ast.FunctionDef)}
                assert not test or test in functions, f"{file} has no {test}"


def test_values_that_are_not_there_are_named(readme: Any) -> None:
    cell = {"file": "exactness.md", "row": ["jaxsnn"], "column": "price"}
    with pytest.raises(ValueError, match=r"exactness.md has no row \['jaxsnn'\] with the columns"):
        readme.shown(cell)
    with pytest.raises(ValueError, match="nothing like"):
        readme.shown({"file": "exactness.md", "pattern": "not in (it)"})


def test_every_result_is_written_by_a_command_that_says_when_and_where(listed: Any) -> None:
    written = {Path(table.page).name for table in listed.TABLES.values()}
    results = {path.name for path in (BENCHMARKS / "results").glob("*.md")}
    assert results <= written | set(listed.ELSEWHERE)
    for table in listed.TABLES.values():
        for script in re.findall(r"benchmarks/(\w+\.py)", table.command):
            text = (BENCHMARKS / script).read_text(encoding="utf-8")
            if table.page.startswith("benchmarks/results"):
                assert re.search(r"\b(described|machine)\(", text), f"{script} names no versions"
                assert "load()" in text, f"{script} does not say what else ran"
        assert (ROOT / table.page).parent.is_dir()


def test_reports_begin_with_the_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    timing: Any = importlib.import_module("timing")
    assert re.match(r"date 20\d\d-\d\d-\d\d, processor ", timing.described())


def test_tables_are_chosen_by_name() -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(BENCHMARKS / "tables.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    wrong = run("none")
    assert wrong.returncode == 2
    assert "no table is called none; there are training_step" in wrong.stderr
    before = (ROOT / "README.md").read_bytes()
    done = run("readme")
    assert done.returncode == 0, done.stderr
    assert "[1/1] readme: python benchmarks/readme_tables.py" in done.stdout
    assert (ROOT / "README.md").read_bytes() == before
