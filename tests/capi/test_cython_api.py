"""``vbfast.cython_api``, called from a module compiled against it, is the Python functions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import vbfast
from vbfast import _vbfast

pytestmark = pytest.mark.kernels

INF, NAN = np.inf, np.nan
DTYPES = ("float64", "float32")


def strides(a):
    """The same values contiguous, stepped and backwards."""
    yield a
    wide = np.full(3 * a.size + 1, NAN, a.dtype)
    wide[1::3] = a
    yield wide[1::3]
    yield a[::-1].copy()[::-1]


def slices(dtype):
    """Of every length class, and with edges."""
    rng = np.random.default_rng(1)
    for n in (1, 2, 7, 10, 64, 256, 257, 2048, 2049, 70_000):
        yield rng.normal(scale=5, size=n).astype(dtype)
    for row in ([-INF, 0.0, 1.0], [-INF, -INF], [INF, 0.0], [INF, -INF, NAN], [NAN, 1.0, 2.0], []):
        yield np.array(row, dtype)


def close(ours, theirs, dtype):
    eps = np.finfo(dtype).eps
    assert_allclose(ours, theirs, rtol=16 * eps, atol=16 * eps)


def values(terms):
    return terms.elbo, terms.expected_log_joint, terms.entropy, terms.log_evidence, terms.kl


@pytest.mark.parametrize("dtype", DTYPES)
def test_slices(cython_callers, dtype):
    for a in slices(dtype):
        for x in strides(a):
            close(cython_callers.logsumexp(x), vbfast.logsumexp(x), dtype)
            close(cython_callers.entropy(x, False), vbfast.entropy(logits=x), dtype)
            for name in ("softmax", "log_softmax"):
                for out in strides(np.empty_like(a)):
                    assert getattr(cython_callers, name)(x, out) == 0
                    close(out, getattr(vbfast, name)(x), dtype)
                own = x.copy()
                getattr(cython_callers, name)(own, own)
                close(own, getattr(vbfast, name)(x), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_contiguous_slices_are_the_python_functions_to_the_bit(cython_callers, dtype):
    for a in slices(dtype):
        assert_array_equal(cython_callers.logsumexp(a), vbfast.logsumexp(a))
        assert_array_equal(cython_callers.entropy(a, False), vbfast.entropy(logits=a))
        b = a[::-1].copy()
        assert_array_equal(
            cython_callers.kl_divergence(a, False, b, False),
            vbfast.kl_divergence(q_logits=a, p_logits=b),
        )
        if a.size:
            assert_array_equal(cython_callers.elbo_of_posterior(a), values(vbfast.elbo(a)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 10, 300, 3000])
def test_pairs_of_either_kind(cython_callers, dtype, n):
    rng = np.random.default_rng(n)
    logits = rng.normal(size=(2, n)).astype(dtype)
    probs = vbfast.softmax(logits.astype(float), axis=1).astype(dtype)
    joint = rng.normal(scale=3, size=n).astype(dtype)
    for q_probs in (False, True):
        q = (probs if q_probs else logits)[0]
        key = "q" if q_probs else "q_logits"
        for x in strides(q):
            info, terms = cython_callers.elbo(joint, x, q_probs)
            assert info == 0
            close(terms, values(vbfast.elbo(joint, **{key: q})), dtype)
        for p_probs in (False, True):
            p = (probs if p_probs else logits)[1]
            keys = {f"{name}_{'probs' if kind else 'logits'}": array for name, kind, array in
                    (("q", q_probs, q), ("p", p_probs, p))}  # fmt: skip
            for x in strides(q):
                close(cython_callers.kl_divergence(x, q_probs, p, p_probs),
                      vbfast.kl_divergence(**keys), dtype)  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients(cython_callers, dtype):
    rng = np.random.default_rng(2)
    for n in (1, 10, 300, 3000):
        joint, q = rng.normal(size=(2, n)).astype(dtype)
        if n == 10:
            joint[3], q[3] = -INF, -INF
        terms, gradient = vbfast.elbo_and_grad(joint, q_logits=q)
        outputs = (strides(np.empty(n, dtype)) for _ in range(2))
        for grad_q, grad in zip(*outputs, strict=True):
            info, ours = cython_callers.elbo_and_grad(joint, q, grad_q, grad)
            assert info == 0
            close(ours, values(terms), dtype)
            close(grad_q, gradient.q_logits, dtype)
            close(grad, gradient.log_joint, dtype)
    # Nothing but -inf: a row to skip, not an error.
    nothing = np.full(3, -INF, dtype)
    info, ours = cython_callers.elbo_and_grad(nothing, nothing, grad_q := nothing.copy(),
                                              grad := nothing.copy())  # fmt: skip
    assert (info, ours) == (0, values(vbfast.elbo_and_grad(nothing, q_logits=nothing)[0]))
    assert_array_equal([grad_q, grad], 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_no_distribution(cython_callers, dtype):
    good, joint = np.array([0.25, 0.75], dtype), np.zeros(2, dtype)
    near = good * (1 + (1e-4 if dtype == "float32" else 1e-9))
    close(cython_callers.entropy(near, True), vbfast.entropy(near), dtype)
    for bad in ([0.5, 0.6], [-0.5, 1.5], [0.0, 0.0], [INF, 0.0]):
        q = np.array(bad, dtype)
        assert np.isnan(cython_callers.entropy(q, True))
        assert np.isnan(cython_callers.kl_divergence(q, True, good, True))
        assert np.isnan(cython_callers.kl_divergence(good, True, q, True))
        info, terms = cython_callers.elbo(joint, q, True)
        assert info == 1
        assert_array_equal(terms, NAN)
    for bad in ([INF, 0.0], [-INF, -INF]):
        q = np.array(bad, dtype)
        assert cython_callers.elbo(joint, q, False)[0] == 1
        info, terms = cython_callers.elbo_and_grad(joint, q, q.copy(), q.copy())
        assert info == 1
        assert_array_equal(terms, NAN)
    assert np.isnan(cython_callers.entropy(np.empty(0, dtype), True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 5), (40, 17), (3000, 16), (5, 3000), (0, 4), (3, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_rows(cython_callers, dtype, shape, order):
    rng = np.random.default_rng(3)
    a, b = (rng.normal(scale=4, size=shape).astype(dtype, order=order) for _ in range(2))
    if a.size > 5:
        a[2, 1], b[2, 1] = -INF, -INF
    for num_threads in (0, 1, 2):
        results = np.empty((3, shape[0]), dtype)
        soft, log_soft = np.empty_like(a), np.empty_like(a)
        assert cython_callers.rows(a, b, num_threads, results, soft, log_soft) == 0
        assert_array_equal(results[0], vbfast.logsumexp(a, axis=1))
        assert_array_equal(results[1], vbfast.entropy(logits=a))
        assert_array_equal(results[2], vbfast.kl_divergence(q_logits=a, p_logits=b))
        assert_array_equal(soft, vbfast.softmax(a, axis=1))
        assert_array_equal(log_soft, vbfast.log_softmax(a, axis=1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_bound_of_weighted_rows(cython_callers, dtype):
    rng = np.random.default_rng(4)
    joint, q = rng.normal(size=(2, 2000, 12)).astype(dtype)
    weights = rng.uniform(size=2000)
    weights[5] = 0.0
    joint[5] = NAN
    row_terms = np.empty((2000, 5))
    sums = vbfast.elbo(joint, q_logits=q, sample_weight=weights)
    rows = vbfast.elbo(joint, q_logits=q, sample_weight=weights, per_sample=True)
    _, gradient = vbfast.elbo_and_grad(joint, q_logits=q, sample_weight=weights)
    grad_q, grad = np.empty_like(q), np.empty_like(q)
    for num_threads in (0, 1, 2):
        ours = cython_callers.elbo_rows(joint, q, False, weights, row_terms, num_threads)
        assert ours == (0, values(sums))
        assert_array_equal(row_terms.T, values(rows))
        ours = cython_callers.elbo_and_grad_rows(joint, q, weights, grad_q, grad, num_threads)
        assert ours == (0, values(sums))
        assert_array_equal(grad_q, gradient.q_logits)
        assert_array_equal(grad, gradient.log_joint)


def test_info_names_the_first_row_that_is_no_distribution(cython_callers):
    joint = np.zeros((2000, 3))
    q = np.full((2000, 3), 1 / 3)
    q[[1234, 1500]] = 0.5
    row_terms = np.empty((2000, 5))
    for num_threads in (1, 2):
        info, _ = cython_callers.elbo_rows(joint, q, True, np.ones(2000), row_terms, num_threads)
        assert info == 1235


def test_in_a_parallel_loop(cython_callers):
    a = np.random.default_rng(5).normal(size=(500, 33))
    out = np.empty(500)
    cython_callers.logsumexp_in_prange(a, out)
    assert_array_equal(out, vbfast.logsumexp(a, axis=1))


@pytest.mark.usefixtures("restore_num_threads")
def test_shares_the_pool_and_the_level_of_the_process(cython_callers):
    assert cython_callers.simd_level() == _vbfast.build_info()["simd"]
    assert cython_callers.num_threads(3) == 3
    assert vbfast.get_num_threads() == 3
