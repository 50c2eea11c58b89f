"""Wrong arguments are refused with their names; ``tests/fuzz/fuzz_arguments.py`` looks for more."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import vbfast

MIXTURES = (vbfast.GaussianMixture, vbfast.BayesianGaussianMixture)


@pytest.fixture
def X(rng):  # noqa: N802 (a fixture named as in the literature)
    return rng.normal(size=(30, 2))


@pytest.fixture(params=MIXTURES)
def fitted(request, X):
    return request.param(2, random_state=0, tol=1e-1).fit(X)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "abc", object(), np.random.default_rng(0)])
def test_seeds(fitted, seed):
    with pytest.raises(ValueError, match=r"random_state must be an integer in \[0, 2\*\*32\), .*"):
        fitted.sample(3, random_state=seed)


@pytest.mark.parametrize("n_samples", [1.5, "3", None, np.array([1, 2]), 3 + 0j])
def test_numbers_of_draws_that_are_none(fitted, n_samples):
    with pytest.raises(TypeError, match="n_samples must be an instance of"):
        fitted.sample(n_samples)


@pytest.mark.parametrize("n_samples", [0, -3, 2**70])
def test_numbers_of_draws_out_of_range(fitted, n_samples):
    with pytest.raises(ValueError, match="n_samples"):
        fitted.sample(n_samples)


@pytest.mark.parametrize("value", [Fraction(1, 2), Decimal(1), "1", 1 + 0j, np.nan, -1])
@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (vbfast.GaussianMixture, "tol"),
        (vbfast.GaussianMixture, "reg_covar"),
        (vbfast.BayesianGaussianMixture, "mean_precision_prior"),
        (vbfast.BayesianGaussianMixture, "degrees_of_freedom_prior"),
        (vbfast.BayesianGaussianMixture, "weight_concentration_prior"),
    ],
)
def test_parameters_that_are_no_numbers_of_numpy(X, cls, name, value):
    """scikit-learn's own check of an interval fails for fractions, in NumPy's words."""
    with pytest.raises(ValueError, match=f"The '{name}' parameter of {cls.__name__} must be"):
        cls(2, **{name: value}).fit(X)


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), np.int8(1), 1, True])
def test_parameters_that_are_numbers(X, number):
    vbfast.GaussianMixture(2, tol=number, reg_covar=number, random_state=0).fit(X)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("abc", TypeError, "X must be numeric; got dtype <U3"),
        ([["1", "2"], ["3", "4"]], TypeError, "X must be numeric; got dtype <U1"),
        (np.zeros((3, 2), "M8[s]"), TypeError, r"X must be numeric; got dtype datetime64\[s\]"),
        (np.zeros((3, 2), "f8,f8"), TypeError, "X must be numeric"),
        ({}, TypeError, "X must be numeric: .* 'dict'"),
        ([[1, 2], [3]], ValueError, "X must be an array: .* inhomogeneous"),
        ([[10**400, 1], [2, 3]], ValueError, "X must be numeric: int too large"),
        ([[1j, 2], [3, 4]], ValueError, "Complex data not supported"),
        ([1.0, 2.0], ValueError, "Expected 2D array, got 1D array instead"),
    ],
)
@pytest.mark.parametrize("cls", MIXTURES)
def test_rows_that_are_none(fitted, cls, given, error, message):
    with pytest.raises(error, match=message):
        cls(2).fit(given)
    with pytest.raises(error, match=message):
        fitted.predict(given)


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ("abc", TypeError, "sample_weight must be numeric; got dtype <U3"),
        ([[1.0], [1.0, 2.0]], ValueError, "sample_weight must be an array"),
        ([object()] * 30, TypeError, "sample_weight must be numeric: float()"),
        ([10**400] * 30, ValueError, "sample_weight must be numeric: int too large"),
        (np.full(30, "2020", "M8[D]"), TypeError, "sample_weight must be numeric"),
    ],
)
def test_weights_that_are_none(fitted, X, weights, error, message):
    with pytest.raises(error, match=message):
        fitted.score(X, sample_weight=weights)


@pytest.mark.parametrize(
    "resp",
    [np.ones((30, 2)), np.full(30, 2), lambda X, K, random_state: np.full((len(X), K), -1.0)],
)
@pytest.mark.parametrize("cls", MIXTURES)
def test_a_start_of_no_distributions_is_named_init_params(X, cls, resp):
    with pytest.raises(ValueError, match=r"^init_params "):
        cls(2, init_params=resp).fit(X)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"weights_init": [b"0.5", b"0.5"]}, "weights_init must be numeric"),
        ({"means_init": {"a": 1}}, "means_init must be numeric"),
        ({"precisions_init": np.full((2, 2, 2), object())}, "precisions_init must be numeric"),
    ],
)
def test_starts_that_are_no_numbers(X, changed, message):
    with pytest.raises((TypeError, ValueError), match=message):
        vbfast.GaussianMixture(2, **changed).fit(X)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"n_components": [1.5]}, TypeError, "n_components must be an instance of"),
        ({"n_components": slice(3)}, TypeError, "n_components must be an instance of"),
        ({"n_components": [1, 0]}, ValueError, "n_components == 0, must be >= 1"),
        ({"n_components": []}, ValueError, "n_components must have at least one value"),
        ({"n_jobs": 0}, ValueError, "n_jobs == 0"),
        ({"n_jobs": "abc"}, TypeError, "n_jobs must be an instance of"),
        ({"mean_precision_prior": b"abc"}, ValueError, "mean_precision_prior"),
        ({"random_state": "abc"}, ValueError, "random_state"),
    ],
)
def test_what_select_does_not_take(X, changed, error, message):
    with pytest.raises(error, match=message):
        vbfast.select(X, **{"n_components": [1, 2], **changed})


@pytest.mark.parametrize("backend", [{}, ["native"], 3, "opencl", b"native"])
def test_backends_that_are_none(backend):
    with (
        pytest.raises(ValueError, match="backend must be one of 'native'"),
        vbfast.config_context(backend=backend),
    ):
        pass
