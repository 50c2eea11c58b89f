"""Fitted attributes that were set after the fit are looked at before a pass is run with them."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import vbfast

TYPES = ("full", "tied", "diag", "spherical")
BOTH = (vbfast.GaussianMixture, vbfast.BayesianGaussianMixture)


@pytest.fixture
def X(rng):  # noqa: N802 (a fixture named as in the literature)
    return np.concatenate([rng.normal(size=(60, 3)), rng.normal(size=(60, 3)) + 5])


@pytest.fixture
def fitted(X):
    """A function that fits a mixture."""

    def fit(cls, covariance_type):
        return cls(2, covariance_type=covariance_type, random_state=0, tol=1e-1).fit(X)

    return fit


def methods(mixture):
    yield from (mixture.predict, mixture.predict_proba, mixture.score_samples, mixture.score)
    yield mixture.elbo
    if isinstance(mixture, vbfast.GaussianMixture):
        yield from (mixture.log_evidence_and_grad, mixture.aic, mixture.bic)
    else:
        yield from (mixture.elbo_and_grad, mixture.log_predictive_density)


@pytest.mark.parametrize("cls", BOTH)
@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0, 0)])
@pytest.mark.parametrize("backend", ["native", "numba", "reference"])
def test_no_components_or_no_features(fitted, X, cls, covariance_type, shape, backend):
    if backend == "numba":
        pytest.importorskip("numba")
    mixture = fitted(cls, covariance_type)
    K, D = shape
    mixture.means_ = np.zeros(shape)
    mixture.weights_ = np.full(K, 1 / max(K, 1))
    factors = {"full": (K, D, D), "tied": (D, D), "diag": (K, D), "spherical": (K,)}
    mixture.covariances_ = np.ones(factors[covariance_type])
    mixture.precisions_ = mixture.precisions_cholesky_ = mixture.covariances_
    with vbfast.config_context(backend=backend):
        for method in methods(mixture):
            with pytest.raises(
                ValueError, match=r"means_ must have shape .*, at least one of each"
            ):
                method(X)


@pytest.mark.parametrize(
    ("cls", "name", "value", "error", "message"),
    [
        (cls, name, value, error, message)
        for cls in BOTH
        for name, value, error, message in (
            ("weights_", [0.5, np.nan], ValueError, "weights_ must be finite"),
            ("weights_", [1.5, -0.5], ValueError, "weights_ must not be negative; got -0.5"),
            ("weights_", [0.5j, 0.5], TypeError, "weights_ must be real; got dtype complex128"),
            ("weights_", None, ValueError, r"need weights_ of shape \(2,\).*; got \(\) and"),
            ("means_", np.full((2, 3), np.inf), ValueError, "means_ must be finite"),
            ("means_", "abc", TypeError, "means_ must be numeric; got dtype <U3"),
            ("precisions_cholesky_", np.ones((3, 3)), ValueError, "precisions_cholesky_ of shape"),
            ("precisions_cholesky_", np.full((2, 3), np.nan), ValueError, "must be finite"),
        )
    ]
    + [
        (vbfast.BayesianGaussianMixture, name, value, ValueError, message)
        for name, value, message in (
            ("mean_precision_", [1.0], r"mean_precision_ must have shape \(2,\); got \(1,\)"),
            ("mean_precision_", [1.0, 0.0], "mean_precision_ must be positive; got 0.0"),
            ("degrees_of_freedom_", [[3.0, 3.0]], r"shape \(2,\); got \(1, 2\)"),
            ("degrees_of_freedom_", [3.0, np.nan], "degrees_of_freedom_ must be finite"),
            ("weight_concentration_", np.ones((2, 3)), r"shape \(2, 2\); got \(2, 3\)"),
            ("weight_concentration_", np.ones(3), r"shape \(2,\); got \(3,\)"),
            ("weight_concentration_", [1.0, -1.0], "weight_concentration_ must be positive"),
        )
    ],
)
def test_attributes_that_are_none(fitted, X, cls, name, value, error, message):
    mixture = fitted(cls, "diag")
    setattr(mixture, name, value)
    for method in methods(mixture):
        with pytest.raises(error, match=message):
            method(X)


@pytest.mark.parametrize("cls", BOTH)
@pytest.mark.parametrize("covariance_type", TYPES)
def test_lists_in_place_of_arrays(fitted, X, cls, covariance_type):
    mixture = fitted(cls, covariance_type)
    changed = copy.copy(mixture)
    for name in ("weights_", "means_", "precisions_cholesky_", "covariances_"):
        setattr(changed, name, getattr(mixture, name).tolist())
    np.testing.assert_array_equal(changed.predict_proba(X), mixture.predict_proba(X))


@pytest.mark.parametrize(
    ("cls", "arguments", "name"),
    [
        *(
            (cls, {"covariance_type": kind, "reg_covar": 1e39}, "covariances_")
            for cls in BOTH
            for kind in TYPES
        ),
        *(
            (vbfast.BayesianGaussianMixture, arguments, name)
            for arguments, name in (
                ({"weight_concentration_prior": 1e300}, "weight_concentration_"),
                ({"mean_precision_prior": 1e100}, "mean_precision_"),
                ({"covariance_prior": 1e60 * np.eye(3)}, "covariances_"),
            )
        ),
    ],
)
def test_a_fit_whose_attributes_overflow_the_dtype_of_its_rows(X, cls, arguments, name):
    """No method would take infinities from a fit; in float64 they are numbers like others."""
    mixture = cls(2, random_state=0, tol=1e-1, **arguments)
    with pytest.raises(ValueError, match=f"{name} overflows float32, the dtype of X: pass float64"):
        mixture.fit(X.astype(np.float32))
    assert not hasattr(mixture, "means_")
    assert np.isfinite(mixture.fit(X).score(X))


@pytest.mark.parametrize("covariance_type", TYPES)
def test_precisions_beyond_float32_are_infinite(X, covariance_type):
    """Nothing is computed from them, and variances of 1e-42 are numbers."""
    small = (1e-21 * X).astype(np.float32)
    mixture = vbfast.GaussianMixture(
        1, covariance_type=covariance_type, reg_covar=0.0, random_state=0
    ).fit(small)
    assert not np.isfinite(mixture.precisions_).any()
    double = vbfast.GaussianMixture(
        1, covariance_type=covariance_type, reg_covar=0.0, random_state=0
    ).fit(small.astype(np.float64))
    np.testing.assert_allclose(mixture.score(small), double.score(small), rtol=1e-5)
