"""``GaussianMixture.log_evidence_and_grad``: the estimator's surface of the family's gradient."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast.contract import COVARIANCE_TYPES
from vbfast.estimators import GaussianMixture

pytestmark = pytest.mark.kernels


@pytest.fixture(params=COVARIANCE_TYPES)
def fitted(request, clustered, given_start):
    return GaussianMixture(**given_start(request.param), tol=1e-9, max_iter=2000, reg_covar=0).fit(
        clustered
    )


def test_is_zero_where_em_converged(fitted, clustered):
    log_evidence, gradient = fitted.log_evidence_and_grad(clustered)
    assert gradient.X is None
    np.testing.assert_allclose(log_evidence, fitted.score_samples(clustered).sum())
    np.testing.assert_allclose(gradient.weights, 600, rtol=1e-2)
    scale = np.abs(fitted.precisions_).max()
    for name in ("logits", "means", "covariances", "precisions_cholesky"):
        np.testing.assert_allclose(getattr(gradient, name) / (600 * scale), 0, atol=1e-3)
    assert gradient.means.shape == fitted.means_.shape
    assert gradient.covariances.shape == fitted.covariances_.shape
    assert gradient.precisions_cholesky.shape == fitted.covariances_.shape


def test_integer_weights_are_repeated_rows(fitted, clustered):
    rows, weights = clustered[:50] + 0.1, np.arange(50) % 4
    log_evidence, gradient = fitted.log_evidence_and_grad(rows, weights, wrt_x=True)
    repeated, expected = fitted.log_evidence_and_grad(np.repeat(rows, weights, axis=0), wrt_x=True)
    np.testing.assert_allclose(log_evidence, repeated)
    np.testing.assert_allclose(gradient.means, expected.means)
    np.testing.assert_allclose(gradient.covariances, expected.covariances, rtol=1e-6)
    once = weights == 1
    starts = np.cumsum(weights) - weights
    np.testing.assert_allclose(gradient.X[once], expected.X[starts[once]])
    np.testing.assert_array_equal(gradient.X[weights == 0], 0.0)
    tripled = weights == 3
    np.testing.assert_allclose(gradient.X[tripled], 3 * expected.X[starts[tripled]])


def test_single_precision(clustered, given_start):
    rows = clustered.astype(np.float32)
    mixture = GaussianMixture(**given_start("full"), max_iter=30).fit(rows)
    _, gradient = mixture.log_evidence_and_grad(rows, np.full(600, 0.5), wrt_x=True)
    assert gradient.X.dtype == np.float32
    assert gradient.covariances.dtype == np.float64


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_components_far_from_each_other_in_float32(far_components, covariance_type, each_backend):
    (X, _, means, P), evidence, (of_rows, _, of_means, of_factors) = far_components(covariance_type)
    mixture = GaussianMixture(
        2,
        covariance_type=covariance_type,
        weights_init=[0.5, 0.5],
        means_init=means,
        precisions_init=P,
        max_iter=0,
        backend=each_backend,
    ).fit(X)
    np.testing.assert_allclose(mixture.score_samples(X), evidence, rtol=1e-6)
    terms = mixture.elbo(X)
    np.testing.assert_allclose([terms.elbo, terms.log_evidence], evidence.sum(), rtol=1e-6)
    assert terms.entropy == terms.kl == 0.0
    value, gradient = mixture.log_evidence_and_grad(X, wrt_x=True)
    np.testing.assert_allclose(value, evidence.sum(), rtol=1e-6)
    np.testing.assert_allclose(gradient.X, of_rows, rtol=1e-6)
    np.testing.assert_allclose(gradient.means, of_means, rtol=1e-5)
    np.testing.assert_allclose(gradient.precisions_cholesky, of_factors, rtol=1e-5)
    np.testing.assert_allclose(gradient.covariances, -0.5 * of_factors, rtol=1e-5)
    np.testing.assert_allclose(gradient.weights, [6.0, 4.0], rtol=1e-5)


def test_what_is_refused(fitted, clustered):
    with pytest.raises(ValueError, match="features"):
        fitted.log_evidence_and_grad(clustered[:, :2])
    with pytest.raises(ValueError, match="NaN"):
        fitted.log_evidence_and_grad(np.full((2, 4), np.nan))
    with pytest.raises(ValueError, match="Negative values"):
        fitted.log_evidence_and_grad(clustered, -np.ones(600))
