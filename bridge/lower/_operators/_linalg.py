"""Products, decompositions and solutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ._promote import as_array
from ._registry import Needs, Unsupported, lowers


@lowers("mm", "bmm", "mv", "dot", "matmul")
def _matmul(x: Any, y: Any) -> Any:
    return jnp.matmul(x, y)


@lowers("vdot")
def _vdot(x: Any, y: Any) -> Any:
    return jnp.sum(jnp.conj(x) * y)


@lowers("linear")
def _linear(x: Any, weight: Any, bias: Any = None) -> Any:
    product = jnp.matmul(x, weight.T)
    return product if bias is None else product + bias


def _scaled(x: Any, factor: Any) -> Any:
    return x if factor == 1 else x * as_array(factor, x.dtype)


@lowers("addmm", "baddbmm", "addmv")
def _addmm(x: Any, one: Any, other: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    product = _scaled(jnp.matmul(one, other), alpha)
    # As in torch, nothing of x counts then, not even NaN.
    return product if beta == 0 else _scaled(x, beta) + product


@lowers("_trilinear")
def _trilinear(
    x: Any,
    y: Any,
    z: Any,
    expand_x: Sequence[int],
    expand_y: Sequence[int],
    expand_z: Sequence[int],
    summed: Sequence[int],
    unroll_dim: int = 1,
) -> Any:
    axes = expand_x, expand_y, expand_z
    parts = [jnp.expand_dims(p, tuple(a)) for p, a in zip((x, y, z), axes, strict=True)]
    return jnp.sum(parts[0] * parts[1] * parts[2], tuple(summed))


@lowers("addbmm")
def _addbmm(x: Any, one: Any, other: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    product = _scaled(jnp.einsum("bij,bjk->ik", one, other), alpha)
    return product if beta == 0 else _scaled(x, beta) + product


@lowers("addr")
def _addr(x: Any, one: Any, other: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    product = _scaled(jnp.outer(one, other), alpha)
    return product if beta == 0 else _scaled(x, beta) + product


def _adjoint(x: Any) -> Any:
    return jnp.conj(jnp.swapaxes(x, -1, -2))


def _fine(x: Any) -> Any:
    """What LAPACK says where nothing went wrong, for each matrix."""
    return jnp.zeros(x.shape[:-2], jnp.int32)


@lowers("linalg_inv_ex", "inverse")
def _inv(x: Any, *, check_errors: bool = False) -> Any:
    return jnp.linalg.inv(x), _fine(x)


@lowers("linalg_cholesky_ex")
def _cholesky_ex(x: Any, *, upper: bool = False, check_errors: bool = False) -> Any:
    return _cholesky(x, upper), _fine(x)


@lowers("cholesky")
def _cholesky(x: Any, upper: bool = False) -> Any:
    factor = lax.linalg.cholesky(_adjoint(x) if upper else x, symmetrize_input=False)
    return _adjoint(factor) if upper else factor


def _solved(a: Any, b: Any, left: bool = True) -> Any:
    if not left:
        return jnp.swapaxes(_solved(jnp.swapaxes(a, -1, -2), jnp.swapaxes(b, -1, -2)), -1, -2)
    if b.ndim == a.ndim - 1 and b.shape == a.shape[:-1]:
        return jnp.linalg.solve(a, b[..., None])[..., 0]
    batch = jnp.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a = jnp.broadcast_to(a, (*batch, *a.shape[-2:]))
    return jnp.linalg.solve(a, jnp.broadcast_to(b, (*batch, *b.shape[-2:])))


@lowers("_linalg_solve_ex")
def _solve_ex(a: Any, b: Any, *, left: bool = True, check_errors: bool = False) -> Any:
    factors, pivots, _ = lax.linalg.lu(a)
    return _solved(a, b, left), factors, pivots + 1, _fine(a)


@lowers("linalg_solve_triangular")
def _solve_triangular(
    a: Any, b: Any, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Any:
    batch = jnp.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a = jnp.broadcast_to(a, (*batch, *a.shape[-2:]))
    b = jnp.broadcast_to(b, (*batch, *b.shape[-2:]))
    return lax.linalg.triangular_solve(
        a, b, left_side=left, lower=not upper, unit_diagonal=unitriangular
    )


@lowers("triangular_solve")
def _old_triangular_solve(
    b: Any, a: Any, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Any:
    used = jnp.swapaxes(a, -1, -2) if transpose else a
    up = upper != transpose
    return _solve_triangular(used, b, upper=up, unitriangular=unitriangular), a


@lowers("cholesky_solve")
def _cholesky_solve(b: Any, factor: Any, upper: bool = False) -> Any:
    lower = _adjoint(factor) if upper else factor
    half = _solve_triangular(lower, b, upper=False)
    return _solve_triangular(_adjoint(lower), half, upper=True)


@lowers("cholesky_inverse")
def _cholesky_inverse(factor: Any, upper: bool = False) -> Any:
    eye = jnp.broadcast_to(jnp.eye(factor.shape[-1], dtype=factor.dtype), factor.shape)
    return _cholesky_solve(eye, factor, upper)


@lowers("linalg_qr")
def _qr(x: Any, mode: str = "reduced") -> Any:
    if mode == "r":
        r = jnp.linalg.qr(x, mode="r")
        return jnp.zeros((0,), x.dtype), r
    return tuple(jnp.linalg.qr(x, mode=mode))


@lowers("_linalg_eigh")
def _eigh(x: Any, UPLO: str = "L", compute_v: bool = True) -> Any:
    values, vectors = jnp.linalg.eigh(x, UPLO=UPLO, symmetrize_input=False)
    return values, vectors if compute_v else jnp.zeros((0,), x.dtype)


@lowers("_linalg_svd")
def _svd(
    x: Any, full_matrices: bool = False, compute_uv: bool = True, *, driver: Any = None
) -> Any:
    if not compute_uv:
        empty = jnp.zeros((0,), x.dtype)
        return empty, jnp.linalg.svd(x, compute_uv=False), empty
    if full_matrices and x.shape[-1] != x.shape[-2]:
        raise Unsupported("full singular vectors, which have no derivative in JAX")
    return tuple(jnp.linalg.svd(x, full_matrices=False))


@lowers("linalg_pinv.atol_rtol_tensor")
def _pinv(x: Any, *, atol: Any = None, rtol: Any = None, hermitian: bool = False) -> Any:
    largest = jnp.linalg.norm(lax.stop_gradient(x), 2, (-2, -1))
    if rtol is None:
        bound = max(x.shape[-2:]) * float(jnp.finfo(x.dtype).eps)
        rtol = jnp.full(largest.shape, bound, largest.dtype)
        rtol = rtol if atol is None else jnp.where(atol > 0, 0.0, rtol)
    if atol is not None:
        rtol = jnp.maximum(rtol, atol / jnp.where(largest == 0, 1.0, largest))
    return jnp.linalg.pinv(x, rtol=lax.stop_gradient(rtol), hermitian=hermitian)


@lowers("_linalg_det")
def _det(x: Any) -> Any:
    factors, pivots, _ = lax.linalg.lu(x)
    return jnp.linalg.det(x), factors, pivots + 1


@lowers("_linalg_slogdet")
def _slogdet(x: Any) -> Any:
    factors, pivots, _ = lax.linalg.lu(x)
    sign, size = jnp.linalg.slogdet(x)
    return sign, size, factors, pivots + 1


@lowers("linalg_lu_factor_ex")
def _lu_factor_ex(x: Any, *, pivot: bool = True, check_errors: bool = False) -> Any:
    factors, pivots, _ = lax.linalg.lu(x)
    return factors, pivots + 1, _fine(x)


def _factors(lu: Any) -> tuple[Any, Any]:
    """Both triangular factors in what LAPACK returns."""
    rows, columns = lu.shape[-2:]
    small = min(rows, columns)
    lower = jnp.tril(lu[..., :small], -1) + jnp.eye(rows, small, dtype=lu.dtype)
    return lower, jnp.triu(lu[..., :small, :])


def _permutation(order: Any, dtype: Any) -> Any:
    """The matrix P of A = P L U, where ``order`` are the rows of A in those of L."""
    return jnp.swapaxes(jnp.eye(order.shape[-1], dtype=dtype)[order], -1, -2)


@lowers("linalg_lu")
def _lu(x: Any, *, pivot: bool = True) -> Any:
    if not pivot:
        raise Unsupported("a factorisation without pivots")
    factors, _, order = lax.linalg.lu(x)
    return _permutation(order, x.dtype), *_factors(factors)


@lowers("linalg_lu_solve")
def _lu_solve(
    factors: Any, pivots: Any, b: Any, *, left: bool = True, adjoint: bool = False
) -> Any:
    order = lax.linalg.lu_pivots_to_permutation(pivots - 1, factors.shape[-2])
    lower, upper = _factors(factors)
    a = _permutation(order, factors.dtype) @ (lower @ upper)
    return _solved(_adjoint(a) if adjoint else a, b, left)


@lowers("linalg_matrix_exp", "matrix_exp")
def _matrix_exp(x: Any) -> Any:
    return jax.scipy.linalg.expm(x)


@lowers("linalg_cross")
def _cross(x: Any, y: Any, *, dim: int = -1) -> Any:
    x, y = jnp.broadcast_arrays(x, y)
    return jnp.cross(x, y, axis=dim)


def _distance(difference: Any, p: float) -> Any:
    from ._reduce import _vector_norm

    return _vector_norm(difference, difference, p, -1)


@lowers("_cdist_forward")
def _cdist(x: Any, y: Any, p: float, compute_mode: int | None = None) -> Any:
    return _distance(x[..., :, None, :] - y[..., None, :, :], p)


@lowers("_euclidean_dist")
def _euclidean(x: Any, y: Any) -> Any:
    return _cdist(x, y, 2.0)


@lowers("_pdist_forward")
def _pdist(x: Any, p: float = 2) -> Any:
    row, column = jnp.triu_indices(x.shape[0], 1)
    return _distance(x[row] - x[column], p)


@lowers("_fft_c2c")
def _fft_c2c(x: Any, dim: Any, normalization: int, forward: bool) -> Any:
    transform = jnp.fft.fftn if forward else jnp.fft.ifftn
    return transform(x, axes=tuple(dim), norm=_norm(normalization, forward))


def _norm(normalization: int, forward: bool) -> str:
    """How JAX calls torch's normalisation: 0 none, 1 by the root of n, 2 by n."""
    if normalization == 1:
        return "ortho"
    return "backward" if (normalization == 0) == forward else "forward"


@lowers("_fft_r2c", needs=Needs.OUTPUT)
def _fft_r2c(out: Any, x: Any, dim: Any, normalization: int, onesided: bool) -> Any:
    norm = _norm(normalization, True)
    if onesided:
        return jnp.fft.rfftn(x, axes=tuple(dim), norm=norm)
    return jnp.fft.fftn(x.astype(out.dtype), axes=tuple(dim), norm=norm)


@lowers("_fft_c2r", needs=Needs.OUTPUT)
def _fft_c2r(out: Any, x: Any, dim: Any, normalization: int, last: int) -> Any:
    sizes = [out.shape[d] for d in dim]
    return jnp.fft.irfftn(x, s=sizes, axes=tuple(dim), norm=_norm(normalization, False))
