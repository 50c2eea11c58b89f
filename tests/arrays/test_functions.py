"""The array functions against SciPy, a 50-digit oracle and their own definitions."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import vbfast
from vbfast.backends import get_array_functions

pytestmark = pytest.mark.kernels

DTYPES = ("float64", "float32")
SHAPES = [(), (1,), (7,), (3, 5), (40, 1), (300, 16), (70, 17), (5, 3000), (2, 3, 4), (9, 130, 3),
          (3, 70_001), (70_001, 3), (300_000,), (2, 0, 3)]  # fmt: skip
INF = np.inf


@pytest.fixture(autouse=True)
def backend(array_backend):
    """Run the test with each backend that has array functions."""
    return array_backend


def test_the_backend_in_force_is_called(backend, monkeypatch):
    pytest.importorskip("numba")  # one of the two has to differ from the other
    functions = get_array_functions(backend)
    assert functions is not get_array_functions("numba" if backend == "native" else "native")
    for name in ("reduce_array", "map_array", "bound_terms"):
        monkeypatch.setattr(functions, name, lambda *_, name=name: [name] * 5)
    monkeypatch.setattr(functions, "bound_and_gradients", lambda *_: (range(5), ("q", "joint")))
    assert vbfast.entropy([1.0])[0] == "reduce_array"
    assert vbfast.elbo([[1.0]]).kl == "bound_terms"
    assert vbfast.elbo_and_grad([[1.0]])[1].log_joint == "joint"


def test_the_reference_has_no_array_functions_of_its_own():
    assert get_array_functions("reference") is get_array_functions("native")


def axes(ndim):
    choices = [None, *range(-1, ndim)] if ndim else [None, -1]
    return choices + ([(0, -1), (1, 0)] if ndim > 1 else []) + ([()] if ndim else [])


def layouts(a):
    """The same values in other strides."""
    yield a
    yield a.copy(order="F")
    wide = np.full(tuple(2 * n + 1 for n in a.shape), np.nan, a.dtype)
    view = wide[tuple(slice(1, None, 2) for _ in a.shape)] if a.ndim else a
    view[...] = a
    yield view
    yield np.flip(np.flip(a).copy()) if a.ndim else a


def close(ours, theirs, a, factor=4.0):
    scale = max(1.0, float(np.max(np.abs(a), initial=0.0)))
    eps = np.finfo(a.dtype).eps
    assert_allclose(ours, theirs, rtol=factor * eps, atol=factor * eps * scale)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_against_scipy_in_every_axis_and_layout(shape, dtype):
    a = np.random.default_rng(len(shape)).normal(scale=5, size=shape).astype(dtype)
    wide = a.astype(np.float64)
    for axis in axes(a.ndim):
        if a.size == 0 and axis not in (0, 2):
            continue
        sums = np.asarray(scipy.special.logsumexp(wide, axis=axis, keepdims=True))
        sums = sums if a.ndim else sums.reshape(())
        for view in layouts(a):
            ours = vbfast.logsumexp(view, axis=axis, keepdims=True)
            assert ours.dtype == a.dtype
            assert ours.shape == sums.shape
            close(ours, sums, a)
            assert np.shape(vbfast.logsumexp(view, axis=axis)) == np.shape(
                scipy.special.logsumexp(a, axis=axis)
            )
            close(vbfast.log_softmax(view, axis=axis), wide - sums, a, 8)
            soft = vbfast.softmax(view, axis=axis)
            assert soft.dtype == a.dtype
            assert_allclose(soft, np.exp(wide - sums), rtol=300 * np.finfo(dtype).eps, atol=1e-300)


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_sum_exp_against_fifty_digits(dtype):
    rng = np.random.default_rng(0)
    eps = float(np.finfo(dtype).eps)
    rows = [rng.normal(scale=s, size=n) + c
            for s in (1e-3, 1, 30) for n in (2, 9, 70) for c in (0, -700, 1e4)]  # fmt: skip
    rows += [np.array([0.0, -40.0]), np.array([-1e-20, -50.0]), np.array([5e-324, 1e-310])]
    for row in rows:
        a = row.astype(dtype)
        with mpmath.workdps(50):
            exact = mpmath.log(mpmath.fsum(mpmath.exp(mpmath.mpf(float(v))) for v in a))
            error = abs(mpmath.mpf(float(vbfast.logsumexp(a))) - exact)
            bound = 4 * eps * max(1.0, float(np.abs(a).max()), abs(float(exact)))
        assert error <= bound


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 40, 5000])
def test_infinite_and_nan_elements(n, dtype):
    a = np.zeros((6, n), dtype)
    a[0] = -INF
    a[1, n // 2] = INF
    a[2, n // 2] = np.nan
    a[3, : n // 2] = -INF
    a[4, 0], a[4, -1] = INF, np.nan if n > 1 else INF
    a[5, 0] = -INF
    for layout in (a, np.asfortranarray(a)):
        ours = vbfast.logsumexp(layout, axis=1)
        with np.errstate(all="ignore"):
            expected = scipy.special.logsumexp(a.astype(float), axis=1)
            softened = scipy.special.softmax(a.astype(float), axis=1)
            logarithms = scipy.special.log_softmax(a.astype(float), axis=1)
        assert_allclose(ours, expected, rtol=1e-6)
        assert_allclose(vbfast.softmax(layout, axis=1), softened, rtol=1e-6)
        assert_allclose(vbfast.log_softmax(layout, axis=1), logarithms, rtol=1e-6)


def test_scipy_documented_cases():
    a = np.arange(10)
    assert vbfast.logsumexp(a) == pytest.approx(9.4586297444267107, abs=1e-14)
    b = np.arange(10, 0, -1)
    assert vbfast.logsumexp(a, b=b) == pytest.approx(9.9170178533034665, abs=1e-14)
    value, sign = vbfast.logsumexp([1, 2], b=[1, -1], return_sign=True)
    assert (value, sign) == (pytest.approx(1.5413248546129181), -1.0)
    assert np.isnan(vbfast.logsumexp([1, 2], b=[1, -1]))
    masked = np.ma.array([np.log(2), 2, np.log(3)], mask=[False, True, False])
    factors = (~masked.mask).astype(int)
    assert vbfast.logsumexp(masked.data, b=factors) == pytest.approx(np.log(5))
    z = np.array([[1, 0.5, 0.2, 3], [1, -1, 7, 3], [2, 12, 13, 3]])
    for axis in (None, 0, 1):
        assert_allclose(vbfast.softmax(z, axis=axis), scipy.special.softmax(z, axis=axis), 1e-14)
    assert_array_equal(vbfast.log_softmax([1000.0, 1.0]), [0.0, -999.0])
    assert vbfast.logsumexp([]) == -INF
    assert vbfast.logsumexp(np.zeros((0, 3)), axis=0).tolist() == [-INF] * 3
    assert_allclose(vbfast.logsumexp([1 + 2j, 3]), scipy.special.logsumexp([1 + 2j, 3]))


def test_nothing_to_sum_over():
    """Broadcast, so that dimensions do not join."""
    nothing = np.zeros((2, 0, 3))
    assert vbfast.logsumexp(np.zeros(0), b=np.ones((2, 1))) == -INF
    assert vbfast.logsumexp(nothing, b=np.ones((4, 1, 1, 1))) == -INF
    assert vbfast.kl_divergence(q_logits=np.zeros(0), p_logits=np.zeros((3, 1)), axis=None) == 0
    kl = vbfast.kl_divergence(q_logits=nothing, p_logits=np.zeros((4, 1, 1, 1)), axis=(0, 2))
    assert_array_equal(kl, np.zeros((2, 3)))
    out = np.zeros((3, 0, 2)).T
    assert vbfast.softmax(nothing[::-1], out=out) is out


def test_types_of_results():
    a = np.arange(3, dtype=np.float32)
    for factor in (2, 2.0, True):  # as in NumPy, Python's own numbers do not widen
        ours, theirs = (f(a, b=factor) for f in (vbfast.logsumexp, scipy.special.logsumexp))
        assert ours.dtype == theirs.dtype == np.float32
        assert_allclose(ours, theirs, rtol=1e-6)
    assert vbfast.logsumexp(a, b=np.float64(2.0)).dtype == np.float64
    assert vbfast.softmax(a.astype(a.dtype.newbyteorder())).dtype == np.float32


def test_logits_of_nothing_in_a_divergence():
    nothing = [-INF, -INF]
    assert np.isnan(vbfast.kl_divergence(q_logits=nothing, p_logits=[0.0, 0.0]))
    assert vbfast.kl_divergence(q_logits=[0.0, 0.0], p_logits=nothing) == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_scaled_sums(dtype):
    rng = np.random.default_rng(1)
    a = rng.normal(scale=3, size=(50, 33)).astype(dtype)
    b = rng.normal(size=(50, 33)).astype(dtype)
    b[:, 3] = 0
    a[:, 3] = INF  # counts for nothing
    a[7], b[7] = -INF, 1
    b[8] = 0
    a[9, 5], b[9, 5] = INF, -2
    for axis in (0, 1):
        for x, y in ((a, b), (np.asfortranarray(a), b)):
            value, sign = vbfast.logsumexp(x, axis, b=y, return_sign=True)
            with np.errstate(all="ignore"):
                finite = np.where(b == 0, -INF, a.astype(float))
                exact, exact_sign = scipy.special.logsumexp(
                    finite, axis, b=np.where(b == 0, 1, b.astype(float)), return_sign=True
                )
            assert_allclose(value, exact, rtol=3e-4 if dtype == "float32" else 1e-12)
            assert_array_equal(sign, exact_sign)
    row = vbfast.logsumexp(a[:5], 1, b=[[2.0]])
    assert_allclose(row, vbfast.logsumexp(a[:5], 1) + np.log(2), rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1, None, (0, 1)])
def test_entropy_and_divergence_from_each_kind(axis, dtype):
    rng = np.random.default_rng(2)
    q_logits = rng.normal(scale=4, size=(200, 31)).astype(dtype)
    p_logits = rng.normal(scale=4, size=(200, 31)).astype(dtype)
    q = scipy.special.softmax(q_logits.astype(float), axis)
    p = scipy.special.softmax(p_logits.astype(float), axis)
    entropy = scipy.special.entr(q).sum(axis)
    kl = scipy.special.rel_entr(q, p).sum(axis)
    relative = 1e-12 if dtype == "float64" else 2e-5
    tolerance = {"rtol": relative, "atol": relative / 10}
    for order in "CF":
        ql, pl = (np.array(v, dtype, order=order) for v in (q_logits, p_logits))
        qp, pp = (np.array(v, dtype, order=order) for v in (q, p))
        assert_allclose(vbfast.entropy(logits=ql, axis=axis), entropy, **tolerance)
        assert_allclose(vbfast.entropy(qp, axis=axis), entropy, **tolerance)
        for left in ({"q_logits": ql}, {"q_probs": qp}):
            for right in ({"p_logits": pl}, {"p_probs": pp}):
                assert_allclose(vbfast.kl_divergence(**left, **right, axis=axis), kl, **tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_never_negative_by_rounding(dtype):
    rng = np.random.default_rng(3)
    logits = rng.normal(scale=20, size=(3000, 9)).astype(dtype)
    q = vbfast.softmax(logits, axis=1)
    for value in (
        vbfast.kl_divergence(q, q),
        vbfast.kl_divergence(q, p_logits=logits),
        vbfast.kl_divergence(q_logits=logits, p_logits=logits + 3),
        vbfast.entropy(q),
        vbfast.entropy(logits=logits),
    ):
        assert (value >= 0).all()
    assert vbfast.entropy([0.0, 1.0, 0.0]) == 0
    assert vbfast.entropy(logits=[-INF, -INF]) == 0
    assert vbfast.kl_divergence([0.5, 0.5], [1.0, 0.0]) == INF
    assert vbfast.kl_divergence([1.0, 0.0], [0.5, 0.5]) == pytest.approx(np.log(2))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (50, 3), (64, 33), (8, 9, 20), (3, 5000)], ids=str)
def test_terms_add_up_for_every_kind_of_q(shape, dtype):
    rng = np.random.default_rng(4)
    joint = rng.normal(scale=6, size=shape).astype(dtype) - 3
    logits = rng.normal(scale=6, size=shape).astype(dtype)
    weight = rng.integers(0, 3, shape[:-1]).astype(float)
    q = vbfast.softmax(logits, axis=-1)
    wide_q = scipy.special.softmax(logits.astype(float), axis=-1)
    for arguments, exact in (({}, None), ({"q": q}, wide_q), ({"q_logits": logits}, wide_q)):
        for weights in (None, weight):
            terms = vbfast.elbo(joint, **arguments, sample_weight=weights)
            rows = vbfast.elbo(joint, **arguments, sample_weight=weights, per_sample=True)
            w = 1 if weights is None else weights
            posterior = scipy.special.softmax(joint.astype(float), axis=-1)
            mass = posterior if exact is None else exact
            relative = 1e-12 if dtype == "float64" else 2e-5
            expected = {
                "log_evidence": w * scipy.special.logsumexp(joint.astype(float), axis=-1),
                "expected_log_joint": w * (mass * joint).sum(-1),
                "entropy": w * scipy.special.entr(mass).sum(-1),
                "kl": w * scipy.special.rel_entr(mass, posterior).sum(-1),
            }
            scale = max(1.0, sum(np.abs(v).sum() for v in expected.values()))
            for name, value in expected.items():
                assert_allclose(getattr(rows, name), value, relative, relative * 100)
                assert_allclose(getattr(terms, name), value.sum(), rtol=0, atol=relative * scale)
            for each in (terms, rows):
                total = each.expected_log_joint + each.entropy
                assert_allclose(each.elbo, total, rtol=0, atol=1e-12 * scale)
                if dtype == "float64":
                    assert_allclose(each.log_evidence, each.elbo + each.kl, 0, 1e-12 * scale)
                assert_array_equal(each.loss, -np.asarray(each.elbo))
            if exact is None:
                assert terms.kl == 0


def test_edges_of_the_bound():
    joint = np.array([[-INF, 0.0], [-INF, -INF], [1.0, 2.0], [np.nan, 0.0]])
    weight = [1.0, 1.0, 1.0, 0.0]
    q = np.full((4, 2), 0.5)
    for arguments in ({"q": q}, {"q_logits": np.log(q)}):
        rows = vbfast.elbo(joint, **arguments, sample_weight=weight, per_sample=True)
        assert_array_equal(rows.elbo[[0, 1, 3]], [-INF, -INF, 0])
        assert_array_equal(rows.kl[[0, 1, 3]], [INF, 0, 0])
        assert_array_equal(rows.log_evidence[[0, 1, 3]], [0, -INF, 0])
        assert rows.entropy[1] == 0
    one_sided = vbfast.elbo(joint[:1], q=[[0.0, 1.0]])
    assert (one_sided.elbo, one_sided.kl) == (0, 0)
    posterior = vbfast.elbo(joint, sample_weight=weight, per_sample=True)
    assert_array_equal(posterior.elbo[:2], [0, -INF])
    assert_array_equal(posterior.kl, np.zeros(4))
    _, gradient = vbfast.elbo_and_grad(joint, q_logits=np.log(q), sample_weight=weight)
    assert_array_equal(gradient.q_logits[[1, 3]], np.zeros((2, 2)))
    assert_array_equal(gradient.log_joint[[1, 3]], np.zeros((2, 2)))
    assert np.isnan(gradient.q_logits[0]).all()
    _, gradient = vbfast.elbo_and_grad(joint, sample_weight=weight)
    assert_array_equal(gradient.q_logits, np.zeros((4, 2)))
    assert_allclose(gradient.log_joint[[0, 1, 3]], [[0, 1], [0, 0], [0, 0]])
    assert vbfast.elbo([[INF, 0.0]], per_sample=True).log_evidence == INF


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("components", [2, 40, 3000])
def test_gradients_without_a_posterior_are_nan(components, dtype):
    """softmax is not defined with +inf or NaN among its logits, nor what follows from it."""
    joint = np.zeros((6, components), dtype)
    joint[:, 1] = [INF, np.nan, 0.0, -INF, INF, np.nan]
    weight = [1.0, 2.0, 1.0, 1.0, 0.0, 0.0]
    for view in layouts(joint):
        terms, gradient = vbfast.elbo_and_grad(view, sample_weight=weight)
        assert np.isnan(terms.elbo)
        for of_rows in (gradient.q_logits, gradient.log_joint):
            assert np.isnan(of_rows[:2]).all()
            assert_array_equal(of_rows[4:], 0)
        assert_array_equal(gradient.q_logits[2:4], 0)
        assert_allclose(gradient.log_joint[2:4].sum(axis=1), 1, 1e-6)
    _, gradient = vbfast.elbo_and_grad([[INF, 0.0], [0.0, 0.0]], q_logits=np.zeros((2, 2)))
    assert_array_equal(gradient.q_logits, [[np.nan, np.nan], [0, 0]])
    assert_array_equal(gradient.log_joint, np.full((2, 2), 0.5))


@pytest.mark.parametrize("components", [1, 3, 40, 3000])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_against_central_differences(components, weighted):
    rng = np.random.default_rng(5)
    joint = rng.normal(size=(4, components))
    logits = rng.normal(size=(4, components))
    weight = np.array([0.0, 1.0, 2.5, 0.3]) if weighted else None
    terms, gradient = vbfast.elbo_and_grad(joint, q_logits=logits, sample_weight=weight)
    assert terms == vbfast.elbo(joint, q_logits=logits, sample_weight=weight)
    step = 1e-5
    for n in range(4):
        for k in range(min(components, 5)):
            move = np.zeros_like(joint)
            move[n, k] = step

            def bound(a, b):
                return vbfast.elbo(a, q_logits=b, sample_weight=weight).elbo

            in_joint = (bound(joint + move, logits) - bound(joint - move, logits)) / (2 * step)
            in_logits = (bound(joint, logits + move) - bound(joint, logits - move)) / (2 * step)
            assert gradient.log_joint[n, k] == pytest.approx(in_joint, abs=1e-8)
            assert gradient.q_logits[n, k] == pytest.approx(in_logits, abs=1e-8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3,), (33, 20), (400, 7), (2, 9000), (60_000, 40)], ids=str)
def test_outputs_given_strided_and_in_place(shape, dtype, backend):
    if backend == "cuda" and shape[0] > 10_000:
        pytest.skip("it is about stores of the CPU")
    a = np.random.default_rng(6).normal(size=shape).astype(dtype)
    for axis in (0, -1, None):
        for function in (vbfast.softmax, vbfast.log_softmax):
            expected = function(a, axis=axis)
            for target in layouts(np.zeros_like(a)):
                assert function(a, axis=axis, out=target) is target
                assert_allclose(target, expected, rtol=1e-5 if dtype == "float32" else 1e-13)
            own = a.copy()
            function(own, axis=axis, out=own)
            assert_array_equal(own, expected)
            longer = np.concatenate([a, a[:1]])
            function(longer[:-1], axis=axis, out=longer[1:])  # overlaps, but is not the same
            assert_array_equal(longer[1:], expected)
    target = np.empty(shape[:-1], dtype)
    assert vbfast.entropy(logits=a, out=target) is target
    assert_array_equal(target, vbfast.entropy(logits=a))
    outputs = (np.empty_like(a), np.empty_like(a))
    _, gradient = vbfast.elbo_and_grad(a, q_logits=a[::-1], out=outputs)
    assert gradient.q_logits is outputs[0]
    _, fresh = vbfast.elbo_and_grad(a, q_logits=a[::-1])
    assert_array_equal(outputs[0], fresh.q_logits)
    assert_array_equal(outputs[1], fresh.log_joint)


def test_gradients_may_be_written_over_the_inputs():
    rng = np.random.default_rng(9)
    joint, logits = rng.normal(size=(2, 30, 11))
    joint[3, 4] = INF
    expected_terms, expected = vbfast.elbo_and_grad(joint, q_logits=logits)
    memory = np.stack([joint, logits])
    for out in ((memory[0], memory[1]), (memory[1, ::-1], memory[0])):
        memory[0], memory[1] = joint, logits
        terms, gradient = vbfast.elbo_and_grad(memory[0], q_logits=memory[1], out=out)
        assert terms.log_evidence == expected_terms.log_evidence == INF
        assert_array_equal(gradient.q_logits, expected.q_logits)
        assert_array_equal(gradient.log_joint, expected.log_joint)


@pytest.mark.parametrize("given", [False, True])
def test_gradients_may_be_written_over_the_weights(given):
    rng = np.random.default_rng(11)
    joint, logits = rng.normal(size=(2, 30, 11))
    weight = rng.uniform(size=30)
    q = {"q_logits": logits} if given else {}
    expected_terms, expected = vbfast.elbo_and_grad(joint, **q, sample_weight=weight)
    for k in range(2):
        memory = np.empty((2, 30, 11))
        memory[k].flat[20:50] = weight
        inside = memory[k].ravel()[20:50]
        assert np.shares_memory(inside, memory)
        terms, gradient = vbfast.elbo_and_grad(joint, **q, sample_weight=inside, out=tuple(memory))
        assert terms == expected_terms
        assert_array_equal(gradient.q_logits, expected.q_logits)
        assert_array_equal(gradient.log_joint, expected.log_joint)


def test_weights_of_any_strides_and_alignment():
    joint = np.random.default_rng(12).normal(size=(4, 5, 3))
    weight = np.arange(20.0).reshape(4, 5)
    expected = vbfast.elbo(joint, sample_weight=weight)
    memory = np.zeros(8 * 20 + 1, np.uint8)[1:].view(float).reshape(4, 5)
    memory[...] = weight
    for same in (weight.T.copy().T, np.flip(np.flip(weight).copy()), memory, weight.tolist()):
        assert vbfast.elbo(joint, sample_weight=same) == expected


def test_new_outputs_take_after_the_input():
    a = np.random.default_rng(10).normal(size=(6, 5))
    assert vbfast.softmax(np.asfortranarray(a), axis=1).flags.fnc
    repeated = np.broadcast_to(a[0], (6, 5))
    for view in (a, a[::2, ::-1], repeated):
        own = vbfast.log_softmax(view, axis=1)
        assert own.flags.c_contiguous
        assert own.flags.writeable
        assert_array_equal(own, vbfast.log_softmax(view.copy(), axis=1))


@given(
    shape=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    axis=st.integers(-4, 3),
    order=st.permutations(range(4)),
    single=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_any_axis_of_any_transposed_array(shape, axis, order, single, seed):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=shape).astype(np.float32 if single else np.float64)
    a = a.transpose([d for d in order if d < a.ndim])
    axis %= a.ndim
    b = rng.normal(size=a.shape).astype(a.dtype)
    close(vbfast.logsumexp(a, axis), scipy.special.logsumexp(a.astype(float), axis), a)
    kl = scipy.special.rel_entr(
        scipy.special.softmax(a.astype(float), axis), scipy.special.softmax(b.astype(float), axis)
    ).sum(axis)
    tolerance = 1e-4 if single else 1e-12
    assert_allclose(
        vbfast.kl_divergence(q_logits=a, p_logits=b, axis=axis), kl, tolerance, tolerance
    )


def test_results_do_not_depend_on_threads():
    a = np.random.default_rng(7).normal(size=(3000, 300))
    q = np.random.default_rng(8).normal(size=(3000, 300))

    def everything():
        terms, gradient = vbfast.elbo_and_grad(a, q_logits=q)
        return [vbfast.logsumexp(a), vbfast.logsumexp(a, 0), vbfast.logsumexp(a, 1),
                vbfast.softmax(a), terms.elbo, terms.kl, gradient.q_logits]  # fmt: skip

    with vbfast.config_context(num_threads=1):
        alone = everything()
    for threads in (2, 3):
        with vbfast.config_context(num_threads=threads):
            for ours, reference in zip(everything(), alone, strict=True):
                assert_array_equal(ours, reference)


THREE = np.zeros(3)


def read_only(n):
    array = np.zeros(n)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: vbfast.entropy([0.5, 0.6]), ValueError, "probs sums to 1.1"),
        (lambda: vbfast.entropy([[1, 0], [1.5, -0.5]]), ValueError, "probs at row 1 has a neg"),
        (lambda: vbfast.entropy(), ValueError, "exactly one of probs and logits"),
        (lambda: vbfast.entropy([1.0], out=np.empty(2)), ValueError, "out must have shape"),
        (lambda: vbfast.kl_divergence([1.0], [0.5]), ValueError, "p_probs sums to 0.5"),
        (lambda: vbfast.kl_divergence([1.0]), ValueError, "exactly one of p_probs"),
        (lambda: vbfast.elbo([[0.0, 0.0]], q=[[0.5, 0.4]]), ValueError, "q at row 0 sums to 0.9"),
        (lambda: vbfast.elbo([[0.0]], q=[[1.0]], q_logits=[[0.0]]), ValueError, "at most one"),
        (lambda: vbfast.elbo([[0.0]], q=[1.0]), ValueError, "q must have the shape"),
        (lambda: vbfast.elbo([[0.0]], q_logits=[[-INF]]), ValueError, "no logit above -inf"),
        (lambda: vbfast.elbo([[0.0]], q_logits=[[INF]]), ValueError, r"logit of \+inf"),
        (lambda: vbfast.elbo(1.0), ValueError, "log_joint must have shape"),
        (lambda: vbfast.elbo([[0.0]], sample_weight=[-1.0]), ValueError, "sample_weight must"),
        (lambda: vbfast.elbo([[0.0]], sample_weight=[[1.0]]), ValueError, "must have shape"),
        (lambda: vbfast.elbo([[1j]]), TypeError, "log_joint must be real"),
        (lambda: vbfast.softmax(["a"]), TypeError, "a must be numeric"),
        (lambda: vbfast.softmax(["1"]), TypeError, "a must be numeric"),
        (lambda: vbfast.logsumexp(None), TypeError, "a must be numeric"),
        (lambda: vbfast.elbo([[0.0]], sample_weight=["a"]), TypeError, "sample_weight must be num"),
        (lambda: vbfast.elbo([[0.0]], sample_weight=[1j]), TypeError, "sample_weight must be real"),
        (lambda: vbfast.elbo_and_grad([[0.0]], out=(np.empty((1, 1)),)), TypeError, "tuple of two"),
        (lambda: vbfast.logsumexp([1.0], axis=1), np.exceptions.AxisError, "axis 1 is out of"),
        (lambda: vbfast.logsumexp([[1.0]], axis=(0, 0)), ValueError, "duplicate value"),
        (lambda: vbfast.softmax([1.0], out=np.empty(1, "f4")), ValueError, "out must have shape"),
        (lambda: vbfast.softmax([1.0], out=np.empty(1, ">f8")), ValueError, "got shape .* >f8"),
        (lambda: vbfast.softmax([1.0], out=[0.0]), TypeError, "must be a NumPy array; got list"),
        (lambda: vbfast.softmax([1.0], out=read_only(1)), ValueError, "out must be writeable and"),
        (lambda: vbfast.elbo_and_grad([[1.0]], out=(np.empty((1, 1)), np.empty(1))), ValueError,
         r"out\[1\] must have shape \(1, 1\) and dtype float64; got shape \(1,\) and"),
        (lambda: vbfast.elbo_and_grad([1.0, 2.0], out=(THREE[:2], THREE[1:])), ValueError,
         "must not overlap"),
        (lambda: vbfast.elbo_and_grad([1.0], out=3), TypeError, "out must be a tuple .* got 3"),
        (lambda: vbfast.elbo([1.0], sample_weight=np.nan), ValueError, "negative; got nan"),
        (lambda: vbfast.elbo([[0.0]] * 2, sample_weight=[1.0, INF]), ValueError, "got inf"),
    ],
)  # fmt: skip
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_nearly_normalised_q_is_renormalised():
    q = np.array([[0.25, 0.75 + 5e-7]])
    exact = q / q.sum()
    assert vbfast.entropy(q)[0] == pytest.approx(scipy.special.entr(exact).sum(), abs=1e-15)
    joint = np.array([[0.3, -2.0]])
    assert vbfast.elbo(joint, q=q).elbo == pytest.approx(
        (exact * joint).sum() + scipy.special.entr(exact).sum(), abs=1e-14
    )


def test_distributions_that_passed_through_float32():
    """1e-6 for float64, 1e-3 for what is given as float32, whatever it is used with."""
    rng = np.random.default_rng(13)
    p, q = rng.dirichlet(np.ones(50), (2, 30))
    joint = rng.normal(size=(30, 50))
    single = p.astype(np.float32)
    for rounded in (single, single.astype(float), single * np.float32(1 + 4e-4)):
        exact = rounded.astype(float) / rounded.astype(float).sum(axis=1, keepdims=True)
        near = 1e-6 if rounded.dtype == np.float32 else 1e-13
        entropy = scipy.special.entr(exact).sum(axis=1)
        assert_allclose(vbfast.entropy(rounded), entropy, rtol=near)
        kl = scipy.special.rel_entr(exact, q).sum(axis=1)
        assert_allclose(vbfast.kl_divergence(rounded, q), kl, rtol=1e-12)
        bound = (exact * joint).sum() + entropy.sum()
        assert vbfast.elbo(joint, q=rounded).elbo == pytest.approx(bound, rel=1e-12)
        terms, _ = vbfast.elbo_and_grad(joint, q=rounded)
        assert terms.elbo == pytest.approx(bound, rel=1e-12)
    off = p.copy()
    off[7] *= 1 + 2e-6
    for call in (
        lambda: vbfast.entropy(off),
        lambda: vbfast.kl_divergence(q, off),
        lambda: vbfast.elbo(joint, q=off),
        lambda: vbfast.elbo_and_grad(joint, q=off),
        lambda: vbfast.entropy((single * np.float32(1 + 2e-3))[:1]),
    ):
        with pytest.raises(ValueError, match=r"at row [07] sums to 1\.00"):
            call()


def test_q_is_given_by_name():
    for function in (vbfast.elbo, vbfast.elbo_and_grad):
        with pytest.raises(TypeError, match="positional"):
            function([[0.0, 0.0]], [[0.5, 0.5]])
    with pytest.raises(ValueError, match="at most one of q and q_logits"):
        vbfast.elbo_and_grad([[0.0]], q=[[1.0]], q_logits=[[0.0]])


def inside(shape, dtype, order="C", offset=1):
    """An output, a view of a buffer that has NaN before and after it."""
    size = int(np.prod(shape))
    buffer = np.full(size + 16, np.nan, dtype)
    return buffer[offset : offset + size].reshape(shape, order=order), buffer


# Large enough for stores past the caches, which need aligned vectors: rows of 37 begin anywhere.
LARGE = (120_000, 37)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("function", ["softmax", "log_softmax"])
def test_large_outputs(function, axis, dtype, backend):
    if backend == "cuda":
        pytest.skip("they are about stores of the CPU")
    a = np.random.default_rng(0).normal(scale=3, size=LARGE).astype(dtype)
    out, buffer = inside(LARGE, dtype)
    with vbfast.config_context(num_threads=1):
        getattr(vbfast, function)(a, axis=axis, out=out)
    expected = getattr(scipy.special, function)(a.astype(float), axis=axis)
    eps = np.finfo(dtype).eps
    assert_allclose(out, expected, rtol=100 * eps, atol=100 * eps)
    assert_array_equal(np.flatnonzero(~np.isnan(buffer)), np.arange(1, a.size + 1))
    with vbfast.config_context(num_threads=3):
        assert_array_equal(getattr(vbfast, function)(a, axis=axis), out)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("offsets", [(0, 0), (1, 1), (1, 2)])
def test_large_gradients(order, offsets, dtype, backend):
    if backend == "cuda":
        pytest.skip("they are about stores of the CPU")
    rng = np.random.default_rng(1)
    joint, logits = (rng.normal(size=LARGE).astype(dtype) for _ in range(2))
    small = slice(0, 50)
    _, expected = vbfast.elbo_and_grad(joint[small], q_logits=logits[small])
    out, buffers = zip(*(inside(LARGE, dtype, order, offset) for offset in offsets), strict=True)
    vbfast.elbo_and_grad(
        np.asarray(joint, order=order), q_logits=np.asarray(logits, order=order), out=out
    )
    eps = np.finfo(dtype).eps
    assert_allclose(out[0][small], expected.q_logits, atol=100 * eps)
    assert_allclose(out[1][small], expected.log_joint, atol=100 * eps)
    for offset, buffer in zip(offsets, buffers, strict=True):
        filled = np.flatnonzero(~np.isnan(buffer))
        assert_array_equal(filled, np.arange(offset, offset + joint.size))
    if order == "C":
        with vbfast.config_context(num_threads=3):
            _, new = vbfast.elbo_and_grad(joint, q_logits=logits)
        assert_array_equal(new.q_logits, out[0])
        assert_array_equal(new.log_joint, out[1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_in_the_log_joint_is_q_where_the_bound_is_infinite(dtype):
    logits = np.array([[3.0, 1.0, 2.0], [0.5, 0.0, 1.0]], dtype)
    joint = np.array([[1.0, -INF, 3.0], [1.0, 2.0, 3.0]], dtype)
    for view, q in zip(layouts(joint), layouts(logits), strict=True):
        terms, gradient = vbfast.elbo_and_grad(view, q_logits=q)
        assert terms.elbo == -INF
        assert_allclose(gradient.log_joint, scipy.special.softmax(logits, axis=1), rtol=1e-6)
        assert np.isnan(gradient.q_logits[0]).all()
        assert np.isfinite(gradient.q_logits[1]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [9, 700, 60_000])  # a chunk, chunks of a block, ranges of a block
def test_softmax_of_columns_whose_maximum_rises(dtype, n):
    rising = np.linspace(-2000.0, 0.0, n)[:, np.newaxis]
    a = (rising * [1.0, 0.001, -1.0, 1.0, 1.0, 1.0, 0.0]).astype(dtype)
    a[: n // 2, 3] = -INF
    a[:, 4] = -INF
    a[n // 3, 5] = np.nan
    a[n // 3, 6] = INF
    exact = a.astype(float)
    with np.errstate(invalid="ignore"):
        shifted = exact - exact.max(axis=0)
    expected = np.exp(shifted - np.log(np.exp(shifted).sum(axis=0)))
    assert np.isnan(expected[:, 4:]).all()
    result = vbfast.softmax(a, axis=0)
    tiny = np.finfo(dtype).tiny
    assert_allclose(result, expected, rtol=8000 * np.finfo(dtype).eps, atol=tiny)
    strided = np.empty((n, 14), dtype)[:, ::2]
    for out in (np.empty_like(a), np.empty_like(a, order="F"), strided, a):
        assert vbfast.softmax(a, axis=0, out=out) is out
        assert_allclose(out, result, rtol=8 * np.finfo(dtype).eps, atol=tiny)


@pytest.mark.parametrize("backend", ["native", "numba"])
@pytest.mark.parametrize(
    ("axis", "error", "message"),
    [
        ("abc", TypeError, "axis must be an integer, a tuple of them or None; got 'abc'"),
        (0.5, TypeError, "axis must be an integer, a tuple of them or None; got 0.5"),
        (("a",), TypeError, "axis must be an integer, a tuple of them or None; got \\('a',\\)"),
        (2**70, np.exceptions.AxisError, "axis .* is out of bounds"),
        ((0, 9), np.exceptions.AxisError, "axis 9 is out of bounds"),
        ((0, 0), ValueError, "duplicate value in 'axis'"),
    ],
)
@pytest.mark.parametrize("with_out", [False, True])
def test_axes_that_are_none(backend, axis, error, message, with_out):
    if backend == "numba":
        pytest.importorskip("numba")
    a = np.full((2, 2), 0.5)
    with vbfast.config_context(backend=backend):
        for call in (
            lambda: vbfast.softmax(a, axis=axis, out=np.empty((2, 2)) if with_out else None),
            lambda: vbfast.entropy(a, axis=axis, out=np.empty(2) if with_out else None),
            lambda: vbfast.logsumexp(a, axis=axis),
            lambda: vbfast.logsumexp(a + 1j, axis=axis),
            lambda: vbfast.softmax(a + 1j, axis=axis),
        ):
            with pytest.raises(error, match=message):
                call()
