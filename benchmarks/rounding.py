"""A hundred thousand random networks in float32 and in float64: is every difference rounding?

    python benchmarks/rounding.py            # some minutes
    python benchmarks/rounding.py --quick    # few networks of each kind, to see that it runs

writes results/rounding.md, and fails if a difference is not explained. Spikes of either precision
are put into the neurons' equations, in float64 and apart from the library (`rounding_check.py`): at
spikes the voltage must be at the threshold, and not above it at any other time, but for rounding.
Where both precisions' spikes pass, each network has two solutions that rounding cannot tell apart.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rounding_check import errors
from rounding_networks import (
    INPUT_SPIKES,
    INPUTS,
    KINDS,
    NEURONS,
    ROOM,
    T_MAX,
    TOGETHER_WITHIN,
    Kind,
    draw,
    simulated,
)
from timing import described, load
from tqdm import tqdm

LIMIT = 4.0
"""Voltages may be wrong by so many units of rounding, see `rounding_check.errors`."""
DTYPES = np.float32, np.float64


class Found(NamedTuple):
    """Networks of one kind; arrays have an entry for each that had room for its spikes."""

    kind: Kind
    which: np.ndarray
    """Which networks these are."""
    no_room: int
    spikes: int
    same: np.ndarray
    """Whether all neurons have as many spikes in float32 as in float64."""
    apart: np.ndarray
    """Differences of all spike times of those that are the same, in units of tau_syn."""
    wrong: np.ndarray
    """How wrong voltages are with the spikes of float32 and of float64, ``(2, networks)``, in units
    of each's rounding."""

    @property
    def explained(self) -> np.ndarray:
        return np.all(self.wrong <= LIMIT, axis=0)


def compare(kind: Kind, seed: int, networks: int) -> Found:
    """Both precisions of the same networks."""
    net = draw(kind, seed, networks)
    times, overflow = zip(*(simulated(kind, net, dtype) for dtype in DTYPES), strict=True)
    fits = ~(overflow[0] | overflow[1])
    single, double = (of[fits].astype(np.float64) for of in times)
    wrong = [
        errors(net.lanes(of, fits), float(np.finfo(dtype).eps)).reshape(-1, NEURONS).max(1)
        for of, dtype in zip(times, DTYPES, strict=True)
    ]
    both = np.isfinite(single) & np.isfinite(double)
    same = np.all(np.isfinite(single) == np.isfinite(double), axis=(1, 2))
    both[~same] = False
    tau_syn = np.broadcast_to(net.constants["tau_syn"][fits, :, None], both.shape)
    apart = np.abs(single[both] - double[both]) / tau_syn[both]
    which, spikes = np.flatnonzero(fits), int(np.isfinite(single).sum())
    return Found(kind, which, int((~fits).sum()), spikes, same, apart, np.array(wrong))


def row(found: Found) -> str:
    """Markdown."""
    median, rare, most = np.quantile(found.apart, [0.5, 0.999, 1])
    differ = ~found.same
    cells = [
        found.kind.name,
        f"{len(found.which)}",
        f"{found.spikes}",
        f"{differ.sum()}",
        f"{(differ & found.explained).sum()}",
        *(f"{x:.0e}" for x in (median, rare, most)),
        *(f"{x:.2f}" for x in found.wrong.max(axis=1)),
    ]
    return f"| {' | '.join(cells)} |"


def unexplained(rows: list[Found], seed: int) -> list[str]:
    """Networks whose spikes, of either precision, break the equations."""
    return [
        f"{found.kind.name}, seed {seed}, network {found.which[n]}: float32 is wrong by "
        f"{found.wrong[0, n]:.3g} units of rounding, float64 by {found.wrong[1, n]:.3g}"
        for found in rows
        for n in np.flatnonzero(~found.explained)
    ]


def report(rows: list[Found], seed: int, seconds: float) -> str:
    """Markdown."""
    total = sum(len(found.which) for found in rows)
    plain = [found for found in rows if not found.kind.grazing]
    differ = sum(int((~found.same).sum()) for found in plain)
    bad = unexplained(rows, seed)
    lines = [
        f"# {total} random networks in float32 and in float64",
        "",
        f"Written by `python benchmarks/rounding.py` in {seconds:.0f} s. {NEURONS} neurons with",
        f"constants of their own, {INPUTS} inputs with up to {INPUT_SPIKES} spikes each, weights",
        f"of both signs, {T_MAX:g} time constants; in a quarter of the networks times lie on a",
        "grid and two neurons are alike. The same float32 numbers go into both precisions.",
        "*Grazing*: thresholds are where the voltage without spikes has its peak, rounded to",
        "float32, so that rounding decides whether it is reached; recurrent ones may then have as",
        f"many spikes, but other ones. {sum(found.no_room for found in rows)} more networks, where",
        f"some neuron has more than {ROOM} spikes, are left out.",
        "",
        "*Differ*: some neuron has more spikes in one precision than in the other. Of the other",
        "networks, differences of spike times in units of `tau_syn`: the median, what one in a",
        "thousand exceeds, the largest. *Voltage*: spikes are put into the neurons' equations, in",
        "float64 and by a program apart from the library. At spikes the voltage is the threshold,",
        "and between them it stays below, but for an error. The column has the largest one, in",
        "units of rounding: of what the voltage and the threshold are sums of, and of what the",
        "voltage does while time goes on by its own rounding. A difference is *explained* if it is",
        f"{LIMIT:g} at most for the spikes of both precisions: each are then the exact spikes of",
        "neurons whose threshold is off by no more than rounding. A recurrent neuron that spikes",
        f"in the moment of another one may be early by {TOGETHER_WITHIN} more: by the rules of the",
        "simulation, what rounding of that size cannot tell apart is one moment.",
        f"Load averages at the end {load()}. {described()}.",
        "",
        "| networks | number | spikes | differ | explained | apart: median | 99.9 % | largest "
        "| voltage: float32 | float64 |",
        "|" + "---|" * 10,
        *(row(found) for found in rows),
        "",
        f"Of {sum(len(found.which) for found in plain)} networks that are not made to graze,",
        f"{differ} differ. Networks whose spikes are not explained, whether they differ or not:",
        f"{len(bad) or 'none'}.",
        *(f"\n- {line}" for line in bad),
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--networks", type=int, default=8_000, help="of each kind (%(default)s)")
    add("--seed", type=int, default=0, help="(%(default)s)")
    add("--quick", action="store_true", help="100 networks of each kind")
    results = Path(__file__).parent / "results"
    add("--out", type=Path, default=results / "rounding.md", help="(%(default)s)")
    own = parser.parse_args()
    begin, networks = time.monotonic(), 100 if own.quick else own.networks
    rows = [compare(kind, own.seed, networks) for kind in tqdm(KINDS, file=sys.stderr)]
    own.out.write_text(report(rows, own.seed, time.monotonic() - begin) + "\n")
    print(own.out.read_text())
    sys.exit(bool(unexplained(rows, own.seed)))


if __name__ == "__main__":
    main()
