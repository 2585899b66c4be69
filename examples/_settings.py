"""Settings and command line of the Yin-Yang example."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Settings:
    """All that a run depends on, besides the versions of the software."""

    seed: int = 0
    epochs: int = 200
    hidden: int = 120
    gradient: Literal["eventprop", "fast_and_deep"] = "eventprop"
    readout: Literal["ttfs", "li"] = "ttfs"
    train_size: int = 5000
    test_size: int = 1000
    batch_size: int = 64
    learning_rate: float = 1e-2


def parse_arguments(description: str | None) -> tuple[Settings, Path]:
    """Read the command line; **returns** the settings and the folder for results."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Settings()
    add = parser.add_argument
    add("--seed", type=natural, default=default.seed, help="of data, weights, order (%(default)s)")
    add("--epochs", type=positive, default=default.epochs, help="(%(default)s)")
    add("--hidden", type=positive, default=default.hidden, help="hidden neurons (%(default)s)")
    add(
        "--gradient",
        choices=("eventprop", "fast_and_deep"),
        default=default.gradient,
        help="two methods, one result (%(default)s)",
    )
    add(
        "--readout",
        choices=("ttfs", "li"),
        default=default.readout,
        help="first output spike, or highest voltage of leaky integrators (%(default)s)",
    )
    add("--out", type=Path, default=Path("runs/yinyang"), help="folder for results (%(default)s)")
    arguments = vars(parser.parse_args())
    out = arguments.pop("out")
    return Settings(**arguments), out


def natural(text: str) -> int:
    return _integer(text, at_least=0)


def positive(text: str) -> int:
    return _integer(text, at_least=1)


def _integer(text: str, at_least: int) -> int:
    if not text.isdecimal() or int(text) < at_least:
        raise argparse.ArgumentTypeError(f"must be a whole number >= {at_least}, got {text!r}")
    return int(text)
