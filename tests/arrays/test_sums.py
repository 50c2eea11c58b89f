"""Sums of many numbers round as those of few do, and factors of any size lose no digits."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

import vbfast

pytestmark = pytest.mark.kernels

DTYPES = ("float64", "float32")
INF = np.inf
Wide = np.longdouble


@pytest.fixture(autouse=True)
def backend(array_backend):
    """Run the test with each backend that has array functions."""
    return array_backend


def as_rows_and_columns(row):
    """One slice in a row, and five side by side: kernels go along slices, and across them."""
    return row[np.newaxis], np.repeat(row[:, np.newaxis], 5, axis=1).T


# Of equal numbers that are added one after another, all roundings go the same way. Probabilities
# are drawn, since how they go depends on the digits.
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [257, 4160, 16_705, 70_001, 1_000_000])
def test_entropy_of_many_equal_probabilities(n, dtype):
    """To 16 eps of itself, from one to a million: its two sums lose 7 eps each at the most."""
    rng = np.random.default_rng(n)
    within = 4e-7 if dtype == "float64" else 4e-4  # of a sum of one
    exact = np.log(Wide(n))
    for _ in range(3 if n > 100_000 else 10):
        p = np.dtype(dtype).type((1 + rng.uniform(-within, within)) / Wide(n))
        for probs in as_rows_and_columns(np.full(n, p)):
            ours = vbfast.entropy(probs)
            assert abs(ours - exact).max() <= 16 * np.finfo(dtype).eps * exact, float(p)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [257, 16_705, 70_001])
def test_terms_of_many_equal_logits(n, dtype):
    """One logit above many equal ones: evidence to 4 eps, entropy to 8 eps of itself, and KL."""
    eps = np.finfo(dtype).eps
    for below in np.random.default_rng(n).uniform(0.5, 3, size=6).astype(dtype):
        row = np.full(n, -below)
        row[n // 3] = 0
        e = np.exp(-Wide(below))
        total = 1 + (n - 1) * e
        evidence = np.log(total)
        entropy = evidence + (n - 1) * e * Wide(below) / total
        kl = np.log(Wide(n)) - entropy  # from the uniform distribution
        for logits in as_rows_and_columns(row):
            ours = vbfast.logsumexp(logits, axis=1)
            assert abs(ours - evidence).max() <= 4 * eps * evidence
            ours = vbfast.entropy(logits=logits)
            assert abs(ours - entropy).max() <= 8 * eps * entropy
            ours = vbfast.kl_divergence(q_logits=logits, p_logits=np.zeros_like(logits))
            assert abs(ours - kl).max() <= 16 * eps * (entropy + np.log(Wide(n)))
            q = vbfast.softmax(logits, axis=1)
            assert abs(q[:, n // 3] * total - 1).max() <= 16 * eps


def test_terms_of_many_equal_rows():
    """The sum over rows: of two million, a hundred times nearer than the terms have to agree."""
    n = 2_000_000
    row = np.array([[-0.7, -1.3]])
    terms, one = (vbfast.elbo(np.repeat(row, times, axis=0)) for times in (n, 1))
    for name in ("elbo", "expected_log_joint", "entropy", "log_evidence"):
        assert getattr(terms, name) == pytest.approx(n * getattr(one, name), rel=1e-14, abs=0)


@pytest.mark.parametrize("n", [2, 40, 3000])
def test_a_large_factor_below_the_largest_exponent(n):
    """The sum of what is small there and what is large here, to the digits of its exponents."""
    a = np.random.default_rng(n).normal(size=n)
    a[0], a[1] = a.max() + 1, -0.7
    b = np.full(n, 1e-39)
    b[1] = 1.0
    for rows in as_rows_and_columns(a):
        ours = vbfast.logsumexp(rows, axis=1, b=np.broadcast_to(b, rows.shape))
        assert abs(ours + 0.7).max() <= 4 * np.finfo(float).eps * abs(a).max()


# Of squares that overflow or vanish, exponents are kept apart.
@pytest.mark.parametrize("power", [-664, -66, 0, 498, 996])
@pytest.mark.parametrize("shift", [0.0, -700.0, 4.7e37, -1e300])
def test_factors_of_equal_exponents(power, shift):
    """As their sum, whatever the exponents are: these cancel but for one, without a rounding."""
    size = 2.0**power
    b = np.array([1.09375, -0.375, 0.75, -1.46875, 2.0**-40, 0.0]) * size
    a = np.array([shift] * 5 + [INF])
    for factors in (b, -b):
        with mpmath.workdps(60):
            total = mpmath.fsum(mpmath.mpf(float(x)) for x in factors)
            exact = float(mpmath.mpf(shift) + mpmath.log(abs(total)))
        value, sign = vbfast.logsumexp(a, b=factors, return_sign=True)
        assert sign == (1 if total > 0 else -1)
        largest = max(1.0, abs(shift), abs(exact))
        assert abs(value - exact) <= 4 * np.finfo(float).eps * largest
    value, sign = vbfast.logsumexp(a[:4], b=[size, -2 * size, size, 0.0], return_sign=True)
    assert (value, sign) == (-INF, 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_many_terms_one_by_one(dtype):
    """Terms too far apart for the kernels' sums, and a mean of log-joints that overflows."""
    n = 30_001
    eps = float(np.finfo(dtype).eps)
    largest = float(np.finfo(dtype).max)
    a, b = np.full(n, -0.3, dtype), np.full(n, 0.7 * largest, dtype)
    ours = vbfast.logsumexp(a, b=b)
    exact = np.log(Wide(b[0])) + np.log(Wide(n)) + Wide(a[0])
    assert abs(ours - exact) <= 4 * eps * exact
    joint = np.full(n, -largest / 1.7, dtype)
    joint[0] = largest
    q = np.full(n, np.dtype(dtype).type(1 / n))
    expected = (Wide(joint[0]) + (n - 1) * Wide(joint[1])) / n
    ours = vbfast.elbo(joint, q=q).expected_log_joint
    assert abs(ours / expected - 1) <= 8 * eps


@pytest.mark.parametrize("kind", ["q", "q_logits"])
def test_a_mean_of_log_joints_that_overflows(kind):
    """Of float32 it has the digits of float64: a mass that is lost beside one counts there."""
    joint = np.array([[2.5e37, -3.2e38, 1.1e38]] * 3, np.float32)
    q = np.array([0, 2.2e-11, 1], np.float32)
    with np.errstate(divide="ignore"):
        given = q if kind == "q" else np.log(q)
    wide = given.astype(Wide) if kind == "q" else np.exp(given.astype(Wide))
    expected = (wide * joint[0].astype(Wide)).sum() / wide.sum()
    terms = vbfast.elbo(joint, **{kind: np.repeat(given[np.newaxis], 3, axis=0)}, per_sample=True)
    assert abs(terms.expected_log_joint / expected - 1).max() <= 4 * np.finfo(float).eps
