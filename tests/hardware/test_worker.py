"""Workers in normal use, and what their own errors look like here."""

import copy
import dataclasses
import math
import os
import pickle
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

from evtorch.jax_core.hardware import (
    WORKER_SCRIPT,
    Backend,
    BackendError,
    HardwareLimitError,
    Layer,
    MockBSS2,
    Network,
    WorkerBackend,
    WorkerError,
)
from tests.hardware._worker_backends import ARRAYS
from tests.hardware._workers import BACKENDS, INPUT, assert_answers, network, start


@pytest.mark.parametrize("transport", ["unix", "tcp"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_run_arrives_and_returns_bit_by_bit(rng, transport, dtype):
    def layer(out: int, inputs: int, **settings) -> Layer:
        values = {name: rng.lognormal(0, 1e-3, out) for name in ARRAYS[1:]}
        values["v_reset"] -= 2
        values["refractory"][0] = np.inf
        return Layer(rng.normal(size=(out, inputs)), **values, **settings)

    sent = Network((layer(4, 3), layer(2, 4, max_spikes=7, has_threshold=False, weight_unit=1 / 3)))
    spikes = np.sort(rng.random((5, 3, 2))).astype(dtype)
    spikes[2:, 1, 1:] = np.inf
    times = rng.random(6)
    with start("Mirror", transport=transport) as worker:
        assert isinstance(worker, Backend)
        assert (worker.name, worker.weight_limit) == ("mirror", 63)
        seen = worker.run(sent, spikes, math.inf, voltage_times=times)
        assert worker.run(sent, spikes, 0.1).voltages is None
    assert seen.spikes[0].dtype == dtype
    assert seen.spikes[0].tobytes() == spikes.tobytes()
    assert seen.lost == {"event link": 3, "fifo": 0}
    assert seen.overflow is not None
    np.testing.assert_array_equal(seen.overflow[0], np.arange(4))
    assert seen.voltages is not None
    expected = [times, np.array([7, False, 1 / 3, np.inf])]
    expected += [getattr(x, name) for x in sent.layers for name in ARRAYS]
    assert len(seen.voltages) == len(expected)
    for array, original in zip(seen.voltages, expected, strict=True):
        assert array.dtype == np.float64
        assert (array.shape, array.tobytes()) == (original.shape, original.tobytes())


def test_the_worker_imports_neither_evtorch_nor_jax():
    with start(
        "environment", options={"variable": "CHIP"}, environment={"CHIP": "W62F3"}
    ) as worker:
        assert worker.name == "W62F3 False False"


def test_variables_can_be_removed(monkeypatch):
    monkeypatch.setenv("CHIP", "W62F3")
    with start("environment", options={"variable": "CHIP"}, environment={"CHIP": None}) as worker:
        assert worker.name.startswith("None")


def test_the_secret_does_not_reach_the_backend():
    with start("environment", options={"variable": "EVTORCH_WORKER_SECRET"}) as worker:
        assert worker.name.startswith("None")


def test_the_factory_may_be_a_class_method():
    with start("Answering.named", options={"name": "chip 3"}) as worker:
        assert worker.name == "chip 3"


def test_the_mock_runs_in_a_worker_as_it_does_here(rng):
    one = Layer(rng.integers(-63, 64, (4, 3)), 2e-5, 1e-5, 1.0, 0.0, 0.0, 2e-6, weight_unit=0.1)
    spikes = rng.random((5, 3, 1)) * 1e-5
    options = {"chip": 2, "noise": 7}
    expected = MockBSS2(**options).run(Network((one,)), spikes, 4e-5)
    assert np.isfinite(expected.spikes[0]).any()
    with WorkerBackend.start("evtorch.jax_core.hardware:MockBSS2", options) as worker:
        seen = worker.run(Network((one,)), spikes, 4e-5)
        np.testing.assert_array_equal(seen.spikes[0], expected.spikes[0])
        with pytest.raises(HardwareLimitError, match="whole numbers from -63 to 63"):
            worker.run(Network((dataclasses.replace(one, weight=one.weight * 2),)), spikes, 4e-5)


def test_modules_are_found_in_the_folder(tmp_path):
    shutil.copy(BACKENDS, tmp_path / "vendor.py")
    with WorkerBackend.start("vendor:Answering", folder=tmp_path) as worker:
        assert_answers(worker)


def test_backends_can_use_the_contract_without_evtorch(tmp_path):
    (tmp_path / "vendor.py").write_text(
        "from evtorch_worker import Observation, check_input\n"
        "class Chip:\n"
        "    name, weight_limit = 'chip', None\n"
        "    def run(self, network, spikes, duration, *, voltage_times=None):\n"
        "        check_input(network, spikes, duration)\n"
        "        return Observation((spikes,))\n"
    )
    with WorkerBackend.start("vendor:Chip", folder=tmp_path) as worker:
        np.testing.assert_array_equal(worker.run(network(), INPUT, 1.0).spikes[0], INPUT)
        with pytest.raises(WorkerError, match="spikes must have shape"):
            worker.run(network(), INPUT[:, :1], 1.0)


def test_a_backends_exception_arrives_and_leaves_the_worker_running():
    with start("Raising") as worker:
        with pytest.raises(
            WorkerError, match="ValueError in the worker: the coil of row 3"
        ) as caught:
            worker.run(network(), INPUT, 2.0)
        assert f'File "{BACKENDS}"' in str(caught.value)
        assert isinstance(caught.value, BackendError)
        assert_answers(worker)
        assert worker.restarts == 0


def test_a_backends_own_timeout_with_a_long_story_arrives_cut():
    with start("Raising", max_frame_bytes=2**13) as worker:
        with pytest.raises(WorkerError, match="TimeoutError in the worker: the chip is silent …"):
            worker.run(network(), INPUT, 1.0)
        assert_answers(worker)
        assert worker.restarts == 0


def test_hardware_limits_arrive_as_such():
    with start("Limited") as worker, pytest.raises(HardwareLimitError, match="513 neurons do not"):
        worker.run(network(), INPUT, 1.0)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("none", "must return an Observation"),
        ("objects", "dtype object"),
        ("array", "'spikes' must be a tuple of one array per layer"),
        ("large", "max_frame_bytes=100000"),
    ],
)
def test_unfit_answers_are_errors(answer, expected):
    worker = start("Wrong", options={"answer": answer}, max_frame_bytes=10**5)
    with worker:
        for _ in range(2):
            with pytest.raises(WorkerError, match=expected):
                worker.run(network(), INPUT, 1.0)
        assert worker.restarts == 0


