"""Spiking Heidelberg Digits, as the package tonic reads them from files that are there."""

import importlib
import sys
from pathlib import Path
from typing import Any

import torch
from _spoken_events import SpokenEvents

from evtorch import torch_api as snn

T_MAX = 1.4
"""Seconds: a little more than the longest recording."""
_PAGE = "https://zenkelab.org/resources/spiking-heidelberg-datasets-shd/"
_MICROSECONDS = 1e-6


def load_heidelberg_digits(
    root: Path, *, train: bool, size: int, seed: int, events: int
) -> SpokenEvents:
    """Read some of the recordings, or all where ``size`` is their number or more.

    Samples have room for ``events`` events, all of them the same, so that JAX compiles once. Of
    recordings with more, as many are kept, evenly among them: the end of a word counts as much as
    its beginning.

    **Arguments:** ``root``: the folder with ``SHD/shd_train.h5`` and ``SHD/shd_test.h5``;
    ``train``: which of the two; ``seed``: of the choice of recordings.

    **Ends the program** where tonic or the files are missing. Nothing is ever downloaded.
    """
    data = _open(root, train)
    chosen = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:size]
    recordings, classes = zip(*(data[place] for place in chosen.tolist()), strict=True)
    return SpokenEvents(
        snn.nir.events_from_tonic(
            [_thinned(one, events) for one in recordings],
            data.sensor_size,
            time_unit=_MICROSECONDS,
            sort=True,
            max_events=events,
        ),
        torch.tensor([int(one) for one in classes]),
        T_MAX,
    )


def _open(root: Path, train: bool) -> Any:
    try:
        importlib.import_module("tonic")
        published = importlib.import_module("tonic.datasets").SHD
    except ModuleNotFoundError as error:
        sys.exit(
            f"{error.name} is missing: --data shd reads recordings with the package tonic. Install "
            f"it with pip install -e '.[shd]', or pip install 'tonic>=1.7'; or take "
            f"--data generated, which needs nothing more"
        )
    files = [root / "SHD" / f"shd_{part}.h5" for part in ("train", "test")]
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        sys.exit(
            f"there is no {' and no '.join(missing)}. --data shd reads Spiking Heidelberg Digits "
            f"from --root, and downloads nothing: get shd_train.h5.zip and shd_test.h5.zip from "
            f"{_PAGE} and unpack them in {files[0].parent}; or take --data generated, which needs "
            f"no files"
        )
    # tonic's class downloads if the archives have been removed. Its name is that of the folder.
    without_download = type("SHD", (published,), {"download": lambda _: None})
    return without_download(save_to=str(root), train=train)


def _thinned(recording: Any, events: int) -> Any:
    number = len(recording)
    if number <= events:
        return recording
    return recording[torch.arange(events).mul(number).div(events, rounding_mode="floor").numpy()]
