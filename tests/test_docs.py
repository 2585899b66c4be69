"""All code in README and docs runs, page by page from top to bottom, and does what pages say."""

import dataclasses
import math
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from matplotlib import pyplot

from evtorch import bridge, jax_core
from evtorch import torch_api as snn

from ._pages import ROOT, all_blocks, code_of
from ._pages import run as run_page

TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
PAGES = {
    path.name: path
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *TUTORIALS)
}
# jaxsnn configures logging where it is imported; Brian 2 is in an environment of its own, for which
# tests/hardware/test_worker_pynn.py runs the code of workers.md; tests/test_parallel.py starts
# several processes with that of parallel.md.
APART = {"jaxsnn.md", "parallel.md", "workers.md"}
CONSTANTS = ("weight", "tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset", "refractory")


NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")


def blocks_of(page: str) -> list[str]:
    return code_of(PAGES[page])


def check_reports(names: dict[str, Any], printed: str, page: str) -> None:
    assert printed.startswith("layer  neurons  samples  silent")


def check_tables(names: dict[str, Any], printed: str, page: str) -> None:
    tables = printed.splitlines()
    assert len(tables) == 4
    assert tables[0] in PAGES[page].read_text(encoding="utf-8")


def check_a_backend_in_40_lines(names: dict[str, Any], printed: str, page: str) -> None:
    assert "unpredicted" in printed
    assert "23 neurons; not corrected: 0 silent" in printed
    assert len(blocks_of(page)[2].split("\n\n\n")[0].splitlines()) <= 40
    # It keeps the conventions, so that it can be measured.
    clocked = names["clocked"]
    small = snn.hardware.Network(
        tuple(
            dataclasses.replace(layer, **{name: getattr(layer, name)[:3] for name in CONSTANTS})
            for layer in clocked.networks()[0].layers[:1]
        )
    )
    measured = snn.hardware.Calibration.measure(clocked.backend, small, repeats=1)
    assert measured.counts() == {"neurons": 3, "silent": 0, "implausible": 0}
    # A step of 0.1 µs is a hundredth of the time constants.
    assert abs(measured.factors("threshold") - 1).max() < 0.1
    assert abs(measured.factors("tau_mem") - 1).max() < 0.1
    difference = names["difference"].detach().numpy()
    seen = np.isfinite(difference)
    assert seen.mean() > 0.3
    assert not np.isinf(difference).any(), "spikes of one side only"
    # Model seconds: a few steps of 0.1 µs, a thousand times slower.
    assert np.median(difference[seen]) < 5e-4
    assert difference[seen].max() < 2e-3


CHECKS: dict[str, Callable[[dict[str, Any], str, str], None]] = {
    "hardware.md": check_a_backend_in_40_lines,
    "nir.md": check_tables,
    "torch_api.md": check_reports,
    "training.md": check_reports,
}
WITH_CODE = sorted(page for page in PAGES if blocks_of(page))


@pytest.mark.parametrize("page", [page for page in WITH_CODE if page not in APART])
def test_the_page_runs(
    page: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    # As users have it.
    with warnings.catch_warnings(), jax.numpy_dtype_promotion("standard"):
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch, in Norse and in jacfwd
        done = run_page(PAGES[page])
    pyplot.close("all")
    if page in CHECKS:
        CHECKS[page](done.names, done.printed, page)
    for block, printed in done.shown:
        check_shown(block.text, printed)


def check_shown(text: str, printed: str) -> None:
    """The same words, and numbers as close as a short training on another machine leaves them."""
    assert NUMBER.sub("#", printed).split() == NUMBER.sub("#", text).split()
    for found, shown in zip(NUMBER.findall(printed), NUMBER.findall(text), strict=True):
        assert math.isclose(float(found), float(shown), rel_tol=0.15, abs_tol=0.1), printed


@pytest.mark.parametrize("page", [path.name for path in TUTORIALS])
def test_tutorials_show_what_they_print_and_draw(page: str) -> None:
    text, folder = PAGES[page].read_text(encoding="utf-8"), PAGES[page].parent
    figures = set(re.findall(r'savefig\("(.*?)"', text))
    assert figures == set(re.findall(r"^!\[.+\]\((.*?)\)$", text, re.MULTILINE))
    assert all((folder / figure).stat().st_size < 60_000 for figure in figures)
    assert all(block.text for block in all_blocks(PAGES[page]) if block.language == "text")


def test_the_page_for_users_of_jaxsnn_runs() -> None:
    code = "\n".join(
        [
            *blocks_of("jaxsnn.md"),
            "assert all(bool((abs(gradient) > 0).any()) for gradient in gradients)",
            "assert all(bool((p.grad != 0).any()) for p in network.parameters())",
            "assert spikes.shape == (5, 1)",
            "assert float(spikes[0, 0]) == float(jnp.float32(3e-6))",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_its_table_names_what_exists() -> None:
    text = PAGES["jaxsnn.md"].read_text(encoding="utf-8")
    for package, prefix in ((snn, "snn"), (bridge, "bridge"), (jax_core, "jax_core")):
        for dotted in set(re.findall(rf"\b{prefix}\.(?!md)([A-Za-z_.]*[A-Za-z_])", text)):
            found: Any = package
            for name in dotted.split("."):
                found = getattr(found, name)


@pytest.mark.parametrize("page", sorted(PAGES))
def test_code_is_in_blocks_that_run(page: str) -> None:
    """Indented code never runs; what only works elsewhere is a block without a language."""
    text = PAGES[page].read_text(encoding="utf-8")
    indented = re.findall(r"^(?:    .*\n)+", re.sub(r"(?ms)^```.*?^```", "", text), re.MULTILINE)
    code = [block for block in indented if re.search(r"^    (import|from) \w", block, re.MULTILINE)]
    assert code == []
