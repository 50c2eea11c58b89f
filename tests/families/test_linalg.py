from __future__ import annotations

import numpy as np
import pytest

from vbfast.engine.config import config_context
from vbfast.families.linalg import (
    NotPositiveDefiniteError,
    gram,
    log_det_cholesky,
    precision_cholesky,
    ratio_norms,
    upper_cholesky,
)


def random_covariances(n_components, n_features, seed=0):
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(n_components, n_features, n_features + 3))
    return roots @ roots.swapaxes(1, 2) / n_features


@pytest.mark.kernels
@pytest.mark.parametrize("n_features", [1, 2, 3, 8, 17, 64, 130])
def test_precision_cholesky_factors_the_inverse(n_features):
    covariances = random_covariances(3, n_features)
    factors = precision_cholesky(covariances)
    np.testing.assert_array_equal(factors, np.triu(factors))
    identity = np.broadcast_to(np.eye(n_features), covariances.shape)
    np.testing.assert_allclose(gram(factors) @ covariances, identity, atol=1e-8)


@pytest.mark.kernels
def test_backends_agree():
    covariances = random_covariances(5, 20)
    with config_context(backend="reference"):
        expected = precision_cholesky(covariances)
    np.testing.assert_allclose(precision_cholesky(covariances), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.kernels
@pytest.mark.parametrize("bad", [-1.0, 0.0, np.nan])
def test_precision_cholesky_names_the_component_that_has_none(bad):
    covariances = random_covariances(4, 3)
    covariances[2] = np.diag([1.0, bad, 1.0])
    with pytest.raises(NotPositiveDefiniteError) as caught:
        precision_cholesky(covariances)
    assert caught.value.component == 2


@pytest.mark.kernels
@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("n_features", [1, 2, 3, 8, 31, 130])
def test_ratio_norms(backend, n_features):
    factors = precision_cholesky(random_covariances(5, n_features))
    denominators = precision_cholesky(random_covariances(5, n_features, seed=1))
    ratios = [np.linalg.inv(B) @ A for A, B in zip(factors, denominators, strict=True)]
    expected = np.square(ratios).sum(axis=(1, 2))
    with config_context(backend=backend):
        np.testing.assert_allclose(ratio_norms(factors, denominators), expected, rtol=1e-8)
        np.testing.assert_allclose(
            ratio_norms(factors, denominators[:1])[0], expected[0], rtol=1e-8
        )
        np.testing.assert_allclose(ratio_norms(factors, factors), n_features, rtol=1e-12)


@pytest.mark.kernels
def test_ratio_norms_do_not_depend_on_the_threads():
    factors = precision_cholesky(random_covariances(7, 150))
    denominators = precision_cholesky(random_covariances(7, 150, seed=1))
    with config_context(num_threads=1):
        expected = ratio_norms(factors, denominators)
    with config_context(num_threads=3):
        np.testing.assert_array_equal(ratio_norms(factors, denominators), expected)


@pytest.mark.parametrize("n_features", [1, 2, 7, 40])
def test_upper_cholesky(n_features):
    matrices = random_covariances(3, n_features)
    factors = upper_cholesky(matrices)
    np.testing.assert_array_equal(factors, np.triu(factors))
    np.testing.assert_allclose(gram(factors), matrices, rtol=1e-12, atol=1e-13)
    with pytest.raises(NotPositiveDefiniteError) as caught:
        upper_cholesky(matrices * np.array([1.0, 1.0, -1.0])[:, np.newaxis, np.newaxis])
    assert caught.value.component == 2


def test_log_det_cholesky():
    covariances = random_covariances(4, 6)
    factors = np.linalg.cholesky(covariances)
    expected = 0.5 * np.linalg.slogdet(covariances)[1]
    np.testing.assert_allclose(log_det_cholesky(factors), expected, rtol=1e-12)
