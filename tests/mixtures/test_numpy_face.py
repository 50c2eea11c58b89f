"""The mixture's evidence as functions of NumPy arrays: values, gradients, and what they refuse."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from mpmath import mp

import vbfast
from vbfast.contract import COVARIANCE_TYPES
from vbfast.mixtures import function as mixture_function

PARAMETERS = ("weights_logits", "means", "precisions_cholesky")
NAMES = ("x", *PARAMETERS)


def exact(covariance_type, x, logits, means, P):
    """The log density of one row under one mixture, to mpmath's precision, by its definition."""
    K, D = means.shape
    total = mp.mpf(0)
    for k in range(K):
        factor = mp.matrix(D, D)
        for i, j in itertools.product(range(D), repeat=2):
            if covariance_type in ("full", "tied"):
                matrix = P if covariance_type == "tied" else P[k]
                factor[i, j] = matrix[i, j] if i <= j else mp.mpf(0)
            elif i == j:
                factor[i, j] = P[k, i] if covariance_type == "diag" else P[k]
        y = factor.T * mp.matrix([x[i] - means[k, i] for i in range(D)])
        det = mp.fprod(factor[i, i] for i in range(D))
        square = sum(value**2 for value in y)
        total += mp.exp(logits[k] - square / 2) * det / mp.sqrt(2 * mp.pi) ** D
    return mp.log(total / sum(mp.exp(logit) for logit in logits))


def digits(array):
    """The same numbers for mpmath."""
    return np.vectorize(mp.mpf, otypes=[object])(array)


@pytest.fixture
def fifty_digits():
    with mp.workdps(50):
        yield


@pytest.fixture(params=["together", "passes"])
def regime(request, monkeypatch):
    """Both ways to evaluate a batch."""
    limit = {"together": 1 << 60, "passes": 0}[request.param]
    monkeypatch.setattr(mixture_function, "COORDINATES_OF_A_PASS", limit)


