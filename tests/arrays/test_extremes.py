"""Array functions at the ends of what numbers are: far apart, huge, subnormal, infinite, none."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest
import scipy.special
from numpy.testing import assert_allclose, assert_array_equal

import vbfast

pytestmark = pytest.mark.kernels

DTYPES = ("float64", "float32")
INF = np.inf


@pytest.fixture(autouse=True)
def backend(array_backend):
    """Run the test with each backend that has array functions."""
    return array_backend


def repeated(row, n_rows):
    """Rows and columns of the same numbers: kernels go along slices, and across them."""
    rows = np.repeat(np.asarray(row)[np.newaxis], n_rows, axis=0)
    return rows, np.asfortranarray(rows)


# --------------------------------------------------------------------------- sums of b exp(a)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_pair_of_special_exponents_and_factors(dtype):
    """As SciPy, but that b = 0 counts for nothing there only where the result is finite."""
    values = [-INF, -3.0, 0.0, 2.0, INF, np.nan]
    pairs = list(itertools.product(values, [-INF, -2.0, 0.0, 1.0, INF, np.nan]))
    for (a0, b0), (a1, b1) in itertools.product(pairs, pairs):
        a, b = np.array([a0, a1], dtype), np.array([b0, b1], dtype)
        counting = b != 0
        with np.errstate(all="ignore"):
            exact, sign = scipy.special.logsumexp(
                np.where(counting, a, -INF), b=np.where(counting, b, 1.0), return_sign=True
            )
        ours = vbfast.logsumexp(a, b=b, return_sign=True)
        assert_allclose(ours[0], exact, rtol=1e-6, err_msg=f"{a} {b}")
        assert_array_equal(ours[1], sign, err_msg=f"{a} {b}")
        alone = np.nan if sign < 0 else exact
        assert_allclose(vbfast.logsumexp(a, b=b), alone, rtol=1e-6, err_msg=f"{a} {b}")


def test_an_infinite_factor_makes_the_sum_infinite():
    assert vbfast.logsumexp([0.0, 1.0], b=[INF, 1.0]) == INF
    assert vbfast.logsumexp([-1000.0, 0.0], b=[INF, 1.0]) == INF
    assert np.isnan(vbfast.logsumexp([-INF, 0.0], b=[INF, 1.0]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_factors_of_any_size(dtype, order):
    """Against 50 digits: a small exponential times a large factor counts, large ones overflow."""
    largest, smallest = float(np.finfo(dtype).max), float(np.finfo(dtype).smallest_subnormal)
    gap = 800.0 if dtype == "float64" else 95.0
    cases = [
        ([0.0, -gap], [smallest, largest]),
        ([0.0, -gap], [0.0, largest / 8]),
        ([0.0, 0.0, 0.0], [largest, largest, largest]),
        ([0.0, -1.0, -2.0], [smallest, 3 * smallest, smallest]),
        ([gap, -gap, 0.0], [largest, -smallest, 1.0]),
    ]
    for a, b in cases:
        a = np.array([a] * 5, dtype, order=order)
        b = np.array([b] * 5, dtype, order=order)
        with mpmath.workdps(50):
            exact = mpmath.log(mpmath.fsum(
                mpmath.mpf(float(y)) * mpmath.exp(mpmath.mpf(float(x)))
                for x, y in zip(a[0], b[0], strict=True)
            ))  # fmt: skip
        tolerance = 4 * np.finfo(dtype).eps * max(gap, abs(float(exact)))
        assert_allclose(vbfast.logsumexp(a, axis=1, b=b), float(exact), rtol=0, atol=tolerance)


# ------------------------------------------------------------------------------------ entropy


def exact_entropy(logits):
    with mpmath.workdps(60):
        a = [mpmath.mpf(float(x)) for x in logits if x > -INF]
        top = max(a)
        total = mpmath.fsum(mpmath.exp(x - top) for x in a)
        return mpmath.log(total) - mpmath.fsum(mpmath.exp(x - top) * (x - top) for x in a) / total


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [2, 3, 8, 17, 70, 600, 5000])
@pytest.mark.parametrize("gap", [0.0, 1e-3, 1.0, 5.0, 38.0, 80.0])
def test_entropy_of_logits_far_apart(dtype, n, gap):
    """To 8 eps of itself for each nat of the gap; the contract of nearly certain posteriors."""
    rng = np.random.default_rng(n)
    row = (-gap - rng.exponential(2.0, n)).astype(dtype)
    row = np.maximum(row, -85.0)  # float32's exponentials go on to there
    row[rng.integers(n)] = 0.0
    exact = exact_entropy(row)
    farthest = max(1.0, gap + 30.0)
    tolerance = 8 * float(np.finfo(dtype).eps) * farthest * float(exact)
    for logits in repeated(row, 9):
        ours = vbfast.entropy(logits=logits)
        bound = vbfast.elbo(np.zeros_like(logits), q_logits=logits, per_sample=True)
        posterior = vbfast.elbo(logits, per_sample=True)
        _, gradient = vbfast.elbo_and_grad(logits, per_sample=True)
        assert gradient.log_joint.shape == logits.shape
        for value in (ours, bound.entropy, posterior.entropy):
            assert_allclose(value.astype(float), float(exact), rtol=0, atol=tolerance)


def test_entropy_that_was_lost_beside_one():
    assert vbfast.entropy(logits=[0.0, -38.0]) == pytest.approx(39 * math.exp(-38), rel=1e-12)
    assert vbfast.entropy(logits=[-38.0, 0.0, -INF]) == pytest.approx(39 * math.exp(-38), rel=1e-12)
    assert vbfast.entropy(logits=[0.0, -2000.0]) == 0.0


# --------------------------------------------------------------------------------- divergences


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("q", [[0.5, 0.5], [1.0, 0.0], [0.25, 0.75]])
def test_divergence_from_subnormal_probabilities(dtype, q):
    tiny = float(np.finfo(dtype).tiny)
    for halvings in (-2, 0, 1, 10, 22 if dtype == "float32" else 50):
        p = np.array([1.0, tiny / 2.0**halvings], dtype)
        with mpmath.workdps(50):
            exact = mpmath.fsum(
                mpmath.mpf(x) * mpmath.log(mpmath.mpf(x) / mpmath.mpf(float(y)))
                for x, y in zip(q, p, strict=True)
                if x > 0
            )
        for qs, ps in zip(repeated(np.array(q, dtype), 20), repeated(p, 20), strict=True):
            ours = vbfast.kl_divergence(qs, ps)
            assert_allclose(ours, float(exact), rtol=8 * np.finfo(dtype).eps, atol=1e-30)
            logits = vbfast.kl_divergence(q_logits=np.log(np.maximum(qs, 1e-30)), p_probs=ps)
            assert_allclose(
                logits, float(exact), rtol=1e-5 if dtype == "float32" else 1e-13, atol=1e-6
            )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [2, 17, 600])
@pytest.mark.parametrize("apart", [1e-2, 1e-4, 1e-6, 1e-8, 1e-10, 1e-12])
def test_divergence_of_nearly_equal_distributions(dtype, n, apart):
    """Of the order of the square of what they are apart by; what it misses is not: 16 eps."""
    rng = np.random.default_rng(n)
    q = rng.normal(scale=2.0, size=n).astype(dtype)
    p = (q + apart * rng.normal(size=n)).astype(dtype)
    with mpmath.workdps(50):
        a, b = ([mpmath.mpf(float(value)) for value in row] for row in (q, p))
        of_a, of_b = (mpmath.log(mpmath.fsum(map(mpmath.exp, row))) for row in (a, b))
        log_ratios = [(x - of_a) - (y - of_b) for x, y in zip(a, b, strict=True)]
        exact = float(
            mpmath.fsum(mpmath.exp(x - of_a) * z for x, z in zip(a, log_ratios, strict=True))
        )
    near = 16 * float(np.finfo(dtype).eps)
    for left, right in zip(repeated(q, 9), repeated(p, 9), strict=True):
        ours = vbfast.kl_divergence(q_logits=left, p_logits=right)
        assert np.all(ours >= 0)
        assert_allclose(ours, exact, rtol=0, atol=near)
        terms = vbfast.elbo(vbfast.log_softmax(right, axis=-1), q_logits=left, per_sample=True)
        assert_allclose(terms.kl, exact, rtol=0, atol=near)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["q", "q_logits"])
def test_bound_whose_sum_overflows_before_its_division(dtype, kind):
    rng = np.random.default_rng(0)
    size = float(np.finfo(dtype).max)
    for n, scale in ((70_001, 4e-2 * size), (2, 0.9 * size), (5, 0.9 * size), (300, 0.9 * size)):
        joint = (rng.uniform(-1, 1, (3, n)) * scale).astype(dtype)
        joint[:, 0], joint[:, -1] = scale, -scale
        logits = rng.normal(size=(3, n)).astype(dtype)
        q = scipy.special.softmax(logits.astype("g"), axis=1)
        if kind == "q":
            q = q.astype(dtype).astype("g")
            q /= q.sum(axis=1, keepdims=True)
        given = {"q": q.astype(dtype)} if kind == "q" else {"q_logits": logits}
        wide = joint.astype("g")
        expected = (q * wide).sum(axis=1)
        kl = (q * (np.log(q) - (wide - scipy.special.logsumexp(wide, axis=1, keepdims=True)))).sum(
            1
        )
        slope = q * (
            wide - np.log(q) - expected[:, np.newaxis] + (q * np.log(q)).sum(1, keepdims=True)
        )
        near = 40 * float(np.finfo(dtype).eps)
        for order in "CF":
            terms, gradient = vbfast.elbo_and_grad(
                np.array(joint, order=order), **given, per_sample=True
            )
            assert_allclose(terms.elbo.astype("g") / scale, expected / scale, atol=near)
            within = kl < np.finfo(np.float64).max  # beyond, infinity is right
            assert_allclose(terms.kl[within].astype("g") / scale, kl[within] / scale, atol=near)
            assert_allclose(gradient.log_joint, q, rtol=1e-4, atol=1e-12)
            if scale < size / 8:
                assert_allclose(gradient.q_logits.astype("g") / scale, slope / scale, atol=near)
            again = vbfast.elbo(np.array(joint, order=order), **given, per_sample=True)
            assert_allclose(again.elbo.astype("g") / scale, expected / scale, atol=near)
        p = {"q_probs" if kind == "q" else kind: next(iter(given.values()))}
        ours = vbfast.kl_divergence(**p, p_logits=joint)
        within = kl < size
        assert_allclose(ours[within].astype("g") / scale, kl[within] / scale, atol=near)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [2, 40])
@pytest.mark.parametrize("kind", ["q", "q_logits"])
def test_the_gradient_of_a_bound_that_is_not_finite_is_nan_in_the_whole_row(dtype, n, kind):
    joint = np.zeros((8, n), dtype)
    logits = np.zeros((8, n), dtype)
    joint[:6, 0] = -INF  # q has mass there
    logits[0, 1:] = -INF
    logits[1, 1:] = -20000.0
    logits[2, 1:] = -50.0
    joint[3] = -INF  # nothing else: zero
    joint[4, -1], logits[4, -1] = np.nan, -INF
    joint[5, -1], logits[5, -1] = INF, -INF
    q = scipy.special.softmax(logits.astype(float), axis=1).astype(dtype)
    given = {"q": q} if kind == "q" else {"q_logits": logits}
    for order in "CF":
        view = np.array(joint, order=order)
        weight = np.array([1.0] * 7 + [0.0])
        _, gradient = vbfast.elbo_and_grad(view, **given, sample_weight=weight)
        for row in (0, 1, 2, 4, 5):
            assert np.isnan(gradient.q_logits[row]).all(), row
            assert_allclose(gradient.log_joint[row], q[row], rtol=1e-6, atol=1e-30)
        assert_array_equal(gradient.q_logits[[3, 7]], 0)
        assert_array_equal(gradient.log_joint[[3, 7]], 0)
        assert_allclose(gradient.q_logits[6], 0, atol=1e-6)


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("shape", [(4, 3), (50, 40), (3, 3000), (2, 3, 7)], ids=str)
def test_the_gradient_in_the_logits_of_probabilities(shape, per_sample):
    rng = np.random.default_rng(3)
    joint = rng.normal(scale=3, size=shape)
    logits = rng.normal(scale=3, size=shape)
    weight = rng.integers(0, 3, shape[:-1]) * 0.5
    for lay in (np.ascontiguousarray, np.asfortranarray):
        q = lay(scipy.special.softmax(logits, axis=-1))
        terms, gradient = vbfast.elbo_and_grad(
            lay(joint), q=q, sample_weight=weight, per_sample=per_sample
        )
        expected_terms, expected = vbfast.elbo_and_grad(
            joint, q_logits=logits, sample_weight=weight, per_sample=per_sample
        )
        assert_allclose(gradient.q_logits, expected.q_logits, rtol=1e-11, atol=1e-13)
        assert_allclose(gradient.log_joint, expected.log_joint, rtol=1e-11, atol=1e-15)
        for name in ("elbo", "expected_log_joint", "entropy", "log_evidence", "kl"):
            ours = np.asarray(getattr(terms, name))
            assert ours.shape == (shape[:-1] if per_sample else ())
            assert_allclose(ours, getattr(expected_terms, name), rtol=1e-11, atol=1e-11)


# ------------------------------------------------------------------------------- nothing at all


@pytest.mark.parametrize(
    "shape", [(0,), (0, 3), (3, 0), (2, 0, 3), (0, 2, 3), (2, 3, 0), (0, 0)], ids=str
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_axes_of_length_zero(shape, dtype):
    a, weights = np.zeros(shape, dtype), np.ones(shape[:-1])
    for axis in (None, *range(-1, len(shape)), tuple(range(len(shape))), ()):
        lost = tuple(range(len(shape))) if axis is None else axis
        with np.errstate(divide="ignore"):
            expected = np.log(np.sum(np.exp(a), axis=lost))
        assert_array_equal(vbfast.logsumexp(a, axis=axis), expected)
        value, sign = vbfast.logsumexp(a, axis=axis, b=np.ones_like(a), return_sign=True)
        assert_array_equal(value, expected)
        assert_array_equal(sign, np.sign(np.exp(expected)))
        for function in (vbfast.softmax, vbfast.log_softmax):
            for out in (None, np.empty_like(a)):
                assert function(a, axis=axis, out=out).shape == shape
        for out in (None, np.empty_like(expected)) if np.ndim(expected) else (None,):
            assert_array_equal(
                vbfast.entropy(logits=a, axis=axis, out=out), np.zeros_like(expected)
            )
            kl = vbfast.kl_divergence(q_logits=a, p_logits=a, axis=axis, out=out)
            assert_array_equal(kl, np.zeros_like(expected))
            if np.size(expected) == 0:
                assert_array_equal(vbfast.entropy(a, axis=axis, out=out), np.zeros_like(expected))
                assert_array_equal(vbfast.kl_divergence(a, a, axis=axis, out=out), expected)
        if np.size(expected) and a.size == 0:
            with pytest.raises(ValueError, match=r"probs.* sums to 0"):
                vbfast.entropy(a, axis=axis)
    for keywords in ({}, {"q": a}, {"q_logits": a}):
        for weighting in ({}, {"sample_weight": weights}):
            for per_sample in (False, True):
                if shape[-1] == 0:
                    for function in (vbfast.elbo, vbfast.elbo_and_grad):
                        with pytest.raises(ValueError, match="at least one component"):
                            function(a, **keywords, **weighting)
                    continue
                terms = vbfast.elbo(a, **keywords, **weighting, per_sample=per_sample)
                assert np.shape(terms.elbo) == (shape[:-1] if per_sample else ())
                for out in (None, (np.empty_like(a), np.empty_like(a))):
                    again, gradient = vbfast.elbo_and_grad(
                        a, **keywords, **weighting, per_sample=per_sample, out=out
                    )
                    assert np.sum(again.elbo) == np.sum(terms.kl) == 0
                    assert gradient.q_logits.shape == gradient.log_joint.shape == shape


# ------------------------------------------------------------------- many equal numbers, weights


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [100, 511, 2048, 3 * 2048 + 1])
def test_a_sum_of_many_equal_numbers_rounds_as_one_of_few(n, dtype):
    """Added one after another, their roundings would all go the same way."""
    eps = np.finfo(dtype).eps
    for below in np.random.default_rng(0).uniform(0.01, 3, size=80).astype(dtype):
        row = np.full(n, -below, dtype)
        row[n // 3] = 0
        with mpmath.workdps(40):
            e = mpmath.exp(-mpmath.mpf(float(below)))
            exact = mpmath.log(1 + (n - 1) * e)
            evidence = 4 * eps * max(1, exact)
            entropy = exact + (n - 1) * e * mpmath.mpf(float(below)) / (1 + (n - 1) * e)
            for a in (row, np.repeat(row[:, np.newaxis], 5, axis=1)):
                ours = float(np.ravel(vbfast.logsumexp(a, axis=0))[0])
                assert abs(ours - exact) <= evidence, (below, ours, exact)
                ours = float(np.ravel(vbfast.entropy(logits=a, axis=0))[0])
                assert abs(ours - entropy) <= 8 * eps * entropy, (below, ours, entropy)


@pytest.mark.parametrize("weight", [1e300, 1e40, 1.0, 1e-44, 1e-300])
@pytest.mark.parametrize("kind", ["posterior", "q", "q_logits"])
def test_weights_beyond_float32_leave_gradients_within_it(kind, weight):
    """The products with them may have that size: a share of zero is zero, whatever the weight."""
    joint = np.array([[3, 0, -30, -200], [-INF, 1, 2, 3]], np.float32)
    q = np.array([[0.5, 0.5, 1e-30, 0], [0.0, 0.25, 0.25, 0.5]], np.float32)
    with np.errstate(divide="ignore"):
        keywords = {"posterior": {}, "q": {"q": q}, "q_logits": {"q_logits": np.log(q)}}[kind]
    wide = {name: value.astype(float) for name, value in keywords.items()}
    weights = np.array([weight, 0.0])
    out = np.empty_like(joint), np.empty_like(joint)
    terms, gradient = vbfast.elbo_and_grad(joint, **keywords, sample_weight=weights, out=out)
    expected, exact = vbfast.elbo_and_grad(joint.astype(float), **wide, sample_weight=weights)
    assert gradient.q_logits is out[0]
    assert gradient.log_joint is out[1]
    assert_allclose(terms.elbo, expected.elbo, rtol=1e-5)
    with np.errstate(over="ignore", under="ignore"):
        for narrow, double in zip(out, (exact.q_logits, exact.log_joint), strict=True):
            assert np.isfinite(double).all()
            assert_allclose(narrow, double.astype(np.float32), rtol=1e-4, atol=1e-44)
    again = vbfast.elbo_and_grad(joint, **keywords, sample_weight=weights)[1]
    assert again.log_joint.dtype == np.float32
    assert_array_equal(again.log_joint, out[1])
