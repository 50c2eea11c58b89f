from __future__ import annotations

import numpy as np
import pytest

from vbfast.contract import NotPositiveDefiniteError
from vbfast.families.linalg import gram, log_det_cholesky, upper_cholesky


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
