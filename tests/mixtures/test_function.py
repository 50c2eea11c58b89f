"""The mixture as a function of arrays: batches against one mixture at a time, and the edges."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from vbfast.contract import COVARIANCE_TYPES
from vbfast.mixtures import function as mixture_function
from vbfast.mixtures.arguments import check_shapes
from vbfast.mixtures.function import MixtureFunction

REGIMES = {"together": 1 << 60, "passes": 0}


@pytest.fixture(params=REGIMES, ids=list(REGIMES))
def regime(request, monkeypatch):
    """Both ways to evaluate a batch."""
    monkeypatch.setattr(mixture_function, "COORDINATES_OF_A_PASS", REGIMES[request.param])


def precisions(covariance_type, P, K, D):
    """The precision matrix of each component."""
    if covariance_type in ("diag", "spherical"):
        return np.reshape(P**2, (K, -1, 1)) * np.eye(D)
    return np.broadcast_to(np.triu(P) @ np.triu(P).mT, (K, D, D))


def log_density(covariance_type, x, logits, means, P):
    """Of one mixture, by SciPy's normal densities."""
    covariances = np.linalg.inv(precisions(covariance_type, P, *means.shape))
    weights = np.exp(logits - logits.max())
    densities = [
        weight / weights.sum() * scipy.stats.multivariate_normal(mean, covariance).pdf(x)
        for weight, mean, covariance in zip(weights, means, covariances, strict=True)
        if weight > 0
    ]
    return np.log(np.sum(densities, axis=0))


def central_difference(function, array, step=1e-6):
    gradient = np.empty_like(array)
    for index in np.ndindex(array.shape):
        shifted = [array.copy(), array.copy()]
        shifted[0][index] += step
        shifted[1][index] -= step
        gradient[index] = (function(shifted[0]) - function(shifted[1])) / (2 * step)
    return gradient


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_batch_is_its_mixtures_one_by_one(regime, mixture_batch, rng, covariance_type):
    x, *parameters = mixture_batch(covariance_type, n_mixtures=3, n_rows=4)
    cotangent = rng.normal(size=x.shape[:-1])
    function = MixtureFunction.of(covariance_type, *parameters)
    value, in_x = function.value(x, wrt_x=True)
    gradients = function.pull_back(x, cotangent)
    for i, arrays in enumerate(zip(*parameters, strict=True)):
        np.testing.assert_allclose(
            value[i], log_density(covariance_type, x[i], *arrays), rtol=1e-12
        )

        def weighted(x, *arrays, i=i):
            return cotangent[i] @ log_density(covariance_type, x, *arrays)

        np.testing.assert_allclose(
            cotangent[i][:, np.newaxis] * in_x[i],
            central_difference(lambda rows, a=arrays: weighted(rows, *a), x[i]),
            rtol=1e-6, atol=1e-8,
        )  # fmt: skip
        for which, gradient in enumerate(gradients):

            def moved(array, which=which, arrays=arrays, i=i):
                changed = [array if j == which else a for j, a in enumerate(arrays)]
                return weighted(x[i], *changed)

            expected = central_difference(moved, arrays[which])
            np.testing.assert_allclose(gradient[i], expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_both_regimes_agree_over_blocks_and_shared_axes(
    monkeypatch, mixture_batch, rng, covariance_type
):
    """More mixtures than a block has; x alone and parameters alone along an axis of the batch."""
    x, logits, means, P = mixture_batch(covariance_type, n_mixtures=10, n_rows=2)
    monkeypatch.setattr("vbfast.mixtures.batch.BLOCK", 40)
    new = np.newaxis
    cases = [
        ((x, logits, means, P), (10,)),
        ((x[new, :5], logits[:, new], means[:1, new], P[:1, new]), (10, 5)),
        ((x[:, new], logits[new, :1], means[new, :3], P[new, :3]), (10, 3)),
        ((x[new], logits[:1, new], means[:1, new], P[:1, new]), (1, 10)),
    ]
    for (rows, *parameters), batch in cases:
        cotangent = rng.normal(size=rows.shape[:-1])
        results = []
        for limit in REGIMES.values():
            monkeypatch.setattr(mixture_function, "COORDINATES_OF_A_PASS", limit)
            function = MixtureFunction.of(covariance_type, *parameters)
            results.append(
                (*function.value(rows, wrt_x=True), *function.pull_back(rows, cotangent))
            )
        for together, by_passes in zip(*results, strict=True):
            assert together.shape[: len(batch)] == batch
            np.testing.assert_allclose(together, by_passes, rtol=1e-10, atol=1e-12)


def test_a_thousand_small_mixtures_take_no_pass_each(passes, mixture_batch):
    x, *parameters = mixture_batch("full", n_mixtures=1000, n_rows=1, K=5)
    MixtureFunction.of("full", *parameters).value(x, wrt_x=True)
    assert not passes
    x, *parameters = mixture_batch("full", n_mixtures=2, n_rows=5000, K=5)  # no N x K arrays
    MixtureFunction.of("full", *parameters).value(x, wrt_x=True)
    assert len(passes) == 2


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_component_of_weight_zero(regime, mixture_batch, rng, covariance_type):
    """The value of the others and gradients of zero, even where its distance overflows."""
    x, logits, means, P = mixture_batch(covariance_type, n_mixtures=3, n_rows=2)
    logits[:, 1] = -np.inf
    means[1, 1] = 1e200
    function = MixtureFunction.of(covariance_type, logits, means, P)
    value, in_x = function.value(x, wrt_x=True)
    gradients = function.pull_back(x, rng.normal(size=value.shape))
    others = [0, 2]
    factors = P if covariance_type == "tied" else P[:, others]
    without = MixtureFunction.of(covariance_type, logits[:, others], means[:, others], factors)
    expected, expected_in_x = without.value(x, wrt_x=True)
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    np.testing.assert_allclose(in_x, expected_in_x, rtol=1e-12)
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)
    for gradient in gradients[: 2 if covariance_type == "tied" else 3]:
        assert not gradient[:, 1].any()


