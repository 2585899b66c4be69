"""Operators whose outputs' shapes depend on values in torch, and eigenvectors, in JAX."""

import jax
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from evtorch import bridge

from .test_operators import compare, samples

DTYPES = [torch.float64, torch.float32]


def ctc_cases(dtype):
    """Losses with repeated labels, a target that does not fit, one without labels, no times."""
    torch.manual_seed(0)
    log_probs = torch.randn(7, 4, 5, dtype=dtype).log_softmax(2)
    padded = torch.tensor([[1, 1, 2], [3, 4, 0], [2, 2, 2], [1, 2, 3]])
    in_a_row = torch.tensor([1, 1, 2, 3, 4, 2, 2, 2])
    times, lengths = torch.tensor([7, 6, 4, 0]), torch.tensor([3, 2, 3, 0])
    for zero in (False, True):
        for reduction in ("none", "mean"):
            kwargs = {"reduction": reduction, "zero_infinity": zero}
            yield (
                lambda a, *rest, k=kwargs: F.ctc_loss(a, *rest, **k),
                log_probs,
                padded,
                times,
                lengths,
            )
    yield (
        lambda a, *rest: F.ctc_loss(a, *rest, reduction="sum"),
        log_probs,
        in_a_row,
        times,
        lengths,
    )
    yield lambda a, b: F.ctc_loss(a, b, (7, 6, 7, 7), (3, 2, 3, 0)), log_probs, in_a_row
    yield (
        lambda a, *rest: F.ctc_loss(a[:, 0], *rest, blank=4),
        log_probs,
        padded[0],
        times[0],
        lengths[0],
    )
    # Without log_softmax.
    other = torch.randn(7, 4, 5, dtype=dtype)
    yield F.ctc_loss, other, padded, (times + 3).clamp(max=7), lengths


def least_squares_cases(dtype):
    """Tall, wide and rank-deficient matrices, batches, vectors."""
    torch.manual_seed(1)
    a, b = torch.randn(2, 4, 3, dtype=dtype), torch.randn(2, 4, 2, dtype=dtype)
    yield torch.linalg.lstsq, a, b
    yield torch.linalg.lstsq, a.mT, b[:, :3]
    yield torch.linalg.lstsq, a[0], b[0, :, 0]
    yield lambda a, b: torch.linalg.lstsq(a, b, driver="gels"), a, b
    yield lambda a, b: torch.linalg.lstsq(a, b, driver="gelsd"), a[:, :3], b[:, :3]
    yield lambda a, b: torch.linalg.lstsq(a[..., [0, 1, 1]], b), a[0], b[0]


def eigen_cases(dtype):
    """Values, and what does not depend on phases of vectors, of real and complex matrices."""
    torch.manual_seed(2)
    a = torch.randn(2, 4, 4, dtype=dtype)

    def both(a):
        values, vectors = torch.linalg.eig(a)
        return values.real.sum(-1), (vectors.abs() ** 3).sum((-1, -2))

    yield both, a
    yield lambda a: both(torch.complex(a[0], a[1])), a
    yield lambda a: torch.linalg.eigvals(a).abs().sum(-1), a


def other_cases(dtype):
    torch.manual_seed(3)
    x, y = torch.randn(2, 3, 4, dtype=dtype)
    x = x.masked_fill(x > 1, torch.nan)
    yield lambda x: torch.nanmedian(x, 1), x
    yield torch.nanmedian, x
    yield torch.nanmedian, x[:0]
    yield torch.median, x[:0]
    variance = y[:, :1] ** 2
    yield lambda *a: F.gaussian_nll_loss(*a, full=True, eps=0.1), x.nan_to_num(), y, variance


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_values_and_gradients_are_torchs(dtype, request):
    if dtype is torch.float64:
        request.getfixturevalue("x64")
    programs, expected = [], []
    for cases in (ctc_cases, least_squares_cases, eigen_cases, other_cases):
        for i, (fn, *tensors) in enumerate(cases(dtype)):

            def flat(tensors, fn=fn):
                out = fn(*tensors)
                return jax.tree_util.tree_flatten(
                    out if isinstance(out, torch.Tensor) else tuple(out)
                )

            floating = [k for k, t in enumerate(tensors) if t.is_floating_point()]
            sample = samples.Sample(f"{cases.__name__} {i}", flat, list(tensors), floating)
            outcome, used, weights = samples.in_torch(sample)
            expected.append(outcome)
            programs.append((sample, samples.lowered(sample), used, weights))
    tolerance = 1e-10 if dtype is torch.float64 else 1e-4
    for (sample, *_), wanted, found in zip(
        programs, expected, samples.run_together(programs), strict=True
    ):
        compare(found.values, wanted.values, sample.name, tolerance)
        compare(found.gradients, wanted.gradients, sample.name, 10 * tolerance)


