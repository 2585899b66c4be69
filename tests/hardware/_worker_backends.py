"""Backends that tests run in workers, by this file's path. Needs NumPy only."""

import atexit
import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

ARRAYS = ("weight", "tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset", "refractory")


class Answering:
    """Answers with spikes that count up from the first input spike."""

    name = "answering"
    weight_limit = None

    @classmethod
    def named(cls, name):
        backend = cls()
        backend.name = name
        return backend

    def run(self, network, spikes, duration, *, voltage_times=None):
        return SimpleNamespace(
            spikes=tuple(
                spikes.flat[0] + np.arange(float(layer.max_spikes)) * np.ones((1, layer.neurons, 1))
                for layer in network.layers
            )
        )


class Mirror:
    """Returns everything it was given, as an observation."""

    name = "mirror"
    weight_limit = 63

    def run(self, network, spikes, duration, *, voltage_times=None):
        layer = network.layers[-1]
        settings = np.array([layer.max_spikes, layer.has_threshold, layer.weight_unit, duration])
        constants = tuple(getattr(x, name) for x in network.layers for name in ARRAYS)
        return SimpleNamespace(
            spikes=(spikes,),
            voltages=None if voltage_times is None else (voltage_times, settings, *constants),
            lost={"event link": 3, "fifo": 0},
            overflow=(np.arange(4),),
        )


class Raising(Answering):
    def run(self, network, spikes, duration, *, voltage_times=None):
        if duration > 1:
            raise ValueError("the coil of row 3 is off")
        if duration > 0.9:
            raise TimeoutError("the chip is silent " + "\u2026" * 10**5)
        return super().run(network, spikes, duration)


class Limited(Answering):
    def run(self, network, spikes, duration, *, voltage_times=None):
        class HardwareLimitError(ValueError):
            pass

        raise HardwareLimitError("513 neurons do not fit on 512 circuits")


class Dying(Answering):
    """Is killed in each run until ``lives`` workers have died."""

    def __init__(self, marks, lives):
        self._marks, self._lives = Path(marks), lives

    def run(self, network, spikes, duration, *, voltage_times=None):
        died = len(list(self._marks.iterdir()))
        if died < self._lives:
            (self._marks / str(died)).touch()
            print("smoke from the power supply", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(network, spikes, duration)


class Talkative(Answering):
    """Prints more in a run than a pipe holds."""

    def run(self, network, spikes, duration, *, voltage_times=None):
        for _ in range(1000):
            print("x" * 99)
        return super().run(network, spikes, duration)


class Slow(Answering):
    """Takes as many seconds as the duration says."""

    def run(self, network, spikes, duration, *, voltage_times=None):
        time.sleep(duration)
        return super().run(network, spikes, duration)


class Wrong(Answering):
    def __init__(self, answer):
        self._answer = answer

    def run(self, network, spikes, duration, *, voltage_times=None):
        return {
            "none": None,
            "objects": SimpleNamespace(spikes=(np.array([object()]),)),
            "array": SimpleNamespace(spikes=np.zeros((1, 2, 1))),
            "large": SimpleNamespace(spikes=(np.zeros(10**6),)),
        }[self._answer]


class Family(Answering):
    """Starts a process of its own, and tells both numbers; notes when it is released."""

    def __init__(self, file):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
        Path(file).write_text(f"{os.getpid()} {child.pid}")
        atexit.register(lambda: Path(file + ".released").touch())


def missing_library():
    importlib.import_module("no_such_vendor_library")


def environment(variable):
    backend = Answering()
    backend.name = f"{os.environ.get(variable)} {'jax' in sys.modules} {'evtorch' in sys.modules}"
    return backend
