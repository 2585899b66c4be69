"""Arrays in ``.npz`` files."""

import os
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

from ..._files import whole_file  # pyright: ignore[reportMissingImports]  # It lies in top/.


def save_arrays(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name to a file of exactly this name."""
    with whole_file(path) as unfinished, open(unfinished, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file by name; nothing is unpickled.

    **Raises:** ``ValueError`` that names the file if it is something else, or damaged; ``OSError``.
    """
    try:
        with open(path, "rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            if isinstance(loaded, np.lib.npyio.NpzFile):
                return dict(loaded)
            found = "it holds a single array"
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        # NumPy's own words recommend to unpickle whatever it cannot read.
        found = "it is damaged, holds Python objects, or is something else"
        raise ValueError(f"{os.fspath(path)} is no .npz file of numbers: {found}") from error
    raise ValueError(f"{os.fspath(path)} is no .npz file of numbers: {found}")
