"""Write the tables of README.md anew, from readme_tables.toml and the results that it names.

    python benchmarks/readme_tables.py   # or: make tables ONLY=readme

Nothing is timed. A table stands between ``<!-- table NAME -->`` and ``<!-- end of table NAME -->``.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
RESULTS = "benchmarks/results"
Cell = str | dict[str, Any]


class Value(str):
    """What a results file has in a cell; format it as a number, or as one of several."""

    def __format__(self, how: str) -> str:
        numbers = [float(number) for number in re.findall(r"-?[\d.]+(?:e[-+]?\d+)?", self)]
        if how == "first":
            return self.split()[0]
        if how == "range":
            return f"{min(numbers)} - {max(numbers)}"
        return format(numbers[0], how) if how else str(self)


def tables() -> dict[str, Any]:
    """Header and rows of each table."""
    text = (ROOT / "benchmarks" / "readme_tables.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def link(cell: Cell) -> str:
    """What shows a cell: a file from the root, or ``file::test``; empty if nothing does."""
    if isinstance(cell, str):
        return ""
    return cell.get("link") or (f"{RESULTS}/{cell['file']}" if "file" in cell else "")


def values(cell: dict[str, Any]) -> list[Value]:
    """What a cell takes from its results file. Raises ``ValueError`` if that is not there."""
    text = (ROOT / RESULTS / cell["file"]).read_text(encoding="utf-8")
    if "pattern" in cell:
        found = re.search(cell["pattern"], text)
        if found is None:
            raise ValueError(f"{cell['file']} has nothing like {cell['pattern']}")
        return [Value(group) for group in found.groups()]
    columns = cell.get("columns") or [cell["column"]]
    for header, row in _rows(text):
        if row[: len(cell["row"])] == cell["row"] and set(columns) <= set(header):
            return [Value(row[header.index(column)]) for column in columns]
    raise ValueError(f"{cell['file']} has no row {cell['row']} with the columns {columns}")


def _rows(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """The rows of all tables of a page, each with its header."""
    header: list[str] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            header = []
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not header:
            header = cells
        elif not set("".join(cells)) <= {"-", ":"}:
            yield header, cells


def shown(cell: Cell) -> str:
    """A cell in Markdown; the name of a test is the link's title."""
    if isinstance(cell, str):
        return cell
    found = values(cell) if "file" in cell else []
    text = cell.get("text", "{0}").format(*found)
    file, _, test = link(cell).partition("::")
    title = f' "{test}"' if test else ""
    return f"[{text}]({file}{title})" if file else text


def table(name: str) -> str:
    """A table in Markdown."""
    header, rows = tables()[name]["header"], tables()[name]["rows"]
    lines = [header, ["---"] * len(header), *([shown(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def refreshed(text: str) -> str:
    """The README with its tables as they are now."""
    for name in tables():
        begin, end = f"<!-- table {name} -->\n", f"\n<!-- end of table {name} -->"
        before, found, rest = text.partition(begin)
        _, ends, after = rest.partition(end)
        if not (found and ends):
            raise ValueError(f"README.md lacks the markers of the table {name!r}")
        text = before + begin + "\n" + table(name) + "\n" + end + after
    return text


if __name__ == "__main__":
    before = README.read_text(encoding="utf-8")
    if (now := refreshed(before)) != before:
        README.write_text(now, encoding="utf-8")
    print(f"{README.name} {'is as it was' if now == before else 'has changed'}")
