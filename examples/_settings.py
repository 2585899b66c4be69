"""Command lines of the examples, and the settings of the Yin-Yang example."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from math import inf
from pathlib import Path
from typing import Any, Literal, TypeVar

AnySettings = TypeVar("AnySettings")


@contextmanager
def installed(packages: str = "-e '.[examples]'") -> Iterator[None]:
    """Around imports: when one fails, end the program and say what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        sys.exit(
            f"{error.name} is missing. Install what this example needs: pip install {packages}"
        )


with installed():
    from _checkpoint import Run


def natural(text: str) -> int:
    return _integer(text, at_least=0)


def positive(text: str) -> int:
    return _integer(text, at_least=1)


def _integer(text: str, at_least: int) -> int:
    if not text.isdecimal() or int(text) < at_least:
        raise argparse.ArgumentTypeError(f"must be a whole number >= {at_least}, got {text!r}")
    return int(text)


def number(unit: str = "", at_most: float = inf) -> Callable[[str], float]:
    """A type of options: numbers > 0, with a unit for messages and perhaps a limit."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not 0 < value <= at_most:
            limit = "" if at_most == inf else f" and at most {at_most:g}"
            what = f"a number of {unit}" if unit else "a number"
            raise argparse.ArgumentTypeError(f"must be {what} > 0{limit}, got {text!r}")
        return value

    return read


def option(default: Any, help: str = "(%(default)s)", **more: Any) -> Any:
    """A field of settings that the command line can change; ``more`` goes to argparse."""
    return field(default=default, metadata={"help": help, **more})


def seed_option(of: str = "of data, weights, order") -> Any:
    return option(0, f"{of} (%(default)s)", type=natural)


def parse_arguments(
    settings: type[AnySettings], description: str | None, folder: str
) -> tuple[AnySettings, Run]:
    """Read the command line; **returns** the settings, and the run with its folder for results."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for one in fields(settings):  # pyright: ignore[reportArgumentType]
        if one.metadata:
            more = dict(one.metadata)
            flag = more.pop("flag", "--" + one.name.replace("_", "-"))
            parser.add_argument(flag, dest=one.name, default=one.default, **more)
    parser.add_argument(
        "--out", type=Path, default=Path(folder), help="folder for results (%(default)s)"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the checkpoint in --out, after Ctrl-C"
    )
    parser.add_argument(
        "--save-every",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="time between checkpoints (%(default)s)",
    )
    arguments = vars(parser.parse_args())
    how = {name: arguments.pop(name) for name in ("out", "resume", "save_every")}
    given = settings(**arguments)
    batch, size = getattr(given, "batch_size", 1), getattr(given, "train_size", inf)
    if size < batch:
        parser.error(f"argument --train-size: must be at least a batch, {batch}, got {size}")
    return given, Run(settings=given, **how)


def say(what: str) -> None:
    """Print what a program is doing, at once and also into a file or a pipe."""
    print(what, "...", flush=True)


@dataclass(frozen=True)
class Settings:
    """All that a run of the Yin-Yang example depends on, besides the versions of the software."""

    seed: int = seed_option()
    epochs: int = option(200, type=positive)
    hidden: int = option(120, "hidden neurons (%(default)s)", type=positive)
    gradient: Literal["eventprop", "fast_and_deep"] = option(
        "eventprop",
        "two methods, one result (%(default)s)",
        choices=("eventprop", "fast_and_deep"),
    )
    readout: Literal["ttfs", "li"] = option(
        "ttfs",
        "first output spike, or highest voltage of leaky integrators (%(default)s)",
        choices=("ttfs", "li"),
    )
    train_size: int = 5000
    test_size: int = 1000
    batch_size: int = 64
    learning_rate: float = 1e-2
