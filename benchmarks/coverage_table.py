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
LEAST = 95.0
"""Files of which a smaller share runs are listed, in percent."""
_VERSIONS = "what other versions of {} lack"
_KILLED = "in worker processes, which tests kill"
UNSEEN = {
    "bridge/_arrays.py": "with CUDA",
    "bridge/_compile.py": "compiled by torch.compile, which hides it from coverage.py",
    "bridge/_host.py": "in threads of JAX",
    "bridge/_jax_internals.py": _VERSIONS.format("JAX"),
    "bridge/_torch_internals.py": _VERSIONS.format("torch"),
    "jax_core/hardware/worker/_handshake.py": _KILLED,
    "jax_core/hardware/worker/_keepalive.py": _KILLED,
    "jax_core/hardware/worker/_server.py": _KILLED,
    "jax_core/hardware/worker/pynn/_simulator.py": "by the Python of .venv-pynn",
}
"""Where lines run that are not seen, or cannot run."""


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
        f"Files of which less than {LEAST:g} % run, and where the rest runs, if it is not seen or",
        "cannot run here:",
        "",
        "| file | statements | run, % | lines that do not run | rest |",
        "|---|---|---|---|---|",
    ]
    for name in (name for name in least if files[name]["summary"]["percent_covered"] < LEAST):
        total, ran = _sum(files[name]["summary"])
        missing = ", ".join(map(str, files[name]["missing_lines"][:10]))
        more = ", ..." if len(files[name]["missing_lines"]) > 10 else ""
        share, rest = 100 * ran / max(total, 1), UNSEEN.get(name, "")
        lines.append(f"| {name} | {total} | {share:.1f} | {missing}{more} | {rest} |")
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
