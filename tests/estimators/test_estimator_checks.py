"""scikit-learn's checks of its conventions, whole."""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from vbfast.estimators import GaussianMixture


@pytest.mark.kernels
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [
        GaussianMixture(),
        GaussianMixture(covariance_type="tied"),
        GaussianMixture(covariance_type="diag", init_params="random_from_data"),
        GaussianMixture(covariance_type="spherical", init_params="random"),
    ]
)
def test_conventions(estimator, check):
    check(estimator)
