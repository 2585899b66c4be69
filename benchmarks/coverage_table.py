"""Write which share of the library's lines the tests run, from what `make coverage` measured.

make coverage                  # all tests, which takes longer than without
python benchmarks/coverage_table.py [--json coverage.json] [--out benchmarks/results/coverage.md]
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from timing import described, load

ROOT = Path(__file__).parent.parent
LEAST_COVERED = 10


def parts(files: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Statements, and how many of them ran, of each folder at most two levels deep."""
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for name, file in files.items():
        folder = "/".join(Path(name).parent.parts[:2])
        for part in {folder.split("/")[0], folder}:
            found[part][0] += file["summary"]["num_statements"]
            found[part][1] += file["summary"]["covered_lines"]
    return {name: (total, covered) for name, (total, covered) in sorted(found.items())}


def report(measured: dict[str, Any]) -> str:
    """Markdown."""
    files = measured["files"]
    rows = {**parts(files), "**all**": _sum(measured["totals"])}
    least = sorted(files, key=lambda name: files[name]["summary"]["percent_covered"])
    lines = [
        "# Lines that the tests run",
        "",
        f"Written by `make coverage`, coverage.py {measured['meta']['version']}. Statements of the",
        "library, in test processes and in the programs that tests start. Load averages at the end",
        f"{load()}. {described()}.",
        "",
        "| part | statements | run, % |",
        "|---|---|---|",
        *(f"| {name} | {n} | {100 * ran / max(n, 1):.1f} |" for name, (n, ran) in rows.items()),
        "",
        "Files with the smallest share:",
        "",
        "| file | statements | run, % | lines that do not run |",
        "|---|---|---|---|",
    ]
    for name in least[:LEAST_COVERED]:
        total, ran = _sum(files[name]["summary"])
        missing = ", ".join(map(str, files[name]["missing_lines"][:10]))
        more = ", ..." if len(files[name]["missing_lines"]) > 10 else ""
        lines.append(f"| {name} | {total} | {100 * ran / max(total, 1):.1f} | {missing}{more} |")
    return "\n".join(lines) + "\n"


def _sum(summary: dict[str, Any]) -> tuple[int, int]:
    return summary["num_statements"], summary["covered_lines"]


def main() -> None:
    """Read the measurement, write the table."""
    parser = argparse.ArgumentParser(description="Write benchmarks/results/coverage.md.")
    parser.add_argument("--json", type=Path, default=ROOT / "coverage.json", help="(%(default)s)")
    results = ROOT / "benchmarks" / "results"
    parser.add_argument("--out", type=Path, default=results / "coverage.md", help="(%(default)s)")
    own = parser.parse_args()
    text = report(json.loads(own.json.read_text()))
    own.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