class Of(nn.Module):
    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, *args):
        return self.fn(*args)


def test_a_ctc_gradient_has_the_derivative_that_torch_lacks(x64):
    fn, params = bridge.as_jax_function(Of(F.ctc_loss), lowering="native")
    targets, lengths = np.array([[1, 2]]), (np.array([3]), np.array([2]))
    gradient = jax.jit(jax.grad(lambda x: fn(params, x, targets, *lengths)))
    x, step = np.linspace(-1.0, -0.1, 9).reshape(3, 1, 3), 1e-5
    direction = np.sin(np.arange(9.0)).reshape(x.shape)
    _, found = jax.jvp(gradient, (x,), (direction,))
    ends = [gradient(x + sign * step * direction) for sign in (1, -1)]
    np.testing.assert_allclose(found, (ends[0] - ends[1]) / (2 * step), rtol=1e-6, atol=1e-8)


def test_what_torch_refuses_is_nan_or_named():
    log_probs = np.log(np.full((5, 3, 4), 0.25, np.float32))
    fn, params = bridge.as_jax_function(Of(lambda *a: F.ctc_loss(*a, reduction="none")))
    targets = np.array([[1, 9], [1, 2], [1, 2]])
    loss = fn(params, log_probs, targets, np.array([5, 6, 5]), np.array([2, 2, 3]))
    assert fn.lowering == "native"
    assert np.isnan(loss).all()
    in_a_row, times = np.array([1, 2, 1, 2]), np.array([5, 5, 5])
    for labels, lengths in (in_a_row, [1, 1, 1]), (targets[[1, 1, 1]] - 2, [2, 2, 2]):
        assert np.isnan(fn(params, log_probs, labels, times, np.array(lengths))).all()
    named, given = bridge.as_jax_function(Of(F.ctc_loss), lowering="native")
    for labels, lengths, message in (
        (targets[:1], [2, 2, 2], "`targets` must have shape"),
        (targets, [2], "`target_lengths` must have one length for each of 3"),
    ):
        with pytest.raises(ValueError, match=message):
            named(given, log_probs, labels, times, np.array(lengths))
    named, given = bridge.as_jax_function(nn.CTCLoss(blank=-1), lowering="native")
    with pytest.raises(ValueError, match="`blank` must be one of the 4 classes"):
        named(given, log_probs, targets, times, np.array([2, 2, 2]))
    ones = np.ones((2, 3), np.float32)
    fn, params = bridge.as_jax_function(nn.GaussianNLLLoss(reduction="none"))
    loss = fn(params, ones, ones, np.array([np.inf, -1], np.float32))
    assert fn.lowering == "native"
    assert np.isposinf(loss[0]).all()
    assert np.isnan(loss[1]).all()
    fn, params = bridge.as_jax_function(nn.GaussianNLLLoss(), lowering="native")
    with pytest.raises(ValueError, match=r"`var` has shape \(4,\)"):
        fn(params, ones, ones, np.ones(4, np.float32))
    squares = Of(lambda a, b: torch.linalg.lstsq(a, b, driver="gelsd"))
    fn, params = bridge.as_jax_function(squares, lowering="native")
    with pytest.raises(bridge.BridgeError, match="driver='gelsd' returns residuals or none"):
        fn(params, ones.T, ones.T)
    fn, params = bridge.as_jax_function(
        Of(lambda a, b: torch.linalg.lstsq(a, b, driver="qr")), lowering="native"
    )
    with pytest.raises(ValueError, match="`driver` must be 'gelsy'"):
        fn(params, ones.T, ones.T)
