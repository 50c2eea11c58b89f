"""``vbfast.numba_api`` in compiled code is the Python functions, and its callers can be cached."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import vbfast

numba = pytest.importorskip("numba")

from vbfast import numba_api  # noqa: E402

pytestmark = pytest.mark.kernels

INF, NAN = np.inf, np.nan
DTYPES = ("float64", "float32")


@numba.njit
def reductions(a, b):
    return (
        numba_api.logsumexp(a),
        numba_api.entropy(logits=a),
        numba_api.kl_divergence(q_logits=a, p_logits=b),
        numba_api.elbo(a),
        numba_api.elbo(a, q_logits=b),
    )


@numba.njit
def of_probabilities(q, p, p_logits):
    return (
        numba_api.entropy(q),
        numba_api.kl_divergence(q, p),
        numba_api.kl_divergence(q, p_logits=p_logits),
        numba_api.kl_divergence(q_logits=p_logits, p_probs=q),
        numba_api.elbo(p_logits, q),
    )


@numba.njit
def maps(a, soft, log_soft):
    numba_api.softmax(a, soft)
    numba_api.log_softmax(a, log_soft)


@numba.njit
def gradients(a, b, out):
    return numba_api.elbo_and_grad(a, b, out)


def layouts(a):
    """The same values contiguous, stepped, backwards, read-only and as a field of records."""
    yield a
    wide = np.full(3 * a.size + 1, NAN, a.dtype)
    wide[1::3] = a
    yield wide[1::3]
    yield a[::-1].copy()[::-1]
    fixed = a.copy()
    fixed.flags.writeable = False
    yield fixed
    # Strides that are no multiple of the size of an element, and elements that are not aligned.
    for fields in ([("x", a.dtype), ("y", "i2")], [("y", "i1"), ("x", a.dtype)]):
        records = np.zeros(a.size, fields)
        records["x"] = a
        yield records["x"]


def close(ours, theirs, dtype):
    eps = np.finfo(dtype).eps
    assert_allclose(ours, theirs, rtol=16 * eps, atol=16 * eps)


def values(terms):
    return [getattr(terms, name) for name in numba_api.ElboTerms._fields]


@pytest.mark.parametrize("dtype", DTYPES)
def test_reductions(dtype):
    rng = np.random.default_rng(0)
    for n in (1, 10, 300, 3000):
        a, b = rng.normal(scale=3, size=(2, n)).astype(dtype)
        if n == 10:
            a[2], b[2] = -INF, -INF
        expected = [vbfast.logsumexp(a), vbfast.entropy(logits=a),
                    vbfast.kl_divergence(q_logits=a, p_logits=b)]  # fmt: skip
        for x in layouts(a) if n == 10 and dtype == "float64" else (a,):  # each is compiled anew
            *ours, posterior, given = reductions(x, b)
            close(ours, expected, dtype)
            close(posterior, values(vbfast.elbo(a)), dtype)
            close(given, values(vbfast.elbo(a, q_logits=b)), dtype)
            assert given.kl == given[4]


@pytest.mark.parametrize("dtype", DTYPES)
def test_edges(dtype):
    for row in ([], [-INF, -INF], [INF, 0.0], [NAN, 0.0], [5.0]):
        a = np.array(row, dtype)
        log_evidence, entropy, *_ = reductions(a, a)
        assert_array_equal(log_evidence, vbfast.logsumexp(a))
        assert_array_equal(entropy, vbfast.entropy(logits=a))


@pytest.mark.parametrize("dtype", DTYPES)
def test_probabilities(dtype):
    rng = np.random.default_rng(1)
    logits = rng.normal(size=12).astype(dtype)
    q, p = rng.dirichlet(np.ones(12), size=2).astype(dtype)
    ours = of_probabilities(q, p, logits)
    close(ours[0], vbfast.entropy(q), dtype)
    close(ours[1], vbfast.kl_divergence(q, p), dtype)
    close(ours[2], vbfast.kl_divergence(q, p_logits=logits), dtype)
    close(ours[3], vbfast.kl_divergence(q_logits=logits, p_probs=q), dtype)
    close(ours[4], values(vbfast.elbo(logits, q=q)), dtype)
    ours = of_probabilities(2 * q, p, logits)
    assert_array_equal(ours[:4], NAN)
    assert_array_equal(ours[4], NAN)


@pytest.mark.parametrize("dtype", DTYPES)
def test_maps_and_gradients(dtype):
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 10)).astype(dtype)
    one, two = np.empty((2, 10), dtype)
    wide = np.empty((10, 4), dtype)
    *_, unaligned = layouts(a)
    for x, soft, log_soft in ((a, one, two), (unaligned, wide[:, 0], wide[:, 2])):
        maps(x, soft, log_soft)
        close(soft, vbfast.softmax(a), dtype)
        close(log_soft, vbfast.log_softmax(a), dtype)
        for q_logits in (None, b):
            terms, expected = vbfast.elbo_and_grad(a, q_logits=q_logits)
            close(gradients(x, q_logits, (soft, log_soft)), values(terms), dtype)
            close(soft, expected.q_logits, dtype)
            close(log_soft, expected.log_joint, dtype)
    maps(a, a, two)
    close(a.sum(), 1.0, dtype)
    for nothing in (np.inf, np.nan):  # no posterior, and no gradient there
        a[3] = nothing
        gradients(a, None, (one, two))
        assert np.isnan([one, two]).all()


@numba.njit
def row_reductions(a, b, num_threads):
    return (
        numba_api.logsumexp_rows(a, num_threads),
        numba_api.entropy_rows(logits=a, num_threads=num_threads),
        numba_api.kl_divergence_rows(q_logits=a, p_logits=b, num_threads=num_threads),
    )


@numba.njit
def row_maps(a, soft, log_soft, num_threads):
    numba_api.softmax_rows(a, soft, num_threads)
    numba_api.log_softmax_rows(a, log_soft, num_threads)


@numba.njit
def row_bounds(a, b, weights, out, num_threads):
    return (
        numba_api.elbo_rows(a, num_threads=num_threads),
        numba_api.elbo_rows(a, q_logits=b, sample_weight=weights, num_threads=num_threads),
        numba_api.elbo_and_grad_rows(a, b, out, weights, num_threads),
    )


@pytest.mark.parametrize(("dtype", "order"), [("float64", "C"), ("float32", "F")])
def test_rows(dtype, order):
    rng = np.random.default_rng(3)
    a, b = (rng.normal(size=(1500, 12)).astype(dtype, order=order) for _ in range(2))
    weights = rng.uniform(size=1500)
    soft, log_soft = np.empty_like(a), np.empty_like(a)
    for num_threads in (0, 1, 2):
        ours = row_reductions(a, b, num_threads)
        assert_array_equal(ours[0], vbfast.logsumexp(a, axis=1))
        assert_array_equal(ours[1], vbfast.entropy(logits=a))
        assert_array_equal(ours[2], vbfast.kl_divergence(q_logits=a, p_logits=b))
        assert ours[0].dtype == dtype
        row_maps(a, soft, log_soft, num_threads)
        assert_array_equal(soft, vbfast.softmax(a, axis=1))
        assert_array_equal(log_soft, vbfast.log_softmax(a, axis=1))
        posterior, given, with_gradient = row_bounds(a, b, weights, (soft, log_soft), num_threads)
        terms, gradient = vbfast.elbo_and_grad(a, q_logits=b, sample_weight=weights)
        assert_array_equal(posterior, values(vbfast.elbo(a)))
        assert_array_equal(given, values(vbfast.elbo(a, q_logits=b, sample_weight=weights)))
        assert_array_equal(with_gradient, values(terms))
        assert_array_equal(soft, gradient.q_logits)
        assert_array_equal(log_soft, gradient.log_joint)


def test_errors_of_compiled_code():
    two, three = np.zeros(2), np.zeros(3)
    with pytest.raises(ValueError, match="must have the shape of "):
        reductions(two, three)
    with pytest.raises(ValueError, match="out must have the shape"):
        maps(two, three, two)
    q = np.full((4, 2), 0.5)
    q[2] = 0.6
    entropies = numba.njit(lambda q: numba_api.entropy_rows(q))
    with pytest.raises(ValueError, match="no distribution") as error:
        entropies(q)
    assert error.value.args[1] == 2
    with pytest.raises(ValueError, match="one number a row"):
        row_bounds(q, q, three, (q.copy(), q.copy()), 1)
    for weight in (-1.0, NAN, INF):
        weights = np.array([0.0, 1.0, weight, 1.0])
        for function in (row_bounds, row_bounds.py_func):
            with pytest.raises(ValueError, match="sample_weight must be finite and not negative"):
                function(q, q, weights, (q.copy(), q.copy()), 1)


@pytest.mark.parametrize(
    ("call", "arguments", "message"),
    [
        (lambda a: numba_api.logsumexp(a), (np.arange(3),), "a must be a 1-d array of float64"),
        (lambda a: numba_api.logsumexp(a), (np.zeros((2, 2)),), "a must be a 1-d array"),
        (lambda p: numba_api.entropy(p), (np.zeros((2, 2)),), "probs must be a 1-d array"),
        (lambda a: numba_api.entropy(a, a), (np.zeros(2),), "exactly one of probs and logits"),
        (
            lambda a, b: numba_api.kl_divergence(q_logits=a, p_logits=b),
            (np.zeros(2), np.zeros(2, np.float32)),
            "p must be a 1-d array of float64",
        ),
        (
            lambda a: numba_api.softmax(a, a),
            (np.frombuffer(bytes(16)),),
            "out must be a writeable, aligned 1-d array",
        ),
    ],
)
def test_types_that_do_not_fit_are_named(call, arguments, message):
    with pytest.raises(numba.TypingError, match=message):
        numba.njit(call)(*arguments)


def test_functions_work_without_compiling():
    a, b = np.random.default_rng(4).normal(size=(2, 10))
    *ours, posterior, given = reductions.py_func(a, b)
    compiled = reductions(a, b)
    assert_array_equal(ours, compiled[:3])
    assert_array_equal([posterior, given], compiled[3:])
    out = np.empty((2, 10))
    maps.py_func(a, *out)
    assert_array_equal(out, [vbfast.softmax(a), vbfast.log_softmax(a)])
    rows = np.stack([a, b])
    assert_array_equal(row_reductions.py_func(rows, rows, 0), row_reductions(rows, rows, 0))


CALLER = """
import numba
import numpy as np

