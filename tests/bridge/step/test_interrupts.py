"""An interrupt at any line of a step leaves the state before it or the one after it."""

import linecache
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optax
import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from evtorch import bridge

from ._loops import batches

OWN = str(Path(bridge.__file__).parent)


def _interrupted(call: Callable[[], Any], line: int) -> bool:
    """Call it, with Ctrl-C at the so-manyth line of the bridge that runs; whether it came."""
    left = line

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal left
        # In a comprehension it is as bad as at the line that it stands in.
        if not frame.f_code.co_filename.startswith(OWN) or frame.f_code.co_name[0] == "<":
            return None
        # Python takes signals at calls: never between the end of a block and its exit.
        text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        if event == "line" and not text.startswith("with "):
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(previous)
    return False


def _state(model: nn.Module, step: bridge.CompiledStep) -> list[torch.Tensor]:
    saved = step.state_dict()
    rows = [saved["optimizer"], saved["sums"], torch.tensor(saved["taken"])]
    leaves: list[Any] = tree_leaves([model.state_dict(), rows])
    return [leaf.clone() for leaf in leaves if isinstance(leaf, torch.Tensor)]


def _same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


@pytest.mark.parametrize(("rule", "first"), [("Adam", False), ("optax", False), ("optax", True)])
def test_a_step_that_is_interrupted_happens_or_does_not(rule: str, first: bool) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(5, 3, bias=False), nn.BatchNorm1d(3, affine=False))
    optimizer: Any = optax.adam(0.1)
    if rule == "Adam":
        optimizer = torch.optim.Adam(model.parameters(), 0.1)
    step = bridge.compile_step(model, nn.CrossEntropyLoss(), optimizer, accumulate=2)
    # The first call begins an update, the second ends it.
    data = batches(2)
    start = {name: t.clone() for name, t in model.state_dict().items()}, step.state_dict()

    def restart() -> None:
        model.load_state_dict(start[0])
        step.load_state_dict(start[1])
        if first:
            return
        step(*data[0])

    found = {"before": 0, "after": 0}
    restart()
    step(*data[1])  # It compiles.
    restart()
    before = _state(model, step)
    step(*data[1])
    after = _state(model, step)
    line = 1
    while True:
        restart()
        if not _interrupted(lambda: step(*data[1]), line):
            break
        now = _state(model, step)
        assert _same(now, before) or _same(now, after), f"at line {line}"
        which = "before" if _same(now, before) else "after"
        found[which] += 1
        if which == "before":  # It can be taken again.
            step(*data[1])
            assert _same(_state(model, step), after), f"after line {line}"
        line += 1
    assert min(found.values()) > 2