def test_rows_that_no_component_reaches(regime, mixture_batch):
    """Where every distance overflows: -inf, and gradients of zero."""
    x, *parameters = mixture_batch("full", n_mixtures=2, n_rows=1)
    x[0] = 1e200
    function = MixtureFunction.of("full", *parameters)
    value, in_x = function.value(x, wrt_x=True)
    assert value[0] == -np.inf
    assert np.all(np.isfinite(value[1]))
    gradients = function.pull_back(x, np.ones((2, 1)))
    for gradient in (in_x, *gradients):
        assert not gradient[0].any()
        assert np.all(np.isfinite(gradient))
        assert gradient[1].any()


def test_a_cotangent_that_is_not_finite_stays_with_its_mixture(regime, mixture_batch):
    x, *parameters = mixture_batch("diag", n_mixtures=2, n_rows=3)
    cotangent = np.ones((2, 3))
    cotangent[0, 1] = np.inf
    for gradient in MixtureFunction.of("diag", *parameters).pull_back(x, cotangent):
        assert np.all(np.isnan(gradient[0]))
        assert np.all(np.isfinite(gradient[1]))


def test_single_precision_rows_keep_their_type(regime, mixture_batch):
    x, *parameters = (array.astype(np.float32) for array in mixture_batch("full"))
    value, in_x = MixtureFunction.of("full", *parameters).value(x, wrt_x=True)
    assert value.dtype == in_x.dtype == np.float32
    double = [array.astype(np.float64) for array in (x, *parameters)]
    expected, _ = MixtureFunction.of("full", *double[1:]).value(double[0], wrt_x=False)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_empty_batches_and_no_rows(regime, mixture_batch):
    x, *parameters = mixture_batch("tied", n_mixtures=2)
    nothing = [array[:0] for array in parameters]
    value, in_x = MixtureFunction.of("tied", *nothing).value(x[:0], wrt_x=True)
    assert value.shape == (0, 6)
    assert in_x.shape == (0, 6, 2)
    gradients = MixtureFunction.of("tied", *nothing).pull_back(x[:0], value)
    assert [g.shape for g in gradients] == [a.shape for a in nothing]
    function = MixtureFunction.of("tied", *parameters)
    value, in_x = function.value(x[:, :0], wrt_x=True)
    assert value.shape == (2, 0)
    assert not any(gradient.any() for gradient in function.pull_back(x[:, :0], value))


def test_what_is_refused(regime, mixture_batch):
    x, logits, means, P = mixture_batch("full", n_mixtures=3)
    for bad in (np.nan, np.inf):
        broken = logits.copy()
        broken[1, 0] = bad
        with pytest.raises(ValueError, match="weights_logits must not be NaN or"):
            MixtureFunction.of("full", broken, means, P)
    broken = logits.copy()
    broken[1] = -np.inf
    with pytest.raises(ValueError, match="nor -inf for all components of a mixture"):
        MixtureFunction.of("full", broken, means, P)
    with pytest.raises(ValueError, match="means must be finite"):
        MixtureFunction.of("full", logits, means * np.nan, P)
    x[1, 2, 0] = np.nan
    with pytest.raises(ValueError, match="row 8 has a value that is NaN or infinite"):
        MixtureFunction.of("full", logits, means, P).value(x, wrt_x=False)


def test_shapes():
    one = ((3,), (3, 2), (3, 2, 2))
    assert check_shapes("full", (7, 2), *one) == one
    each = ((4, 3), (4, 3, 2), (4, 2, 2))
    assert check_shapes("tied", (4, 2), *each) == each
    shared = ((5, 1, 3), (4, 3, 2), (3, 2))
    broadcast = ((5, 4, 3), (5, 4, 3, 2), (5, 4, 3, 2))
    assert check_shapes("diag", (5, 4, 9, 2), *shared) == broadcast
    refused = [
        ("means must have shape", ("diag", (2,), (3,), (2,), (3, 2))),
        ("at least one of each", ("diag", (2,), (0,), (0, 2), (0, 2))),
        ("at least one of each", ("diag", (0,), (3,), (3, 0), (3, 0))),
        (r"weights_logits must have shape \(3,\)", ("diag", (2,), (2,), (3, 2), (3, 2))),
        (r"precisions_cholesky must have shape \(2, 2\)", ("tied", (2,), (3,), (3, 2), (3, 2))),
        ("weights_logits must have leading axes", ("tied", (4, 2), (5, 3), (4, 3, 2), (2, 2))),
        (r"x must have shape \(..., 2\)", ("diag", (), (3,), (3, 2), (3, 2))),
        (r"x must have shape \(4, ..., 2\)", ("diag", (5, 2), (4, 3), (3, 2), (3, 2))),
        (r"x must have shape \(4, ..., 2\)", ("diag", (2,), (4, 3), (3, 2), (3, 2))),
    ]
    for message, arguments in refused:
        with pytest.raises(ValueError, match=message):
            check_shapes(*arguments)
