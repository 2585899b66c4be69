"""Pages of README and docs as programs: their code, and what they say that it prints.

    python -m tests._pages docs/tutorials/*.md

runs pages and writes what their code prints, and the figures that it saves, where they show them.
"""

import contextlib
import io
import os
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, its text, and where in the page the text stands."""

    language: str
    text: str
    span: tuple[int, int]


def all_blocks(page: Path) -> list[Block]:
    found = FENCE.finditer(page.read_text(encoding="utf-8"))
    return [Block(match[1], match[2], match.span(2)) for match in found]


def code_of(page: Path) -> list[str]:
    return [block.text for block in all_blocks(page) if block.language == "python"]


class Done(NamedTuple):
    """What a page's code has left and printed, and with what stands in the page as printed."""

    names: dict[str, Any]
    printed: str
    shown: list[tuple[Block, str]]


def run(page: Path) -> Done:
    """Run a page from top to bottom. A block ``text`` right behind code shows what that prints."""
    names: dict[str, Any] = {"__name__": "page"}
    shown: list[tuple[Block, str]] = []
    outputs = [""]
    for block in all_blocks(page):
        if block.language == "text" and outputs[-1]:
            shown.append((block, outputs[-1]))
        outputs.append("")
        if block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(block.text, page.name, "exec"), names)
            outputs[-1] = out.getvalue()
    return Done(names, "".join(outputs), shown)


def refresh(page: Path) -> None:
    """Write anew what a page shows as printed; its figures fall where it lies."""
    os.chdir(page.parent)
    text = page.read_text(encoding="utf-8")
    for block, printed in reversed(run(page).shown):
        text = text[: block.span[0]] + printed + text[block.span[1] :]
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for argument in map(Path.resolve, map(Path, sys.argv[1:])):
        refresh(argument)
