from __future__ import annotations

import numpy as np
import pytest

from vbfast.contract import COVARIANCE_TYPES, NotPositiveDefiniteError
from vbfast.families.covariances import matrix_product, trace_of_product
from vbfast.families.linalg import gram, log_det_cholesky, positive_definite, upper_cholesky


def random_covariances(n_components, n_features):
    rng = np.random.default_rng(0)
    roots = rng.normal(size=(n_components, n_features, n_features + 3))
    return roots @ roots.swapaxes(1, 2) / n_features


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


def test_positive_definite():
    matrices = random_covariances(3, 4)
    assert positive_definite(matrices)
    assert positive_definite(matrices[0].astype(np.float32))
    assert not positive_definite(np.concatenate([matrices, -matrices[:1]]))
    matrices[1, 0, 2] += 1.0
    assert not positive_definite(matrices)
    assert not positive_definite(np.ones((2, 2)))  # singular


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_products_of_what_the_type_keeps(covariance_type):
    K, D = 3, 4
    rng = np.random.default_rng(1)
    shape = {"full": (K, D, D), "tied": (D, D), "diag": (K, D), "spherical": (K,)}[covariance_type]
    left, right = rng.normal(size=shape), rng.normal(size=shape)

    def dense(values):
        if covariance_type in ("full", "tied"):
            return values
        return values.reshape(K, -1, 1) * np.eye(D)

    product = dense(matrix_product(covariance_type, left, right))
    np.testing.assert_allclose(product, dense(left) @ dense(right))
    traces = np.trace(dense(left) @ dense(right).swapaxes(-1, -2), axis1=-2, axis2=-1)
    np.testing.assert_allclose(trace_of_product(covariance_type, left, right, D), traces)
