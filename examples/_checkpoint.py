"""Training that can be interrupted: checkpoints at intervals and on Ctrl-C, and how to go on."""

import copy
import os
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import torch
from tqdm import tqdm

INTERRUPTED = 130
"""The exit status of a program that Ctrl-C ended."""


class Resumable(Protocol):
    """What has a state: models, optimisers, schedulers, mock chips, `Values`."""

    def state_dict(self) -> Any: ...
    def load_state_dict(self, state_dict: Any, /) -> Any: ...


class Values:
    """Results by name, lists of numbers that grow with training, as attributes with a state."""

    def __init__(self, **values: list[float]) -> None:
        self.__dict__ = values

    def __getattr__(self, name: str) -> list[float]:
        raise AttributeError(name)

    def state_dict(self) -> dict[str, list[float]]:
        return dict(vars(self))

    def load_state_dict(self, state_dict: dict[str, list[float]], /) -> None:
        vars(self).update(state_dict)


class Run:
    """A program that trains in stages, one after the other, each with its epochs.

    Use it as a context: when Ctrl-C comes, it writes the last complete epoch, says how to go on,
    and ends the program. What is random must come from torch's global generator, or from something
    that is among the states.

    **Arguments:** ``out``: folder for results, and for ``checkpoint.pt`` until the program is
    through; ``settings``: what the result depends on; ``resume``: whether to go on from there;
    ``save_every``: seconds between two checkpoints.
    """

    def __init__(self, out: Path, settings: Any, resume: bool, save_every: float) -> None:
        self.out = out
        self._file = out / "checkpoint.pt"
        self._unfinished = self._file.with_suffix(".new")
        self._settings = asdict(settings)
        self._save_every = save_every
        self._stages: dict[str, Any] = {}
        self._saved_at = time.monotonic()
        if resume:
            self._load()

    def epochs(
        self, stage: str, count: int, states: dict[str, Resumable], unit: str = "epoch"
    ) -> Any:
        """The epochs of a stage that are still to do, with a progress bar.

        **Arguments:** ``stage``: its name, once only in a program; ``states``: what changes in it,
        which gets the state it had when the stage was last saved; ``unit``: what to count.
        """
        if stage in self._stages:
            found = self._stages[stage]
            for name, one in states.items():
                one.load_state_dict(copy.deepcopy(found["states"][name]))
            torch.set_rng_state(found["random"])
        else:
            self._note(stage, 0, count, states)
        done = self._stages[stage]["done"]
        todo = self._steps(stage, done, count, states)
        return tqdm(todo, desc=stage, initial=done, total=count, unit=unit)

    def _steps(
        self, stage: str, done: int, count: int, states: dict[str, Resumable]
    ) -> Iterator[int]:
        for epoch in range(done, count):
            yield epoch
            self._note(stage, epoch + 1, count, states)
            if time.monotonic() - self._saved_at >= self._save_every:
                self._save()

    def _note(self, stage: str, done: int, count: int, states: dict[str, Resumable]) -> None:
        self._stages[stage] = {
            "done": done,
            "count": count,
            "states": {name: copy.deepcopy(one.state_dict()) for name, one in states.items()},
            "random": torch.get_rng_state(),
        }

    def _save(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        # Replaced at once, so that whatever happens there is a whole checkpoint.
        torch.save({"settings": self._settings, "stages": self._stages}, self._unfinished)
        os.replace(self._unfinished, self._file)
        self._saved_at = time.monotonic()

    def _load(self) -> None:
        if not self._file.exists():
            sys.exit(f"there is no {self._file} to go on from; start without --resume")
        found = torch.load(self._file, weights_only=True)
        different = [
            f"{name} = {value}, not {self._settings.get(name)}"
            for name, value in found["settings"].items()
            if self._settings.get(name) != value
        ]
        if different:
            sys.exit(f"{self._file} is of a run with {'; '.join(different)}; give the same options")
        self._stages = found["stages"]

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self._file.unlink(missing_ok=True)
            # That of a process that was killed while it saved.
            self._unfinished.unlink(missing_ok=True)
        elif issubclass(kind, KeyboardInterrupt):
            if not self._stages:
                print("\ninterrupted before training began; nothing was written", file=sys.stderr)
            else:
                self._save()
                stage, last = list(self._stages.items())[-1]
                again = [word for word in sys.argv if word != "--resume"] + ["--resume"]
                print(
                    f"\ninterrupted; saved {self._file}, with {last['done']} of {last['count']} of "
                    f"{stage!r}. Go on with\n"
                    f"    python {shlex.join(again)}",
                    file=sys.stderr,
                )
            sys.exit(INTERRUPTED)
