"""Which of many cases run only when all are asked for (`pytest --thorough`): those that differ from
another by numbers, and take seconds to compile."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def usual(some: Collection[Any], cases: Iterable[Any]) -> list[Any]:
    """The cases, for ``parametrize``, of which only ``some`` run by default.

    Tuples are cases of several names: those of one name have to be lists.
    """
    cases = list(cases)
    # Else a misspelt one would leave a test without cases.
    assert all(one in cases for one in some), f"{some} are not all among {cases}"
    return [
        case
        if case in some
        else pytest.param(
            *(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.thorough
        )
        for case in cases
    ]
