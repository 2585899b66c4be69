"""Eigenvalues of any square matrix, and least squares."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import torch

from .._reasons import NotLowered, user_line
from ._registry import lowers, simplifies


@jax.custom_jvp
def _eig(x: Any) -> tuple[Any, Any]:
    values, vectors = jnp.linalg.eig(x)
    return values, vectors


@_eig.defjvp
def _(primals: Any, tangents: Any) -> Any:
    """Giles 2008, "An extended collection of matrix derivative results", 3.1. Vectors stay of
    length one, and their phases, which nothing determines, as they are."""
    values, vectors = _eig(*primals)
    turned = jnp.linalg.solve(vectors, tangents[0].astype(vectors.dtype) @ vectors)
    same = jnp.eye(values.shape[-1], dtype=bool)
    gap = jnp.where(same, 1, values[..., None, :] - values[..., None])
    moved = vectors @ jnp.where(same, 0, turned / gap)
    longer = jnp.sum(jnp.conj(vectors) * moved, -2, keepdims=True).real
    change = jnp.diagonal(turned, axis1=-2, axis2=-1)
    return (values, vectors), (change, moved - vectors * longer)


@lowers("linalg_eig")
def _eigenvalues_and_vectors(x: Any) -> Any:
    return _eig(x)


@lowers("_linalg_eigvals")
def _eigenvalues(x: Any) -> Any:
    return _eig(x)[0]


@simplifies("linalg_lstsq")
def _lstsq(
    a: torch.Tensor, b: torch.Tensor, rcond: float | None = None, *, driver: str | None = None
) -> Any:
    if driver not in (None, "gelsy", "gels", "gelsd", "gelss"):
        raise ValueError(f"`driver` must be 'gelsy', 'gels', 'gelsd' or 'gelss', got {driver!r}")
    rows, columns = a.shape[-2:]
    if driver in ("gelss", "gelsd") and rows > columns:
        # There are residuals if the rank is full.
        where = user_line()
        raise NotLowered(
            f"torch.linalg.lstsq with driver='{driver}' returns residuals or none as values are; "
            f"use driver='gelsy' or 'gels'{f' ({where})' if where else ''}"
        )
    is_vector = b.ndim == 1 or (b.ndim == a.ndim - 1 and b.shape == a.shape[:-1])
    right = b.unsqueeze(-1) if is_vector else b
    bound = torch.finfo(a.dtype).eps * max(rows, columns)
    bound = bound if rcond is None or driver == "gels" else rcond
    # Of a number torch would make one of double precision.
    solution = torch.linalg.pinv(a, rtol=a.real.new_full((), bound)) @ right
    found = solution.squeeze(-1) if is_vector else solution
    empty = a.real.new_empty(0)
    if driver == "gels":
        errors = (right - a @ solution).abs().square().sum(-2)
        return found, errors if rows > columns else empty, empty.long(), empty
    values = torch.linalg.svdvals(a)
    rank = (values > bound * values[..., :1]).sum(-1)
    return found, empty, rank, empty if driver in (None, "gelsy") else values
