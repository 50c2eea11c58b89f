"""scikit-learn's checks of its conventions, whole."""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from vbfast.estimators import BayesianGaussianMixture, GaussianMixture


@pytest.mark.kernels
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.filterwarnings("ignore:covariance_prior is singular")
@parametrize_with_checks(
    [
        GaussianMixture(),
        GaussianMixture(covariance_type="tied"),
        GaussianMixture(covariance_type="diag", init_params="random_from_data"),
        GaussianMixture(covariance_type="spherical", init_params="random"),
        BayesianGaussianMixture(),
        BayesianGaussianMixture(covariance_type="tied", init_params="random"),
        BayesianGaussianMixture(
            covariance_type="diag", weight_concentration_prior_type="dirichlet_distribution"
        ),
        BayesianGaussianMixture(covariance_type="spherical", init_params="random_from_data"),
    ]
)
def test_conventions(estimator, check):
    check(estimator)
