"""Files that are whole whatever happens while they are written."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Where to write what becomes ``path`` at the end of the block, at once.

    A process that is killed meanwhile leaves what was at ``path``, and an unfinished file beside it
    whose name ends in ``.part``; an error removes that.

    **Raises:** ``FileNotFoundError`` for a folder that does not exist.
    """
    # A link goes on pointing to the file, as it does where one is opened.
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"{path} cannot be written: there is no folder {target.parent}; create it with "
            "pathlib.Path(...).mkdir(parents=True), or name another path"
        )
    if target.exists() and not target.is_file():
        # A device takes what is written to it; a folder raises its own error.
        yield target
        return
    unfinished = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        yield unfinished
        # Else a loss of power could leave the new name with nothing behind it.
        with open(unfinished, "rb") as written:
            os.fsync(written.fileno())
        if target.exists():
            shutil.copymode(target, unfinished)
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)
