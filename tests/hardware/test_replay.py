"""Recorded spikes stand for hardware."""

import math

import numpy as np
import pytest

from evtorch.jax_core import hardware

INF = math.inf


def network(max_spikes=2):
    layer = hardware.Layer(np.ones((2, 1)), 1e-5, 5e-6, 1.0, 0.0, 0.0, INF, max_spikes=max_spikes)
    return hardware.Network((layer,))


RECORDED = np.array([[[1e-6, 2e-6, INF], [INF] * 3], [[1e-6, 2e-6, 3e-6], [5e-6, INF, INF]]])
INPUTS = np.array([[[0.0]], [[1e-6]]])


def test_spikes_come_back_and_what_has_no_room_is_counted():
    replay = hardware.Replay([RECORDED])
    assert isinstance(replay, hardware.Backend)
    seen = replay.run(network(), INPUTS, 1e-4)
    np.testing.assert_array_equal(seen.spikes[0], RECORDED[..., :2])
    assert seen.overflow[0].tolist() == [1, 0]
    wide = replay.run(network(5), INPUTS, 1e-4)
    np.testing.assert_array_equal(wide.spikes[0][..., :3], RECORDED)
    assert np.isinf(wide.spikes[0][..., 3:]).all()
    hardware.check_observation(wide, network(5), 2, 1e-4)


def test_files_hold_the_recording_and_its_input(tmp_path):
    hardware.Replay([RECORDED], INPUTS).save(tmp_path / "run.npz")
    replay = hardware.Replay(tmp_path / "run.npz")
    seen = replay.run(network(3), INPUTS, 1e-4)
    np.testing.assert_array_equal(seen.spikes[0], RECORDED)
    with pytest.raises(hardware.BackendError, match="other input spikes"):
        replay.run(network(), INPUTS + 1e-7, 1e-4)
    hardware.Replay(tmp_path / "run.npz", tolerance=2e-7).run(network(), INPUTS + 1e-7, 1e-4)


def test_wrong_recordings_are_refused(tmp_path):
    with pytest.raises(hardware.BackendError, match="layer 0 of the recording has shape"):
        hardware.Replay([RECORDED[:1]]).run(network(), INPUTS, 1e-4)
    with pytest.raises(hardware.BackendError, match="has 2 layers, the network has 1"):
        hardware.Replay([RECORDED] * 2).run(network(), INPUTS, 1e-4)
    with pytest.raises(hardware.BackendError, match="no voltages"):
        hardware.Replay([RECORDED]).run(network(), INPUTS, 1e-4, voltage_times=np.zeros(1))
    np.savez(tmp_path / "other.npz", spikes=RECORDED)
    with pytest.raises(hardware.BackendError, match="must hold arrays layer0"):
        hardware.Replay(tmp_path / "other.npz")
