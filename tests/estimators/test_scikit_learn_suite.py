"""The mixture tests that scikit-learn's wheel ships, with our classes swapped in."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
from packaging.version import Version
from sklearn.mixture.tests import test_bayesian_mixture as bayesian_tests
from sklearn.mixture.tests import test_gaussian_mixture as gaussian_tests
from sklearn.mixture.tests import test_mixture as mixture_tests

from vbfast.estimators import BayesianGaussianMixture, GaussianMixture

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

_FUNCTIONS = "tests functions of scikit-learn's module, not the class"
_ARRAY_API = "array API inputs, which the class does not claim to support"
NOT_BLACK_BOX = {
    "test_suffstat_sk_full": _FUNCTIONS,
    "test_suffstat_sk_tied": _FUNCTIONS,
    "test_suffstat_sk_diag": _FUNCTIONS,
    "test_gaussian_suffstat_sk_spherical": _FUNCTIONS,
    "test_compute_log_det_cholesky": _FUNCTIONS,
    "test_gaussian_mixture_log_probabilities": _FUNCTIONS,
    "test_gaussian_mixture_precisions_init": "calls _set_parameters and _initialize",
    "test_gaussian_mixture_all_init_does_not_estimate_gaussian_parameters": (
        "counts calls of a private function of scikit-learn's module"
    ),
    "test_gaussian_mixture_array_api_compliance": _ARRAY_API,
    "test_gaussian_mixture_raises_where_array_api_not_implemented": _ARRAY_API,
}

if Version(sklearn.__version__) < Version("1.7"):
    NOT_BLACK_BOX["test_regularisation"] = "the words of an error changed since"

BAYESIAN_NOT_BLACK_BOX = {
    "test_log_dirichlet_norm": _FUNCTIONS,
    "test_log_wishart_norm": _FUNCTIONS,
    "test_compare_covar_type": "calls _check_parameters and _initialize_parameters",
}


def black_box_tests(module, exceptions):
    return {
        name: function
        for name, function in vars(module).items()
        if name.startswith("test_") and name not in exceptions
    }


# The functions find the class in their own module, where `swapped` puts ours.
globals().update(black_box_tests(gaussian_tests, NOT_BLACK_BOX))
globals().update(
    {
        f"test_bayesian_{name.removeprefix('test_').removeprefix('bayesian_')}": function
        for name, function in black_box_tests(bayesian_tests, BAYESIAN_NOT_BLACK_BOX).items()
    }
)


@pytest.fixture(autouse=True)
def swapped(monkeypatch):
    monkeypatch.setattr(gaussian_tests, "GaussianMixture", GaussianMixture)
    monkeypatch.setattr(bayesian_tests, "BayesianGaussianMixture", BayesianGaussianMixture)


# scikit-learn's conftest.py defines these two; there float32 is optional.
@pytest.fixture(params=[np.float32, np.float64])
def global_dtype(request):
    if request.param == np.float32 and request.function is gaussian_tests.test_score:
        pytest.skip("wants seven decimals of a float32 mean; our score sums in float64")
    return request.param


@pytest.fixture(params=[0, 42])
def global_random_seed(request):
    return request.param


def test_the_list_of_exceptions_is_current():
    assert {name for name in NOT_BLACK_BOX if not hasattr(gaussian_tests, name)} <= {
        name for name, reason in NOT_BLACK_BOX.items() if reason == _ARRAY_API
    }
    assert all(hasattr(bayesian_tests, name) for name in BAYESIAN_NOT_BLACK_BOX)


@pytest.mark.parametrize("mixture", [GaussianMixture, BayesianGaussianMixture])
@pytest.mark.parametrize(
    "check",
    [
        mixture_tests.test_gaussian_mixture_n_iter,
        mixture_tests.test_mixture_n_components_greater_than_n_samples_error,
    ],
)
def test_mixture_module(check, mixture):
    check(mixture())
