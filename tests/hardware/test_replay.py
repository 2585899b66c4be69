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
    np.savez(tmp_path / "late.npz", layer0=np.array([[[INF, 1e-3]]]))
    with pytest.raises(hardware.BackendError, match="layer 0 of the recording: spike 1 of neuron"):
        hardware.Replay(tmp_path / "late.npz")
    with pytest.raises(hardware.BackendError, match="must hold arrays layer0"):
        hardware.Replay(tmp_path / "other.npz")


@pytest.mark.parametrize(
    ("recorded", "message"),
    [
        (
            np.array([[[2e-6, 1e-6]]]),
            "spike 1 of neuron 0 in sample 0, .* earlier than the spike b",
        ),
        (np.array([[[1e-6, INF, math.nan]]]), "spike 2 of neuron 0 in sample 0, .* not a number"),
        (np.array([[[None]]]), r"must be an array of numbers \(batch, neurons, k\), got object"),
        (np.zeros((2, 2)), r"must be an array of numbers .* of shape \(2, 2\)"),
    ],
)
def test_recordings_are_checked_as_a_whole(recorded, message):
    with pytest.raises(hardware.BackendError, match=f"layer 0 of the recording:? {message}"):
        hardware.Replay([recorded])
    with pytest.raises(hardware.BackendError, match=f"inputs of the recording:? {message}"):
        hardware.Replay([RECORDED], recorded)


def test_whole_numbers_are_times_too():
    recorded = np.array([[[0], [1]], [[0], [2]]])
    seen = hardware.Replay([recorded]).run(network(), INPUTS, 3.0)
    assert seen.spikes[0].tolist() == [[[0, INF], [1, INF]], [[0, INF], [2, INF]]]


def test_files_that_cannot_be_read_are_named(tmp_path):
    hardware.Replay([RECORDED]).save(tmp_path / "run.npz")
    whole = (tmp_path / "run.npz").read_bytes()
    files = {"empty": b"", "junk": b"junk" * 100, "truncated": whole[:-30], "damaged": whole}
    files["damaged"] = whole[:200].replace(b"NUMPY", b"JUNKS") + whole[200:]
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    np.save(tmp_path / "single.npy", RECORDED)
    np.savez(tmp_path / "objects.npz", layer0=np.array([None]))
    for name in (*files, "single.npy", "objects.npz"):
        with pytest.raises(hardware.BackendError, match=f"{name} is no .npz file of numbers"):
            hardware.Replay(tmp_path / name)
        with pytest.raises(ValueError, match=f"{name} is no .npz file of numbers"):
            hardware.Calibration.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        hardware.Replay(tmp_path / "absent.npz")
