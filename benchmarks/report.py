"""Results of a run as tables."""

import json
from pathlib import Path
from typing import Any

import numpy as np

BASELINE = "jaxsnn"


def write_report(results: dict[str, Any], folder: Path) -> str:
    """Write ``training_step.json`` and ``.md`` into ``folder``; return the latter's text."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "training_step.json").write_text(json.dumps(results, indent=2) + "\n")
    text = "\n\n".join(
        [
            "# Yin-Yang training step: evtorch and jaxsnn",
            _conditions(results),
            "## Time per step, 5-100-3, batch 64, one spike per neuron\n\n" + _steps(results),
            "## First call in a fresh process\n\n" + _fresh(results),
            "## Size of the hidden layer\n\n" + _scaling(results),
        ]
    )
    (folder / "training_step.md").write_text(text + "\n")
    return text


def _conditions(results: dict[str, Any]) -> str:
    machine = ", ".join(f"{key} {value}" for key, value in results["machine"].items())
    return (
        f"Written by `make bench`. {machine}. Load averages before {results['load before']}, "
        f"after {results['load after']}. All rows of a table were timed in turns in one run."
    )


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _milliseconds(timing: dict[str, float]) -> str:
    median, lower, upper = (
        1e3 * timing[key] for key in ("median", "lower_quartile", "upper_quartile")
    )
    return f"{median:.3g} ({lower:.3g}-{upper:.3g})"


def _steps(results: dict[str, Any]) -> str:
    steps = results["steps"]
    rows = []
    for row in steps.values():
        ratios = [
            steps[BASELINE][kind]["median"] / row[kind]["median"]
            for kind in ("train step", "forward")
        ]
        apart = row["agreement"]
        rows.append(
            [
                row["name"],
                _milliseconds(row["train step"]),
                f"{ratios[0]:.2f}",
                _milliseconds(row["forward"]),
                f"{ratios[1]:.2f}",
                f"{apart['largest difference in tau_syn']:.1e} tau_syn; "
                f"{apart['spikes only one has']} of 192",
            ]
        )
    header = [
        "contender",
        "training step, ms: median (quartiles)",
        "times faster",
        "forward, ms: median (quartiles)",
        "times faster",
        "first spikes differ from the first row by at most; are missing in one of the two",
    ]
    return _table(header, rows)


def _fresh(results: dict[str, Any]) -> str:
    rows = [
        [
            results["steps"][name]["name"],
            f"{probe['compile seconds']:.2f}",
            f"{1e3 * probe['second step seconds']:.3g}",
            f"{probe['memory']:.0f}",
        ]
        for name, probe in results["fresh processes"].items()
    ]
    header = ["contender", "compile, s", "second step, ms", "peak memory beyond the imports', MiB"]
    return _table(header, rows)


def _scaling(results: dict[str, Any]) -> str:
    sizes = list(results["scaling"])
    rows = []
    for kind in ("train step", "forward"):
        for name, first in results["scaling"][sizes[0]].items():
            seconds = [results["scaling"][size][name][kind]["median"] for size in sizes]
            slope = np.polyfit(np.log(np.array(sizes, float)), np.log(seconds), 1)[0]
            last = np.log(seconds[-1] / seconds[-2]) / np.log(sizes[-1] / sizes[-2])
            times = [f"{1e3 * value:.3g}" for value in seconds]
            rows.append([first["name"], kind, *times, f"{slope:.2f}", f"{last:.2f}"])
    header = [
        "contender",
        "median ms of",
        *(f"hidden {size}" for size in sizes),
        "exponent",
        "exponent of the last doubling",
    ]
    return _table(header, rows)
