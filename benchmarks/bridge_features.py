"""Run the same small programs on every bridge and write down which come out right.

    python benchmarks/bridge_features.py [--out docs/bridge_features.md]

A cell says *yes*, *wrong* (it ran and the result is wrong) or *no* (it raised).
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import bridge_cases_in_jax
import bridge_cases_in_torch
import jax
import torch
from bridge_peers import IN_JAX, IN_TORCH


def outcome(case: Callable[[Any], None], make: Callable[..., Any]) -> str:
    """``yes``, ``wrong`` or ``no``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            case(make)
    except bridge_cases_in_torch.Wrong:
        return "**wrong**"
    except Exception:
        return "no"
    return "yes"


def unusable(make: Callable[..., Any], first: Callable[[Any], None]) -> str | None:
    """Why not even the first program runs on a bridge, in one line; None if it does."""
    try:
        first(make)
    except bridge_cases_in_torch.Wrong:
        return None
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
    return None


def table(
    title: str,
    peers: Mapping[str, Callable[..., Any]],
    cases: Mapping[str, Callable[[Any], None]],
) -> list[str]:
    """Markdown: one row per program, one column per bridge that runs any."""
    first = next(iter(cases.values()))
    reasons = {name: unusable(make, first) for name, make in peers.items()}
    running = {name: make for name, make in peers.items() if reasons[name] is None}
    lines = [f"## {title}", "", f"| | {' | '.join(running)} |", f"|---|{'---|' * len(running)}"]
    for what, case in cases.items():
        cells = [outcome(case, make) for make in running.values()]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    broken = {name: why for name, why in reasons.items() if why is not None}
    if broken:
        lines += ["", "Not usable with these versions, not even for the first row:", ""]
        lines += [f"- {name}: `{why}`" for name, why in broken.items()]
    return [*lines, ""]


def main() -> None:
    """Write both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).parent.parent / "docs" / "bridge_features.md"
    parser.add_argument("--out", type=Path, default=default)
    out = parser.parse_args().out
    lines = [
        "# What the bridges between PyTorch and JAX can do",
        "",
        "Written by `python benchmarks/bridge_features.py`, which runs one small program per row",
        f"on every bridge (torch {torch.__version__}, jax {jax.__version__}, CPU). *wrong*: it ran",
        "and the result was wrong; *no*: it raised.",
        "",
        *table("JAX functions in torch", IN_TORCH, bridge_cases_in_torch.CASES),
        *table("torch modules in JAX", IN_JAX, bridge_cases_in_jax.CASES),
    ]
    out.write_text("\n".join(lines).rstrip() + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
