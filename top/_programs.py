"""Compiled programs: one for each set of shapes, of which the process keeps the most recent.

JAX's own cache of a jitted function keeps every shape for as long as the function lives, and each
compiled program holds megabytes and up to hundreds of the memory maps that the kernel grants a
process (65 530 by default; XLA aborts at the last). So here each set of shapes has a jitted
function of its own, which JAX releases with everything that it compiled when it is dropped.

What JAX traced of its own functions (`jnp.where` for each shape, hundreds of them in a layer of
neurons) it keeps without limit, some 3 MB for each set of shapes; see `_forget_traces`.
"""

from __future__ import annotations

import itertools
import logging
import threading
import weakref
from collections.abc import Callable, Hashable
from contextlib import suppress
from functools import partial
from typing import Any

import jax

from ._memory import check_memory

MAX_PROGRAMS = 256
MAX_MAPS = 16_000
"""A quarter of what the kernel grants: other libraries compile, too."""
MAX_TRACED = 64
"""Compilations after which JAX forgets what it traced, at some 3 MB each."""
_PATIENCE = 2.0
"""Seconds after which a compilation is worth a message."""

_log = logging.getLogger("evtorch")
_clock = itertools.count()
_compilations = itertools.count(1)
_lock = threading.Lock()


class _Program:
    __slots__ = ("__weakref__", "home", "jitted", "key", "maps", "ran", "used")

    def __init__(
        self, fn: Callable[..., Any], home: Programs, key: Hashable, options: dict[str, Any]
    ) -> None:
        self.jitted = jax.jit(fn, **options)
        self.home = weakref.ref(home)
        self.key = key
        self.maps = 0
        self.ran = False
        self.used = next(_clock)


_all: weakref.WeakSet[_Program] = weakref.WeakSet()


class Programs:
    """Those of one function. They live as long as this object, and at most until `MAX_PROGRAMS`
    others, or some with `MAX_MAPS` memory maps, were used in this process after them."""

    __slots__ = ("__weakref__", "_found")

    def __init__(self) -> None:
        self._found: dict[Hashable, _Program] = {}

    def find(self, key: Hashable) -> Any:
        """The jitted function of ``key`` if it has run, else None."""
        program = self._found.get(key)
        if program is None or not program.ran:
            return None
        program.used = next(_clock)
        return program.jitted

    def first(
        self, key: Hashable, fn: Callable[..., Any], name: str, **options: Any
    ) -> Callable[..., Any]:
        """``fn`` jitted, with options of ``jax.jit``, and kept under ``key``, for its first call,
        which compiles."""
        return partial(_first_call, self._program(key, fn, options), name)

    def traced(self, key: Hashable, fn: Callable[..., Any]) -> Any:
        """``fn`` jitted and kept under ``key``, for `jax.eval_shape`."""
        return self._program(key, fn, {}).jitted

    def _program(self, key: Hashable, fn: Callable[..., Any], options: dict[str, Any]) -> _Program:
        program = self._found.get(key)
        if program is None:
            program = self._found[key] = _Program(fn, self, key, options)
            with _lock:
                _all.add(program)
        program.used = next(_clock)
        return program

    def drop(self, program: _Program) -> None:
        """Forget a program. Who is running it goes on."""
        if self._found.get(program.key) is program:
            self._found.pop(program.key, None)

    def __len__(self) -> int:
        return len(self._found)


def _first_call(program: _Program, name: str, *args: Any, **kwargs: Any) -> Any:
    before = memory_maps()
    # A thread, because what compiles does not come back here before it is done.
    notice = threading.Timer(_PATIENCE, _say_compiling, (name,))
    notice.daemon = True
    notice.start()
    try:
        check_memory(program.jitted, name, args, kwargs)
        result = program.jitted(*args, **kwargs)
    finally:
        notice.cancel()
    program.maps = max(memory_maps() - before, 0)
    program.ran = True
    _make_room(program)
    if next(_compilations) % MAX_TRACED == 0:
        _forget_traces()
    return result


def _forget_traces() -> None:
    """Let JAX drop the jaxprs of all functions, whose cache is the only one without a limit.

    `jax.clear_caches` would drop the user's compiled programs, too. These are found without the
    jaxprs; a function that is traced anew costs milliseconds.
    """
    # Not public: where a version of JAX has it elsewhere, memory grows, and nothing else changes.
    with suppress(ImportError, AttributeError):
        from jax._src.interpreters import partial_eval

        partial_eval.trace_to_jaxpr.cache_clear()


def memory_maps() -> int:
    """How many memory maps this process has; 0 where the system does not tell."""
    try:
        with open("/proc/self/maps", "rb") as file:
            return file.read().count(b"\n")
    except OSError:
        return 0


def _make_room(newest: _Program) -> None:
    with _lock:
        programs = sorted(_all, key=lambda program: program.used)
    count = len(programs)
    maps = sum(program.maps for program in programs)
    for program in programs:
        if count <= MAX_PROGRAMS and maps <= MAX_MAPS:
            return
        home = program.home()
        if program is not newest and home is not None:
            home.drop(program)
            count, maps = count - 1, maps - program.maps


_said = False


def _say_compiling(name: str) -> None:
    global _said
    # Once at a level that is seen by default: a network of many layers must not repeat it.
    _log.log(
        logging.INFO if _said else logging.WARNING,
        "evtorch: compiling %s, which takes some seconds for each new set of shapes, dtypes and "
        "options; later calls only run. jax.config.update('jax_compilation_cache_dir', folder) "
        "keeps what was compiled for other processes. Further ones are logged at level INFO",
        name,
    )
    _said = True
