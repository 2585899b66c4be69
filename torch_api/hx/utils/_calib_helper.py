"""Names of calibrations."""

from pathlib import Path


def nightly_calib_path(name: str = "spiking") -> Path:
    """The name of a calibration, which is recorded where it is loaded."""
    return Path(f"{name}_cocolist.pbin")


def nightly_calix_native_path(name: str = "spiking") -> Path:
    """As `nightly_calib_path`, in another format."""
    return Path(f"{name}_calix-native.pkl")
