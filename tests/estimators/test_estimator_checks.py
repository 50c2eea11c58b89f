"""scikit-learn's checks of its conventions, whole."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from vbfast.estimators import BayesianGaussianMixture, GaussianMixture

ESTIMATORS = [
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


@pytest.mark.kernels
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.filterwarnings("ignore:covariance_prior is singular")
@parametrize_with_checks(ESTIMATORS)
def test_conventions(estimator, check):
    check(estimator)


def test_array_api_conventions():
    """One check an estimator is skipped above: SciPy reads this variable when it is imported."""
    check = ["-k", "test_conventions and check_array_api_input"]
    variables = {"SCIPY_ARRAY_API": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, *check],
        env=os.environ | variables,
        timeout=300,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert f"{len(ESTIMATORS)} passed" in done.stdout
    assert "skipped" not in done.stdout