def evaluate(arguments, covariance_type, **options):
    """The evidence, and the gradients in the arguments' order."""
    log_evidence, gradient = vbfast.mixture_log_evidence_and_grad(
        *arguments, covariance_type, wrt_x=True, **options
    )
    return log_evidence, [getattr(gradient, name) for name in NAMES]


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_against_the_definition_in_fifty_digits(fifty_digits, mixture_arrays, rng, covariance_type):
    """The gradients against central differences, whose error is far below float64's."""
    arguments = mixture_arrays(covariance_type, n_rows=4)
    arguments[0][3] = 30.0  # of a density of 1e-300 or so
    cotangent = rng.normal(size=4)
    log_evidence, gradients = evaluate(arguments, covariance_type, cotangent=cotangent)
    x, *parameters = exactly = [digits(array) for array in arguments]
    expected = [float(exact(covariance_type, row, *parameters)) for row in x]
    np.testing.assert_allclose(log_evidence, expected, rtol=1e-13)
    np.testing.assert_array_equal(
        vbfast.mixture_log_evidence(*arguments, covariance_type), log_evidence
    )

    def total(x, *parameters):
        rows = (exact(covariance_type, row, *parameters) for row in x)
        return sum(mp.mpf(c) * value for c, value in zip(cotangent, rows, strict=True))

    step = mp.mpf(10) ** -15
    for which, gradient in enumerate(gradients):
        slopes = np.empty(gradient.shape)
        for index in np.ndindex(gradient.shape):
            ahead, behind = ([array.copy() for array in exactly] for _ in range(2))
            ahead[which][index] += step
            behind[which][index] -= step
            slopes[index] = (total(*ahead) - total(*behind)) / (2 * step)
        scale = np.abs(slopes).max()
        np.testing.assert_allclose(
            gradient, slopes, rtol=0, atol=1e-12 * scale, err_msg=NAMES[which]
        )


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_gradients_are_those_of_jax(jax_float64, regime, mixture_batch, rng, covariance_type):
    """Of batches whose mixtures share some parameters, in the shapes of the arguments."""
    jax, jnp = jax_float64, jax_float64.numpy
    x, logits, means, P = mixture_batch(covariance_type, n_mixtures=3, n_rows=5)
    cotangent = rng.normal(size=(3, 5))
    x[2] = x[2] * 1e3

    def textbook(x, logits, means, P):
        D = x.shape[-1]
        if covariance_type in ("diag", "spherical"):
            P = P if covariance_type == "diag" else P[..., None]
            P = jnp.broadcast_to(P, (*P.shape[:-1], D))[..., None, :] * jnp.eye(D)
        if covariance_type == "tied":
            P = P[..., None, :, :]
        P = jnp.triu(P)
        d = x[..., :, None, :] - means[..., None, :, :]
        y = jnp.einsum("...nkd,...nkde->...nke", d, jnp.broadcast_to(P[..., None, :, :, :], (
            *d.shape, D)))  # fmt: skip
        log_det = jnp.log(jnp.diagonal(P, axis1=-2, axis2=-1)).sum(axis=-1)
        offset = jax.nn.log_softmax(logits) + log_det - 0.5 * D * jnp.log(2 * jnp.pi)
        return jax.nn.logsumexp(offset[..., None, :] - 0.5 * (y**2).sum(axis=-1), axis=-1)

    cases = [
        (x, logits, means, P),
        (x, logits[0], means, P[:1]),
        (x, logits[:1], means[0], P),
        (x[0], logits[0], means[0], P[0]),
    ]
    for case in cases:
        c = cotangent if case[0].ndim == 3 else cotangent[0]

        def total(*arguments, c=c):
            return (c * textbook(*arguments)).sum()

        value, gradients = evaluate(case, covariance_type, cotangent=c)
        np.testing.assert_allclose(value, textbook(*case), rtol=1e-12)
        expected = jax.grad(total, argnums=(0, 1, 2, 3))(*case)
        for name, actual, wanted in zip(NAMES, gradients, expected, strict=True):
            assert actual.shape == wanted.shape
            scale = max(1.0, np.abs(wanted).max())
            np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-11 * scale, err_msg=name)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_batch_is_its_mixtures_one_by_one(regime, mixture_batch, covariance_type):
    arguments = mixture_batch(covariance_type, n_mixtures=4, n_rows=3)
    for rows in (arguments[0], arguments[0][:, 0]):  # with and without an axis of rows
        value, gradients = evaluate((rows, *arguments[1:]), covariance_type)
        for i, one in enumerate(zip(rows, *arguments[1:], strict=True)):
            alone, of_one = evaluate(one, covariance_type)
            np.testing.assert_allclose(value[i], alone, rtol=1e-13)
            for whole, part in zip(gradients, of_one, strict=True):
                np.testing.assert_allclose(whole[i], part, rtol=1e-10, atol=1e-12)
    two_axes = [array.reshape(2, 2, *array.shape[1:]) for array in arguments]
    np.testing.assert_array_equal(
        vbfast.mixture_log_evidence(*two_axes, covariance_type).reshape(4, 3),
        vbfast.mixture_log_evidence(*arguments, covariance_type),
    )


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_components_far_from_each_other_in_float32(
    regime, far_components, covariance_type, each_backend
):
    arguments, evidence, expected = far_components(covariance_type)
    with vbfast.config_context(backend=each_backend):
        for n_mixtures in (None, 3):
            several = arguments
            if n_mixtures is not None:
                several = [np.tile(a, (n_mixtures, *(1,) * a.ndim)) for a in arguments]
            value, gradients = evaluate(several, covariance_type)
            assert value.dtype == np.float32
            np.testing.assert_allclose(value, np.broadcast_to(evidence, value.shape), rtol=1e-6)
            for actual, wanted in zip(gradients, expected, strict=True):
                wanted = np.broadcast_to(wanted, actual.shape)
                np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_fitted_mixture_has_the_same_evidence_and_gradient(rng, covariance_type):
    X = rng.normal(size=(400, 3)) + rng.integers(2, size=(400, 1)) * 4.0
    mixture = vbfast.GaussianMixture(
        2, covariance_type=covariance_type, max_iter=3, tol=0.0, random_state=0
    )
    with pytest.warns(Warning, match="did not converge"):
        mixture.fit(X)
    arguments = (X, np.log(mixture.weights_), mixture.means_, mixture.precisions_cholesky_)
    w = rng.uniform(0.0, 2.0, 400)
    log_evidence, gradients = evaluate(arguments, covariance_type, cotangent=w)
    np.testing.assert_allclose(log_evidence, mixture.score_samples(X), rtol=1e-12)
    _, expected = mixture.log_evidence_and_grad(X, w, wrt_x=True)
    wanted = (expected.X, expected.logits, expected.means, expected.precisions_cholesky)
    for actual, of_estimator in zip(gradients, wanted, strict=True):
        scale = np.abs(of_estimator).max()
        np.testing.assert_allclose(actual, of_estimator, rtol=0, atol=1e-10 * scale)
    with vbfast.config_context(backend="reference"):
        _, reference = evaluate(arguments, covariance_type, cotangent=w)
    for actual, plain in zip(gradients, reference, strict=True):
        np.testing.assert_allclose(actual, plain, rtol=0, atol=1e-10 * np.abs(plain).max())


