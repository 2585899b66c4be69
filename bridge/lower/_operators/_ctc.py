"""Connectionist temporal classification, as a scan over time."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import torch
from jax import lax

from ._registry import TABLE, Operator, simplifies


@simplifies("_ctc_loss", "_ctc_loss.Tensor")
def _by_lengths(
    log_probs: torch.Tensor,
    targets: torch.Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    zero_infinity: bool = False,
) -> Any:
    lengths = [
        torch.as_tensor(given, dtype=torch.int64, device=targets.device)
        for given in (input_lengths, target_lengths)
    ]
    _check(log_probs, targets, lengths, blank)
    loss = torch.ops.evtorch.ctc_loss(log_probs, targets, *lengths, blank, zero_infinity)
    # What torch keeps for its backward pass.
    return loss, log_probs.new_empty(0)


def _check(
    log_probs: torch.Tensor, targets: torch.Tensor, lengths: list[torch.Tensor], blank: int
) -> None:
    """What torch checks when it computes the loss, of all that is known without values."""
    batch, classes = log_probs.shape[1] if log_probs.ndim == 3 else 1, log_probs.shape[-1]
    if not 0 <= blank < classes:
        raise ValueError(f"`blank` must be one of the {classes} classes of log_probs, got {blank}")
    for name, given in zip(("input", "target"), lengths, strict=True):
        if given.numel() != batch:
            raise ValueError(
                f"`{name}_lengths` must have one length for each of {batch} samples, got "
                f"{given.numel()}"
            )
    if targets.ndim not in (1, 2) or (targets.ndim == 2 and len(targets) != batch):
        raise ValueError(
            f"`targets` must have shape (batch, longest), with {batch} samples, or have all labels "
            f"in a row, got shape {tuple(targets.shape)}"
        )


@torch.library.custom_op("evtorch::ctc_loss", mutates_args=())
def ctc_loss(
    log_probs: torch.Tensor,
    targets: torch.Tensor,
    input_lengths: torch.Tensor,
    target_lengths: torch.Tensor,
    blank: int,
    zero_infinity: bool,
) -> torch.Tensor:
    """A loss for each sample; never runs, since what is captured becomes JAX."""
    raise NotImplementedError


@ctc_loss.register_fake
def _(log_probs: torch.Tensor, *others: Any) -> torch.Tensor:
    return log_probs.new_empty(log_probs.shape[1:-1])


@jax.custom_jvp
def _only_slope(x: Any, slope: Any) -> Any:
    """Zero for each sample, with this derivative by ``x``, which may be differentiated again."""
    return jnp.zeros(x.shape[1], x.dtype)


@_only_slope.defjvp
def _(primals: Any, tangents: Any) -> Any:
    return _only_slope(*primals), jnp.sum(primals[1] * tangents[0], (0, 2))


def _log_sum(terms: Any) -> Any:
    """The logarithm of the sum of exponentials over the first axis, with no slope where all are
    zero."""
    largest = lax.stop_gradient(jnp.max(terms, 0))
    possible = largest != -jnp.inf
    total = jnp.sum(jnp.exp(terms - jnp.where(possible, largest, 0)), 0)
    return jnp.where(possible, jnp.log(jnp.where(possible, total, 1)) + largest, -jnp.inf)


def _labels(targets: Any, lengths: Any, blank: int) -> Any:
    """Targets ``(batch, longest)``, blank behind their ends."""
    # Of rows one after the other, each may be as long as all.
    places = jnp.arange(targets.shape[-1])
    if targets.ndim == 1:
        places_of_all = (jnp.cumsum(lengths) - lengths)[:, None] + places
        targets = jnp.take(targets, places_of_all, mode="clip")
    return jnp.where(places < lengths[:, None], targets, blank)


def _loss(log_probs: Any, labels: Any, steps: Any, lengths: Any, blank: int) -> Any:
    """Graves et al. 2006, equations 6 to 8, in logarithms: minus that of the probability."""
    batch = labels.shape[0]
    states = jnp.full((batch, 2 * labels.shape[1] + 1), blank, labels.dtype)
    states = states.at[:, 1::2].set(labels)
    skips = jnp.zeros(states.shape, bool)
    skips = skips.at[:, 2:].set((states[:, 2:] != blank) & (states[:, 2:] != states[:, :-2]))
    given = jnp.take_along_axis(log_probs, states[None], 2)

    def later(x: Any, by: int) -> Any:
        return jnp.pad(x, ((0, 0), (by, 0)), constant_values=-jnp.inf)[:, : x.shape[1]]

    def step(alpha: Any, now: Any) -> Any:
        t, own = now
        skipped = jnp.where(skips, later(alpha, 2), -jnp.inf)
        new = _log_sum(jnp.stack([alpha, later(alpha, 1), skipped])) + own
        return jnp.where((t < steps)[:, None], new, alpha), None

    # Before the first time, so that no times at all fit a target without labels.
    start = jnp.full(states.shape, -jnp.inf, log_probs.dtype).at[:, 0].set(0)
    alpha, _ = lax.scan(step, start, (jnp.arange(len(given)), given))
    at_blank = jnp.take_along_axis(alpha, 2 * lengths[:, None], 1)[:, 0]
    before = jnp.maximum(2 * lengths - 1, 0)[:, None]
    at_label = jnp.take_along_axis(alpha, before, 1)[:, 0]
    return -_log_sum(jnp.stack([at_blank, jnp.where(lengths > 0, at_label, -jnp.inf)]))


def _run(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int,
    zero_infinity: bool,
) -> Any:
    single, in_a_row = log_probs.ndim == 2, targets.ndim == 1
    if single:
        log_probs, targets = log_probs[:, None], targets.reshape(1, -1)
    steps, lengths = jnp.reshape(input_lengths, -1), jnp.reshape(target_lengths, -1)
    longest = targets.shape[-1]
    labels = _labels(targets, lengths, blank)
    found = _loss(log_probs, labels, steps, jnp.minimum(lengths, longest), blank)
    possible = found != jnp.inf
    if zero_infinity:
        found = jnp.where(possible, found, 0)
    # As torch has it, a gradient by what log_softmax got; without effect if that was there.
    inside = (jnp.arange(log_probs.shape[0])[:, None] < steps)[..., None]
    other = 0 if zero_infinity else jnp.nan
    own = jnp.where(possible[:, None], jnp.exp(log_probs), other)
    found = found + _only_slope(log_probs, jnp.where(inside, own, 0))
    fits = (steps >= 0) & (steps <= log_probs.shape[0]) & (lengths >= 0) & (lengths <= longest)
    # Read as they are, negative labels would count from the last class.
    fits &= jnp.all(labels >= 0, 1)
    if in_a_row:
        fits &= jnp.sum(lengths) == longest
    found = jnp.where(fits, found, jnp.nan)
    return found[0] if single else found


TABLE[torch.ops.evtorch.ctc_loss.default] = Operator(_run)
