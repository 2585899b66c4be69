"""Programs that do not fit into memory: an error before they run, for the system would end the
process without a word."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
from jax.core import Tracer

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux says what a container may have, in its versions 2 and 1."""


def check_memory(jitted: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Compile for these arguments, and raise if the processor's memory is too small to run that.

    What is compiled here, a call of ``jitted`` finds. Other devices' allocators know their limits.
    """
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((args, kwargs))):
        return
    there = machine_memory()
    needed = program_memory(jitted.lower(*args, **kwargs).compile()) if there else 0
    if needed > there:
        raise MemoryError(
            f"{name} needs {_shown(needed)} of memory at once, more than the {_shown(there)} that "
            f"this process may have; smaller batches and fewer slots for spikes (max_spikes) need "
            f"less"
        )


def program_memory(compiled: Any) -> int:
    """Bytes of a compiled program on the processor: arguments, results, and all in between."""
    shardings = jax.tree.leaves(compiled.output_shardings)
    devices = [device for sharding in shardings[:1] for device in sharding.device_set]
    stats = compiled.memory_analysis()
    if stats is None or any(device.platform != "cpu" for device in devices):
        return 0
    kinds = "argument", "output", "temp"
    total = sum(getattr(stats, f"{kind}_size_in_bytes") for kind in kinds)
    return total - stats.alias_size_in_bytes


def machine_memory() -> int:
    """Bytes that this process may have: the machine's, or its container's; 0 if unknown."""
    found = []
    with suppress(AttributeError, ValueError, OSError):  # Windows has no such function.
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in map(Path, _LIMITS):
        with suppress(OSError, ValueError):  # There is none, or it says "max".
            found.append(int(path.read_text()))
    return min((bytes for bytes in found if bytes > 0), default=0)


def _shown(count: int) -> str:
    return f"{count / 1e9:.3g} GB"