@pytest.mark.parametrize(
    ("signs", "n_passes"), [((1, 1), 1), ((-1, -1), 1), ((1, -1), 2), ((0, 0), 1), ((0, -1), 1)]
)
def test_the_gradient_costs_no_pass_more_than_its_signs(passes, mixture_arrays, signs, n_passes):
    """Evidence and gradient in x are of all rows, whatever their cotangents."""
    arguments = mixture_arrays("full", n_rows=2)
    expected, of_ones = evaluate(arguments, "full")
    passes.clear()
    log_evidence, gradients = evaluate(arguments, "full", cotangent=signs)
    assert len(passes) == n_passes
    np.testing.assert_array_equal(log_evidence, expected)
    np.testing.assert_array_equal(gradients[0], np.reshape(signs, (2, 1)) * of_ones[0])
    assert all(gradient.any() == any(signs) for gradient in gradients)


def test_cotangents_broadcast(regime, mixture_batch, rng):
    arguments = mixture_batch("diag", n_mixtures=3, n_rows=4)
    c = rng.normal(size=(3, 1))
    for cotangent in (-0.25, c, list(c[0]) * 4):
        _, broadcast = evaluate(arguments, "diag", cotangent=cotangent)
        whole = np.broadcast_to(cotangent, (3, 4)).copy()
        _, expected = evaluate(arguments, "diag", cotangent=whole)
        for actual, wanted in zip(broadcast, expected, strict=True):
            np.testing.assert_array_equal(actual, wanted)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("batched", [False, True])
def test_a_logit_of_minus_infinity_takes_its_component_out(
    regime, mixture_arrays, mixture_batch, covariance_type, batched
):
    arguments = (mixture_batch if batched else mixture_arrays)(covariance_type)
    x, logits, means, P = arguments
    logits[..., 1] = -np.inf
    others = [x, logits[..., [0, 2]], means[..., [0, 2], :], P]
    if covariance_type != "tied":
        others[3] = np.take(P, [0, 2], axis=int(batched))
    value, gradients = evaluate(arguments, covariance_type)
    expected, without = evaluate(others, covariance_type)
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    np.testing.assert_allclose(gradients[0], without[0], rtol=1e-11)
    assert not gradients[1][..., 1].any()
    assert not gradients[2][..., 1, :].any()
    if covariance_type == "tied":
        np.testing.assert_allclose(gradients[3], without[3], rtol=1e-10)
    else:
        assert not np.take(gradients[3], 1, axis=int(batched)).any()


def test_the_widest_type_of_the_arguments_counts(mixture_arrays):
    arguments = mixture_arrays("full", n_rows=50)
    single = [array.astype(np.float32) for array in arguments]
    value, gradients = evaluate(single, "full")
    assert value.dtype == gradients[0].dtype == np.float32
    assert {gradient.dtype for gradient in gradients[1:]} == {np.dtype(np.float64)}
    exactly = [array.astype(np.float64) for array in single]
    expected, of_double = evaluate(exactly, "full")
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for actual, wanted in zip(gradients, of_double, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())
    for which in range(4):
        mixed = [exactly[i] if i == which else array for i, array in enumerate(single)]
        value, gradients = evaluate(mixed, "full")
        assert value.dtype == gradients[0].dtype == np.float64
        np.testing.assert_array_equal(value, expected)
    assert vbfast.mixture_log_evidence(*(a.astype(np.float16) for a in arguments)).dtype == "f4"
    whole = vbfast.mixture_log_evidence([[0], [1]], [0, 0], [[0], [2]], [1, 1], "spherical")
    assert whole.dtype == np.float64
    np.testing.assert_array_equal(
        whole, vbfast.mixture_log_evidence([[0.0], [1.0]], [0.0, 0.0], [[0.0], [2.0]], [1.0, 1.0],
                                           "spherical"),
    )  # fmt: skip


def test_one_row_is_a_number_and_arguments_stay_as_they_are(mixture_arrays):
    arguments = mixture_arrays("full", n_rows=6)
    strided = [np.asfortranarray(arguments[0])[::-1], *(a.copy() for a in arguments[1:])]
    strided[3] += np.tril(np.ones((2, 2)), -1)  # below the diagonal nothing is read
    for array in strided:
        array.flags.writeable = False
    before = [array.copy() for array in strided]
    value, gradients = evaluate(strided, "full")
    expected, wanted = evaluate(arguments, "full")
    np.testing.assert_array_equal(value, expected[::-1])
    np.testing.assert_allclose(gradients[3], wanted[3], rtol=1e-12)
    assert not np.tril(gradients[3], -1).any()
    for array, copy in zip(strided, before, strict=True):
        np.testing.assert_array_equal(array, copy)
    one, gradient = vbfast.mixture_log_evidence_and_grad(arguments[0][0], *arguments[1:])
    assert isinstance(one, np.float64)
    assert isinstance(vbfast.mixture_log_evidence(arguments[0][0], *arguments[1:]), np.float64)
    np.testing.assert_allclose(one, expected[0], rtol=1e-15)
    assert gradient.x is None