def test_an_oversized_batch_is_refused_and_the_next_one_runs():
    with start("Answering", max_frame_bytes=10**4) as worker:
        with pytest.raises(ValueError, match="max_frame_bytes=10000: split the batch"):
            worker.run(network(), np.zeros((1000, 2, 1)), 1.0)
        assert_answers(worker)
        assert worker.restarts == 0


def test_threads_take_turns():
    answers: list[float] = []

    def run(value: float) -> None:
        for _ in range(10):
            seen = worker.run(network(), np.full((1, 2, 1), value), 0.5)
            answers.append(seen.spikes[0][0, 0, 0] - value)

    with start("Answering") as worker:
        threads = [threading.Thread(target=run, args=(value,)) for value in (1.0, 2.0, 3.0)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert answers == [0.0] * 30


def test_copies_of_a_model_share_its_worker_and_pickles_cannot():
    with start("Answering") as worker:
        assert copy.deepcopy({"backend": worker})["backend"] is worker
        with pytest.raises(TypeError, match="cannot be pickled: save"):
            pickle.dumps(worker)


def test_a_stopped_worker_says_so():
    worker = start("Answering")
    worker.stop()
    worker.stop()
    with pytest.raises(WorkerError, match="has been stopped"):
        worker.run(network(), INPUT, 1.0)


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        (f"{BACKENDS}:missing_library", "No module named 'no_such_vendor_library'"),
        (f"{BACKENDS}:no_such_factory", "no_such_factory"),
        ("no_such_module:factory", "No module named 'no_such_module'"),
        ("no_such_file.py:factory", "there is no file 'no_such_file.py'"),
        ("factory", "module:factory"),
    ],
)
def test_a_worker_that_cannot_start_says_why(backend, expected):
    with pytest.raises(WorkerError, match=expected) as caught:
        WorkerBackend.start(backend)
    assert "exited with status 1" in str(caught.value)


def test_an_interpreter_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(WorkerError, match="no_such_python"):
        start("Answering", python=str(tmp_path / "no_such_python"))


def test_the_interpreter_may_be_a_command():
    with start(
        "environment", options={"variable": "CHIP"}, python=["env", "CHIP=2", sys.executable]
    ) as worker:
        assert worker.name.startswith("2 ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"transport": "udp"}, "transport must be 'unix' or 'tcp'"),
        ({"options": {"chip": object()}}, "options must be what JSON can hold"),
        ({"timeout": 0}, "timeout must be finite and at least 0.001"),
        ({"max_restarts": -1}, "max_restarts must be"),
        ({"max_frame_bytes": 8191}, "max_frame_bytes must be finite and at least 8192"),
        ({"timeout": math.nan}, "timeout must be finite"),
        ({"timeout": 1e7}, "timeout must be at most 2e[+]06 seconds"),
        ({"max_frame_bytes": 1e6}, "max_frame_bytes must be a whole number"),
    ],
)
def test_bad_settings_are_named(arguments, expected):
    with pytest.raises(ValueError, match=expected):
        WorkerBackend.start("module:factory", **arguments)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("localhost:80", "must be unix:PATH or tcp:HOST:PORT"),
        ("tcp:127.0.0.1:http", "must be unix:PATH or tcp:HOST:PORT"),
        ("unix:", "must be unix:PATH or tcp:HOST:PORT"),
        ("tcp:192.0.2.1:7000", "not on this machine"),
        ("tcp:127.0.0.1:7000", "secret must be given"),
    ],
)
def test_bad_addresses_are_refused(address, expected):
    with pytest.raises(ValueError, match=expected):
        WorkerBackend.attach(address)


def test_a_worker_on_tcp_insists_on_a_secret():
    command = [sys.executable, WORKER_SCRIPT, "--backend", f"{BACKENDS}:Answering", "--tcp", "0"]
    environment = {k: v for k, v in os.environ.items() if k != "EVTORCH_WORKER_SECRET"}
    ended = subprocess.run(command, env=environment, capture_output=True, timeout=60)
    assert ended.returncode == 1
    assert b"needs a shared secret" in ended.stderr
