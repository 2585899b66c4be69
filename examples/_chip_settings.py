"""Settings of the hardware-in-the-loop example."""

from dataclasses import dataclass

from _settings import number, option, positive, seed_option


@dataclass(frozen=True)
class Settings:
    """All that a run depends on, besides the versions of the software."""

    seed: int = seed_option()
    chips: int = option(
        3,
        "how many, from 0 on (%(default)s); with 1 there is no row of moving to another",
        type=positive,
    )
    epochs: int = option(100, "in simulation (%(default)s)", type=positive)
    chip_epochs: int = option(
        50, "in the loop, after those in simulation (%(default)s)", type=positive
    )
    hidden: int = option(120, "hidden neurons (%(default)s)", type=positive)
    small_hidden: int = option(
        30, "hidden neurons of the networks with and without delays (%(default)s)", type=positive
    )
    train_size: int = option(5000, "samples (%(default)s)", type=positive)
    test_size: int = 1000
    batch_size: int = 64
    learning_rate: float = 1e-2
    chip_learning_rate: float = 5e-3
    weight_scale: float | None = option(
        None,
        "hardware weight per unit of model weight (by default fitted to the trained weights)",
        type=number(),
    )
