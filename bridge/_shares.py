"""Parameters that sat out some steps for want of a gradient, as torch's optimisers let them.

optax has one count of steps for all of them, torch has one for each. So the part of optax's state
that is common to all parameters is kept once for each set of parameters with the same past.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ._pytree import to_jax, to_torch

# Larger states are not compared, which would take longer than to step them apart.
_COMPARED = 4096


class Share(NamedTuple):
    """Parameters with one past."""

    members: np.ndarray
    """Whether each parameter belongs to it, boolean."""
    common: list[jax.Array]
    """The leaves of optax's state that are common to all of its parameters."""


def merged(shares: Sequence[Share]) -> list[Share]:
    """The shares, those that agree in ``common`` as one."""
    found: dict[Any, Share] = {}
    for share in shares:
        small = sum(x.size for x in share.common) <= _COMPARED
        key = tuple(np.asarray(plain(x)).tobytes() for x in share.common) if small else id(share)
        if key in found:
            share = Share(found[key].members | share.members, share.common)
        found[key] = share
    return list(found.values())


def saved(shares: Sequence[Share] | None) -> list[Any] | None:
    """Shares for a state dict."""
    if shares is None:
        return None
    return [(s.members.tolist(), to_torch([plain(x) for x in s.common])) for s in shares]


def restored(rows: Sequence[Any] | None, like: Sequence[jax.Array], count: int) -> Any:
    """Shares from `saved`, for ``count`` parameters and common leaves as those in ``like``."""
    if rows is None:
        return None
    shares = []
    for members, tensors in rows:
        arrays = to_jax(list(tensors), copy=True)
        if len(members) != count or [np.shape(a) for a in arrays] != [plain(x).shape for x in like]:
            raise ValueError(
                "`state_dict` holds the state of another transformation or of other parameters "
                "under 'optax_shares'; use the same ones"
            )
        common = [wrapped(a, x) for a, x in zip(arrays, like, strict=True)]
        shares.append(Share(np.array(members, bool), common))
    return shares


def is_key(x: Any) -> bool:
    """Whether an array is a PRNG key, which torch does not know."""
    return jnp.issubdtype(x.dtype, jax.dtypes.extended)


def plain(x: Any) -> Any:
    """A PRNG key's data, any other array itself."""
    return jax.random.key_data(x) if is_key(x) else x


def wrapped(data: Any, like: Any) -> Any:
    """The inverse of `plain`, for an array of the kind of ``like``."""
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(like)) if is_key(like) else data
