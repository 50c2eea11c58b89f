"""scikit-learn's checks of its conventions, whole."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import scipy
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.fixes import parse_version

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
@pytest.mark.filterwarnings("ignore:total_samples is None")
@parametrize_with_checks(ESTIMATORS)
def test_conventions(estimator, check):
    check(estimator)


@pytest.mark.skipif(
    parse_version(scipy.__version__) < parse_version("1.14"),
    reason="SciPy has the array API from 1.14 on",
)
def test_array_api_conventions():
    """One check an estimator is skipped above: SciPy reads this variable when it is imported."""
    files = [__file__, str(Path(__file__).with_name("test_mixture.py"))]
    variables = {"SCIPY_ARRAY_API": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *files, "-k", "array_api_input"],
        env=os.environ | variables,
        timeout=300,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    with_numba = importlib.util.find_spec("numba") is not None
    assert int(passed[1]) == len(ESTIMATORS) + with_numba
    assert "SCIPY_ARRAY_API" not in done.stdout
