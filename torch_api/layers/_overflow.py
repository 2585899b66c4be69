"""What happens when a neuron spikes more often than there is room for: never a silent loss."""

import warnings
from typing import Any, Literal

import torch
from torch import Tensor

from ...bridge._torch_internals import check_later, is_captured

OnOverflow = Literal["error", "warn", "truncate"]


class SpikeOverflowError(RuntimeError):
    """Spikes would be lost for want of room."""


class SpikeOverflowWarning(RuntimeWarning):
    """Spikes were lost for want of room."""


def check_policy(on_overflow: str) -> None:
    """Check the name of a policy."""
    if on_overflow not in ("error", "warn", "truncate"):
        raise ValueError(f"on_overflow must be 'error', 'warn' or 'truncate', got {on_overflow!r}")


def report_overflow(
    overflow: Tensor,
    on_overflow: OnOverflow,
    max_spikes: int,
    *,
    ends_sample: bool = False,
    delayed: bool = False,
    can_rest: bool = True,
) -> None:
    """Raise or warn if any neuron of a layer had more spikes than room.

    **Arguments:** ``overflow``: samples with more than ``max_spikes`` spikes, by neuron ``(out,)``;
    ``on_overflow``: the policy; ``ends_sample``: whether all neurons are silent after a lost spike;
    ``delayed``: whether the neurons have dendritic delays; ``can_rest``: whether they may have a
    refractory period.
    """
    if on_overflow == "truncate":
        return
    if torch.compiler.is_compiling():
        from .. import _compile

        _compile.report_outside(
            overflow,
            on_overflow,
            max_spikes,
            ends_sample=ends_sample,
            delayed=delayed,
            can_rest=can_rest,
        )
        return
    # Inside of torch.func only the plain tensor has values. What is mapped over comes first.
    overflow = torch.func.debug_unwrap(overflow)
    options = on_overflow, max_spikes, ends_sample, delayed, can_rest
    if is_captured():
        check_later(overflow, lambda counts: _report(torch.tensor(counts), *options))
    else:
        _report(overflow, *options)


def _report(
    overflow: Tensor,
    on_overflow: OnOverflow,
    max_spikes: int,
    ends_sample: bool,
    delayed: bool,
    can_rest: bool,
) -> None:
    if overflow.ndim > 1:
        overflow = overflow.flatten(0, -2).sum(dim=0)
    if not bool(overflow.any()):
        return
    accept = f"keep the first {max_spikes} spikes"
    if ends_sample:
        accept = "accept that these samples end where a neuron has no room"
    rest = "or let neurons spike once only with refractory=inf; " if can_rest else ""
    where = ", counted before their dendritic delays and up to t_max" if delayed else ""
    _act(
        f"{int((overflow > 0).sum())} of {overflow.numel()} neurons spike more than max_spikes = "
        f"{max_spikes} times (the worst of them in {int(overflow.max())} samples{where}). Raise "
        f"max_spikes; {rest}or lower t_max; or {accept} with on_overflow='truncate'",
        on_overflow,
    )


def report_lost(before: Tensor, after: Tensor, on_overflow: OnOverflow, remedy: str) -> None:
    """Raise or warn if a conversion lost spikes.

    **Arguments:** ``before``, ``after``: where there are spikes, boolean, of any shapes;
    ``on_overflow``: the policy; ``remedy``: why spikes get lost and what to do about it.
    """
    if on_overflow == "truncate":
        return
    # Inside of torch.func only the plain tensor has values.
    lost = torch.func.debug_unwrap(before.sum() - after.sum()).sum()

    def check(count: Any) -> None:
        if count:
            _act(
                f"{int(count)} spikes have no room: {remedy}; or on_overflow='truncate'",
                on_overflow,
            )

    if is_captured():
        check_later(lost, check)
    else:
        check(lost)


def _act(message: str, on_overflow: OnOverflow) -> None:
    if on_overflow == "error":
        raise SpikeOverflowError(message)
    warnings.warn(message, SpikeOverflowWarning, stacklevel=4)
