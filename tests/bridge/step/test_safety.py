"""Many steps, several threads, forks: no memory, no mixture and no hang."""

import gc
import os
import threading
from typing import Any

import jax
import optax
import pytest
import torch
from torch import nn

from evtorch import bridge

from ..._thorough import usual
from ._loops import assert_same, batches, network


def _resident() -> int:
    """Bytes of memory that this process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _made(model: nn.Module, rule: str) -> bridge.CompiledStep:
    optimizer: Any = optax.adam(0.01)
    if rule == "Adam":
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
    return bridge.compile_step(model, nn.CrossEntropyLoss(), optimizer, accumulate=2)


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux")
@pytest.mark.parametrize("rule", usual({"Adam"}, ["Adam", "optax"]))
def test_a_thousand_steps_keep_no_memory(rule: str) -> None:
    # Each leaked batch would be 64 kB, and all of them 64 MB.
    model = nn.Sequential(nn.Linear(128, 3), nn.Dropout(0.1))
    step = _made(model, rule)

    def run(count: int) -> tuple[int, int, int]:
        for _ in range(count):
            step(torch.randn(64, 128), torch.zeros(64, dtype=torch.int64))
        gc.collect()
        return _resident(), len(jax.live_arrays()), len(gc.get_objects())

    run(100)
    before, after = run(2), run(1000)
    assert after[0] - before[0] < 16e6
    assert after[1] == before[1]
    assert after[2] - before[2] < 500


def test_what_a_step_held_is_released() -> None:
    gc.collect()
    before = len(jax.live_arrays())
    for rule in ("Adam", "optax"):
        step = _made(network(), rule)
        for data in batches(3):
            step(*data)
        del step
    gc.collect()
    assert len(jax.live_arrays()) == before


@pytest.mark.parametrize("rule", ["Adam", "optax"])
def test_threads_with_steps_of_their_own_do_not_mix(rule: str) -> None:
    alone, shared = [network() for _ in range(3)], [network() for _ in range(3)]
    data = [batches(12, size)[i:] for i, size in enumerate((4, 6, 6))]
    start = threading.Barrier(3)
    errors: list[BaseException] = []

    def train(model: nn.Module, own: Any) -> None:
        step = _made(model, rule)
        for each in own:
            step(*each)

    def together(model: nn.Module, own: Any) -> None:
        try:
            torch.set_default_dtype(torch.float64)
            start.wait()  # They compile at the same time, too.
            train(model, own)
        except BaseException as error:
            errors.append(error)

    for model, own in zip(alone, data, strict=True):
        train(model, own)
    pairs = zip(shared, data, strict=True)
    threads = [threading.Thread(target=together, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for one, other in zip(alone, shared, strict=True):
        assert_same(one, other, 0)


def test_threads_that_share_a_step_take_turns() -> None:
    plain, shared = network(), network()
    data = batches(1)[0]
    steps = [
        bridge.compile_step(m, nn.CrossEntropyLoss(), torch.optim.Adam(m.parameters(), 0.01))
        for m in (plain, shared)
    ]
    for _ in range(40):
        steps[0](*data)
    threads = [
        threading.Thread(target=lambda: [steps[1](*data) for _ in range(10)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_same(plain, shared, 0)


def test_threads_that_capture_one_model_do_not_disturb_each_other() -> None:
    model = network()
    fn, params = bridge.as_jax_function(model, lowering="native")
    step = bridge.compile_step(model, nn.CrossEntropyLoss(), optax.sgd(0.0))
    errors: list[BaseException] = []
    x, y = batches(1)[0]
    expected = nn.functional.cross_entropy(model(x), y).item()

    def capture() -> None:
        try:
            with jax.enable_x64(True):
                for size in range(1, 9):
                    fn(params, jax.numpy.ones((size, 5)))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=capture)
    thread.start()
    while thread.is_alive():
        assert step(x, y).item() == pytest.approx(expected, rel=1e-12)
    thread.join()
    assert not errors
    assert len(step._losses) == 1