import vbfast
from vbfast import numba_api


@numba.njit(parallel=True, cache=True)
def evidences(log_joint, kl):
    out = np.empty(len(log_joint), log_joint.dtype)
    for n in numba.prange(len(log_joint)):
        out[n] = numba_api.logsumexp(log_joint[n])
        kl[n] = numba_api.elbo(log_joint[n], q_logits=log_joint[0]).kl
    return out


for dtype in (np.float64, np.float32):
    log_joint = np.random.default_rng(0).normal(scale=9, size=(300, 17)).astype(dtype)
    kl = np.empty(300)
    np.testing.assert_array_equal(evidences(log_joint, kl), vbfast.logsumexp(log_joint, axis=1))
    for n in (0, 7):
        assert kl[n] == vbfast.elbo(log_joint[n], q_logits=log_joint[0]).kl
print(sum(evidences.stats.cache_hits.values()), sum(evidences.stats.cache_misses.values()))
"""


def test_a_cached_parallel_caller_is_loaded_in_a_second_process(tmp_path):
    (tmp_path / "caller.py").write_text(CALLER)
    package = str(Path(vbfast.__file__).parents[1])
    environment = {
        **os.environ,
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join([package, *filter(None, sys.path)]),
        "NUMBA_NUM_THREADS": "2",
        "OMP_NUM_THREADS": "2",
    }
    printed = [
        subprocess.run(
            [sys.executable, "-c", "import caller"],
            cwd=tmp_path, env=environment, check=True, capture_output=True, text=True,
        ).stdout.strip()
        for _ in range(2)
    ]  # fmt: skip
    assert printed == ["0 2", "2 0"]


@numba.njit
def write_maps(a, out, rows, out_rows):
    numba_api.softmax(a, out)
    numba_api.softmax_rows(rows, out_rows)


@numba.njit
def write_log_maps(a, out, rows, out_rows):
    numba_api.log_softmax(a, out)
    numba_api.log_softmax_rows(rows, out_rows)


@numba.njit
def write_gradients(a, b, out, rows, q_rows, out_rows, weights):
    terms = numba_api.elbo_and_grad(a, b, out)
    return terms, numba_api.elbo_and_grad_rows(rows, q_rows, out_rows, weights)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [9, 300, 3000])
def test_outputs_that_overlap_inputs_in_part(n, dtype):
    original = np.random.default_rng(n).normal(size=(9, n + 3)).astype(dtype)
    for write, function in ((write_maps, vbfast.softmax), (write_log_maps, vbfast.log_softmax)):
        for step, shift in ((1, 0), (1, 1), (-1, 0), (-1, 2)):
            memory = original.copy()
            a, out = memory[0, :n], memory[0, shift : shift + n][::step]
            rows, out_rows = memory[1:8], memory[1 + min(shift, 1) :][:7]
            expected, expected_rows = function(a.copy()), function(rows.copy(), axis=1)
            write(a, out, rows, out_rows)
            # An output in another order may be summed in other pieces.
            tolerance = 8.0 * np.finfo(dtype).eps
            assert_allclose(out, expected, rtol=tolerance)
            assert_allclose(out_rows, expected_rows, rtol=tolerance)
    memory = original.astype(float)
    a, b, out = memory[0, :n], memory[0, 2 : n + 2], (memory[0, 1 : n + 1], memory[1, :n])
    rows, q_rows, out_rows = memory[2:4], memory[3:5], (memory[4:6], memory[2:4])
    weights = memory[5, :2]
    weights[:] = 1.0, 2.0
    expected = [vbfast.elbo_and_grad(a.copy(), q_logits=b.copy()),
                vbfast.elbo_and_grad(rows.copy(), q_logits=q_rows.copy(),
                                     sample_weight=weights.copy())]  # fmt: skip
    terms = write_gradients(a, b, out, rows, q_rows, out_rows, weights)
    for ours, written, (theirs, gradient) in zip(terms, (out, out_rows), expected, strict=True):
        assert_allclose(tuple(ours), values(theirs), rtol=1e-13)
        assert_allclose(written[0], gradient.q_logits, rtol=1e-12, atol=1e-15)
        assert_allclose(written[1], gradient.log_joint, rtol=1e-12)


@numba.njit
def extremes(far, q, subnormal, huge, q_logits, impossible, q_far, out):
    return (
        numba_api.entropy(logits=far),
        numba_api.kl_divergence(q, subnormal),
        numba_api.elbo(huge, q_logits=q_logits),
        numba_api.elbo_and_grad(impossible, q_far, out).elbo,
    )


@numba.njit
def extremes_of_rows(far, q, subnormal, huge, q_logits, impossible, q_far, out):
    return (
        numba_api.entropy_rows(logits=far)[0],
        numba_api.kl_divergence_rows(q, subnormal)[0],
        numba_api.elbo_rows(huge, q_logits=q_logits),
        numba_api.elbo_and_grad_rows(impossible, q_far, out).elbo,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [False, True])
def test_extremes_of_the_contract(dtype, rows):
    """Numbers by hand: q log(q / p), 39 exp(-38) for two logits, the mean of two huge ones."""
    largest, tiny = float(np.finfo(dtype).max), float(np.finfo(dtype).tiny) / 2**9
    huge = [0.75 * largest, -0.5 * largest]
    rows_of = [[0.0, -38.0], [0.5, 0.5], [1.0, tiny], huge, [0.0, 0.0], [-INF, 0.0], [0.0, -2e4]]
    arguments = [np.array(a, dtype) for a in rows_of]
    out = (np.empty(2, dtype), np.empty(2, dtype))
    if rows:
        arguments, out = [a[np.newaxis] for a in arguments], tuple(a[np.newaxis] for a in out)
    function = extremes_of_rows if rows else extremes
    entropy, kl, terms, bound = function(*arguments, out)
    eps = float(np.finfo(dtype).eps)
    assert entropy == pytest.approx(39 * np.exp(-38), rel=8 * 38 * eps)
    assert kl == pytest.approx(
        0.5 * np.log(0.5) + 0.5 * np.log(0.5) - 0.5 * np.log(tiny), rel=8 * eps
    )
    assert terms.expected_log_joint / largest == pytest.approx(0.125, rel=8 * eps)
    assert terms.kl / largest == pytest.approx(0.625, rel=8 * eps)
    assert bound == -INF
    assert np.isnan(out[0]).all()
    assert_array_equal(out[1].ravel(), [1.0, 0.0])
