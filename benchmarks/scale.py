"""Large layers: what a training step costs with either solver, and how it grows.

    python benchmarks/scale.py           # a quarter of an hour
    python benchmarks/scale.py --quick   # a few small rows, to see that it runs

writes `results/scale.md`. Every row is a process of its own on one core. Beside each row stands
what no simulation can do without: a plain walk of voltages and currents through all input events,
without threshold, timed in the same process.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from apart import in_process, median_seconds, options, pin
from jax import Array, lax
from timing import described, load
from tqdm import tqdm

from evtorch import jax_core

TAU_MEM, TAU_SYN, DURATION, INPUTS = 2e-2, 5e-3, 1.0, 700
SOLVERS = "lockstep", "chunked"
SECONDS = 0.5
"""For so long a program is repeated, at least once."""


class Case(NamedTuple):
    """A layer: input events over a second, and neurons that spike about ten times."""

    neurons: int = 256
    events: int = 8000
    batch: int = 32
    kind: str = "several"
    """``several``: spikes per neuron; ``own``: with time constants of their own; ``once``: up to
    the first spike; ``recurrent``."""

    @property
    def pairs(self) -> int:
        return self.neurons * self.events * self.batch

    def __str__(self) -> str:
        return f"{self.neurons} neurons, {self.events} events, batch {self.batch}"


TABLES = {
    "The size of SHD: 700 inputs with 8000 events in a second": [
        Case(),
        Case(kind="own"),
        Case(kind="once"),
        Case(kind="recurrent"),
    ],
    "Cost against input events": [Case(events=n, batch=8) for n in (100, 1000, 10_000, 100_000)],
    "Cost against neurons": [Case(neurons=n, events=4000, batch=8) for n in (50, 300, 2000)],
    "Cost against the batch": [Case(events=4000, batch=n) for n in (1, 8, 64)],
    "Where `auto` changes over": [
        Case(100, 5, 64, "once"),
        Case(100, 5, 64),
        Case(100, 64, 16),
        Case(100, 64, 64),
        Case(100, 500, 1),
        Case(100, 500, 8),
        Case(100, 500, 32, "once"),
        Case(100, 500, 8, "recurrent"),
    ],
}
QUICK = {"A few small rows": [Case(20, 100, 2, kind) for kind in ("several", "recurrent")]}
KINDS = {"several": "", "own": ", taus of their own", "once": ", once", "recurrent": ", recurrent"}


def main() -> None:
    own = options(__doc__, "scale.md", ("CASE", "SOLVER"), "a few small rows")
    if own.probe:
        case, solver = own.probe
        print(json.dumps(probe(Case(*json.loads(case)), solver)))
        return
    tables = QUICK if own.quick else TABLES
    before = load()
    command = " ".join(["python benchmarks/scale.py", *sys.argv[1:]])
    lines = [
        "# Large layers",
        "",
        f"Written by `{command}`. Processor time, float32, one core;",
        "`tau_mem` 20 ms, `tau_syn` 5 ms, events at random times in a second, about ten spikes per",
        "neuron, room for 64, gradients of weights. A pair is one of an input event and a neuron.",
        "The limit is a plain walk of voltages and currents through all events, without threshold,",
        "forward only. Memory is what the compiled step needs beside its arguments.",
        f"Load averages before {before}. {described()}.",
    ]
    for name, cases in tables.items():
        rows = [(case, solver) for case in cases for solver in SOLVERS]
        found = {
            (c, s): in_process(__file__, json.dumps(c), s)
            for c, s in tqdm(rows, file=sys.stderr, desc=name)
        }
        lines += ["", f"## {name}", "", *table(found)]
        own.out.write_text("\n".join(lines) + "\n")
    print(own.out.read_text())


def table(found: dict[tuple[Case, str], dict[str, float]]) -> list[str]:
    """The lines of one table."""
    lines = [
        "| layer | solver | forward, ms | forward + backward, ms | ns per pair | limit, ms | times "
        "the limit | compile, s | memory, MiB | spikes per neuron |",
        "|" + "---|" * 10,
    ]
    for (case, solver), row in found.items():
        step = row["step"]
        lines.append(
            f"| {case}{KINDS[case.kind]} | {solver} | {1e3 * row['forward']:.1f} | "
            f"{1e3 * step:.1f} | {1e9 * step / case.pairs:.1f} | {1e3 * row['limit']:.2f} | "
            f"{step / row['limit']:.0f} | {row['compile']:.2g} | {row['memory']:.0f} | "
            f"{row['spikes']:.1f} |"
        )
    return lines


def probe(case: Case, solver: str) -> dict[str, float]:
    """Seconds, MiB and spikes of one row; to be called in a process of its own."""
    pin()
    events, *weights = drawn(case)
    forward, gradient = layer(case, solver)
    begin = time.process_time()
    step = gradient.lower(events, *weights).compile()
    compile_seconds = time.process_time() - begin
    needed = step.memory_analysis()
    out = forward(events, *weights)
    return {
        "forward": timed(forward, events, *weights),
        "step": timed(step, events, *weights),
        "limit": timed(jax.jit(plain_walk), events, weights[0]),
        "compile": compile_seconds,
        "memory": (needed.temp_size_in_bytes + needed.output_size_in_bytes) / 2**20,
        "spikes": float(np.isfinite(out).sum() / (case.batch * case.neurons)),
    }


def drawn(case: Case) -> tuple[Any, ...]:
    """Events, weights with which neurons spike about ten times, and recurrent weights."""
    rng = np.random.default_rng(0)
    shape = case.batch, case.events
    times = np.sort(rng.uniform(0, DURATION, shape).astype(np.float32), axis=1)
    events = jax_core.Events(
        jnp.asarray(times), jnp.asarray(rng.integers(0, INPUTS, shape).astype(np.int32))
    )
    mean, deviation = 182 / case.events, 5.8 / np.sqrt(case.events)
    weight = rng.normal(mean, deviation, (case.neurons, INPUTS)).astype(np.float32)
    recurrent = rng.normal(0, 0.8 / np.sqrt(case.neurons), (case.neurons, case.neurons))
    return events, jnp.asarray(weight), jnp.asarray(recurrent.astype(np.float32))


def layer(case: Case, solver: Any) -> tuple[Any, Any]:
    """The layer, and the gradients of a loss on all its spikes, as compiled functions."""
    options: dict[str, Any] = {"tau_mem": TAU_MEM, "tau_syn": TAU_SYN, "t_max": DURATION}
    options |= {"solver": solver, "max_spikes": 64, "on_overflow": "truncate"}
    if case.kind == "once":
        options["refractory"] = float("inf")
    if case.kind == "own":
        spread = np.linspace(0.9, 1.1, case.neurons).astype(np.float32)
        options |= {"tau_mem": TAU_MEM * spread, "tau_syn": TAU_SYN * spread[::-1]}

    def run(events: Any, weight: Array, recurrent: Array) -> Array:
        if case.kind == "recurrent":
            return jax_core.recurrent_lif(events, weight, recurrent, **options)
        return jax_core.lif(events, weight, **options)

    def loss(events: Any, weight: Array, recurrent: Array) -> Array:
        out = run(events, weight, recurrent)
        return jnp.sum(jnp.where(jnp.isfinite(out), jnp.sin(37 * out), 0))

    weights = (1, 2) if case.kind == "recurrent" else 1
    return jax.jit(run), jax.jit(jax.grad(loss, argnums=weights))


def plain_walk(events: Any, weight: Array) -> tuple[Array, Array]:
    """Voltages and currents after all events."""
    length = jnp.diff(events.time, axis=1, prepend=0.0)
    membrane, synapse = jnp.exp(-length / TAU_MEM), jnp.exp(-length / TAU_SYN)
    psp = (membrane - synapse) * TAU_SYN / (TAU_MEM - TAU_SYN)
    by_input = weight.T

    def go_on(state: tuple[Array, Array], event: tuple[Array, ...]) -> tuple[Any, None]:
        (v, i), (index, m, s, p) = state, event
        v = m[:, None] * v + p[:, None] * i
        return (v, s[:, None] * i + by_input[index]), None

    none = jnp.zeros((events.time.shape[0], weight.shape[0]), weight.dtype)
    each = (events.index.T, membrane.T, synapse.T, psp.T)
    return lax.scan(go_on, (none, none), each)[0]


def timed(run: Callable[..., Any], *arguments: Any) -> float:
    """The median of the processor's seconds per call, once it is compiled."""
    return median_seconds(lambda: jax.block_until_ready(run(*arguments)), SECONDS)


if __name__ == "__main__":
    main()
