"""Settings and command line of the hardware-in-the-loop example."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from _settings import natural, positive


@dataclass(frozen=True)
class Settings:
    """All that a run depends on, besides the versions of the software."""

    seed: int = 0
    chips: int = 3
    epochs: int = 100
    chip_epochs: int = 50
    hidden: int = 120
    small_hidden: int = 30
    train_size: int = 5000
    test_size: int = 1000
    batch_size: int = 64
    learning_rate: float = 1e-2
    chip_learning_rate: float = 5e-3
    weight_scale: float = 10.0


def parse_arguments(description: str | None) -> tuple[Settings, Path]:
    """Read the command line; **returns** the settings and the folder for results."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Settings()
    add = parser.add_argument
    add("--seed", type=natural, default=default.seed, help="of data, weights, order (%(default)s)")
    add("--chips", type=positive, default=default.chips, help="how many, from 0 on (%(default)s)")
    add("--epochs", type=positive, default=default.epochs, help="in simulation (%(default)s)")
    add(
        "--chip-epochs",
        type=positive,
        default=default.chip_epochs,
        help="in the loop, after those in simulation (%(default)s)",
    )
    add("--hidden", type=positive, default=default.hidden, help="hidden neurons (%(default)s)")
    add(
        "--small-hidden",
        type=positive,
        default=default.small_hidden,
        help="hidden neurons of the networks with and without delays (%(default)s)",
    )
    add("--train-size", type=positive, default=default.train_size, help="samples (%(default)s)")
    add(
        "--weight-scale",
        type=float,
        default=default.weight_scale,
        help="hardware weight per unit of model weight (%(default)s)",
    )
    add(
        "--out",
        type=Path,
        default=Path("runs/hardware_in_the_loop"),
        help="folder for results (%(default)s)",
    )
    arguments = vars(parser.parse_args())
    out = arguments.pop("out")
    return Settings(**arguments), out
