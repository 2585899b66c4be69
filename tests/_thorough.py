"""Which of many cases run only when all are asked for (`pytest --thorough`): those that differ from
another by numbers, and take seconds to compile."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def usual(some: Collection[Any], cases: Iterable[Any]) -> list[Any]:
    """The cases, for ``parametrize``, of which only ``some`` run by default."""
    return [
        case
        if case in some
        else pytest.param(
            *(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.thorough
        )
        for case in cases
    ]