def test_nothing_in_nothing_out(mixture_batch):
    arguments = mixture_batch("tied", n_mixtures=2)
    for empty in ([a[:0] for a in arguments], [arguments[0][:, :0], *arguments[1:]]):
        value, gradients = evaluate(empty, "tied")
        assert value.shape == empty[0].shape[:-1]
        assert [g.shape for g in gradients] == [a.shape for a in empty]
        assert not any(gradient.any() for gradient in gradients)


def test_a_row_beyond_every_component_counts_for_nothing(regime, mixture_batch):
    arguments = mixture_batch("full", n_mixtures=2, n_rows=3)
    arguments[0][1, 2] = 1e200
    value, gradients = evaluate(arguments, "full")
    assert value[1, 2] == -np.inf
    assert not gradients[0][1, 2].any()
    _, without = evaluate([arguments[0][:, :2], *arguments[1:]], "full")
    for actual, wanted in zip(gradients[1:], without[1:], strict=True):
        np.testing.assert_allclose(actual[1], wanted[1], rtol=1e-12)


def refused():
    """Arguments to be replaced, and what the error says."""
    nan = np.full((4, 3, 2), np.nan)
    yield "x", np.zeros((4, 3)), r"x must have shape \(..., 2\)"
    yield "x", np.zeros((3, 2)), r"x must have shape \(4, ..., 2\) for a batch"
    yield "x", nan, "x must be finite: row 0 has a value that is NaN or infinite"
    yield "means", np.zeros(3), "means must have shape"
    yield "means", nan, "means must be finite"
    yield "weights_logits", np.zeros((4, 2)), r"weights_logits must have shape \(3,\)"
    yield "weights_logits", np.zeros((5, 3)), "weights_logits must have leading axes that broadcast"
    yield "weights_logits", np.full((4, 3), np.nan), "weights_logits must not be NaN"
    yield "weights_logits", np.full((4, 3), -np.inf), "weights_logits must not .* -inf for all"
    yield "precisions_cholesky", np.zeros((4, 3)), "precisions_cholesky must have shape"
    yield "precisions_cholesky", np.zeros((4, 3, 2)), "precisions_cholesky must be .* positive"
    yield "covariance_type", "diagonal", "covariance_type must be one of"
    yield "cotangent", np.nan, "cotangent must be finite"
    yield "cotangent", np.ones(5), r"cotangent must broadcast to \(4, 6\), .*; got \(5,\)"
    for name in (*NAMES, "cotangent"):
        yield name, 1j * np.ones((4, 3, 2)), f"{name} must be real"
        yield name, np.full((4, 3, 2), "a"), f"{name} must be numeric"
        yield name, np.ma.masked_less(np.zeros((4, 3, 2)), 1), f"{name} is a masked array"


@pytest.mark.parametrize(("name", "value", "message"), refused())
def test_errors_name_the_argument(mixture_batch, name, value, message):
    named = dict(zip(NAMES, mixture_batch("diag", n_mixtures=4), strict=True))
    named |= {"covariance_type": "diag", name: value}
    with pytest.raises((TypeError, ValueError), match=message):
        vbfast.mixture_log_evidence_and_grad(**named)
    if name != "cotangent":
        with pytest.raises((TypeError, ValueError), match=message):
            vbfast.mixture_log_evidence(**named)


@pytest.mark.parametrize("framework", ["torch", "jax"])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_the_other_frameworks_have_the_same_bits(
    request, mixture_batch, framework, covariance_type
):
    package = pytest.importorskip(framework)
    bridge = pytest.importorskip(f"vbfast.{framework}")
    if framework == "jax":
        request.getfixturevalue("jax_float64")
    x, logits, means, P = mixture_batch(covariance_type, n_mixtures=3, n_rows=2)
    arguments = (x, logits[0], means, P[:1])
    convert = package.from_numpy if framework == "torch" else package.numpy.asarray
    theirs = bridge.mixture_log_evidence(*map(convert, arguments), covariance_type)
    np.testing.assert_array_equal(
        vbfast.mixture_log_evidence(*arguments, covariance_type), np.asarray(theirs)
    )
