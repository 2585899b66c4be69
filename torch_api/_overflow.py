"""What happens when a neuron spikes more often than there is room for: never a silent loss."""

import warnings
from typing import Literal

from torch import Tensor

OnOverflow = Literal["error", "warn", "truncate"]


class SpikeOverflowError(RuntimeError):
    """Spikes would be lost for want of room."""


class SpikeOverflowWarning(RuntimeWarning):
    """Spikes were lost for want of room."""


def check_policy(on_overflow: str) -> None:
    """Check the name of a policy."""
    if on_overflow not in ("error", "warn", "truncate"):
        raise ValueError(f"on_overflow must be 'error', 'warn' or 'truncate', got {on_overflow!r}")


def apply_policy(overflow: Tensor, on_overflow: str, max_spikes: int, layer: str = "") -> None:
    """Raise or warn if any neuron had more spikes than room.

    **Arguments:** ``overflow``: samples with more than ``max_spikes`` spikes, by neuron ``(out,)``;
    ``on_overflow``: the policy; ``layer``: names the layer in the message.
    """
    if on_overflow == "truncate" or not bool(overflow.any()):
        return
    neurons = int((overflow > 0).sum())
    message = (
        f"{neurons} of {overflow.numel()} neurons{layer} spike more than max_spikes = {max_spikes} "
        f"times (the worst of them in {int(overflow.max())} samples). Raise max_spikes; or let "
        f"neurons spike once only with refractory=inf; or lower t_max; or keep the first "
        f"{max_spikes} spikes with on_overflow='truncate'"
    )
    if on_overflow == "error":
        raise SpikeOverflowError(message)
    warnings.warn(message, SpikeOverflowWarning, stacklevel=3)
