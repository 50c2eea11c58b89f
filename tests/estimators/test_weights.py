"""``sample_weight``: repeated rows, means over weights, and metadata routing."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vbfast.contract import COVARIANCE_TYPES
from vbfast.estimators import BayesianGaussianMixture, GaussianMixture

pytestmark = pytest.mark.kernels


def assert_same_mixture(one, other):
    np.testing.assert_allclose(one.lower_bounds_, other.lower_bounds_, rtol=1e-9, atol=1e-9)
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-8, atol=1e-8)


def fit_quietly(mixture, rows, **fit_params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(rows, **fit_params)


weights_of_40_rows = st.lists(st.integers(0, 4), min_size=40, max_size=40).filter(
    lambda weights: np.count_nonzero(weights) >= 3
)


@settings(max_examples=40, deadline=None)
@given(
    counts=weights_of_40_rows,
    covariance_type=st.sampled_from(COVARIANCE_TYPES),
    start=st.sampled_from(["given", "one component", "k-means++"]),
    dtype=st.sampled_from([np.float64, np.float32]),
)
def test_integer_weights_are_repeated_rows(counts, covariance_type, start, dtype):
    rows = np.random.default_rng(0).normal(size=(40, 2)).astype(dtype)
    repeated = np.repeat(rows, counts, axis=0)
    arguments = {"covariance_type": covariance_type, "reg_covar": 1e-2, "max_iter": 3, "tol": 0.0}
    if start == "given":
        arguments |= {
            "n_components": 2,
            "weights_init": [0.5, 0.5],
            "means_init": [[-1.0, 0.0], [1.0, 0.0]],
            "precisions_init": {
                "full": np.tile(np.eye(2), (2, 1, 1)),
                "tied": np.eye(2),
                "diag": np.ones((2, 2)),
                "spherical": np.ones(2),
            }[covariance_type],
        }
    elif start == "k-means++":
        arguments |= {"n_components": 3, "init_params": "k-means++", "random_state": 0}
    weighted = fit_quietly(GaussianMixture(**arguments), rows, sample_weight=counts)
    plain = fit_quietly(GaussianMixture(**arguments), repeated)
    if dtype == np.float64:
        assert_same_mixture(weighted, plain)
    else:
        np.testing.assert_allclose(weighted.lower_bounds_, plain.lower_bounds_, atol=1e-3)
        np.testing.assert_allclose(weighted.means_, plain.means_, atol=1e-3)
    tolerance = 1e-9 if dtype == np.float64 else 1e-4
    for method in ("score", "aic", "bic"):
        np.testing.assert_allclose(
            getattr(weighted, method)(rows, sample_weight=counts),
            getattr(weighted, method)(repeated),
            rtol=tolerance,
            atol=tolerance,
        )


def test_kmeans_start_of_weighted_rows_is_that_of_repeated_rows(clustered):
    rows = clustered[:150]
    counts = np.random.default_rng(1).integers(0, 4, size=150)
    arguments = {"n_components": 3, "random_state": 0, "max_iter": 5, "tol": 0.0}
    weighted = fit_quietly(GaussianMixture(**arguments), rows, sample_weight=counts)
    plain = fit_quietly(GaussianMixture(**arguments), np.repeat(rows, counts, axis=0))
    assert_same_mixture(weighted, plain)


def test_the_scale_of_the_weights_does_not_matter(clustered, given_start):
    arguments = {**given_start("full"), "max_iter": 5, "tol": 0.0}
    weight = np.random.default_rng(0).uniform(size=len(clustered))
    one = fit_quietly(GaussianMixture(**arguments), clustered, sample_weight=weight)
    other = fit_quietly(GaussianMixture(**arguments), clustered, sample_weight=8.0 * weight)
    assert_same_mixture(one, other)


def test_weighted_criteria(clustered):
    mixture = GaussianMixture(3, random_state=0).fit(clustered)
    weight = np.random.default_rng(0).uniform(size=len(clustered))
    log_evidence = mixture.score_samples(clustered)
    mean = np.average(log_evidence, weights=weight)
    total = weight.sum()
    free = mixture._n_parameters()
    assert mixture.score(clustered, sample_weight=weight) == pytest.approx(mean, rel=1e-12)
    assert mixture.aic(clustered, sample_weight=weight) == pytest.approx(
        -2 * total * mean + 2 * free, rel=1e-12
    )
    assert mixture.bic(clustered, sample_weight=weight) == pytest.approx(
        -2 * total * mean + np.log(total) * free, rel=1e-12
    )


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.zeros(600), "sample_weight"),
        (np.full(600, -1.0), "sample_weight"),
        (np.full(600, np.nan), "sample_weight"),
        (np.ones(599), "sample_weight"),
        (np.ones((600, 2)), "sample_weight"),
        (np.eye(1, 600)[0], "n_components = 2 rows of positive sample_weight but got 1"),
    ],
)
def test_bad_weights(clustered, weight, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(2, random_state=0).fit(clustered, sample_weight=weight)


def test_weights_reach_fit_and_score_through_routing(clustered):
    weight = np.random.default_rng(0).uniform(size=len(clustered))
    with sklearn.config_context(enable_metadata_routing=True):
        mixture = (
            GaussianMixture(2, random_state=0)
            .set_fit_request(sample_weight=True)
            .set_score_request(sample_weight=True)
        )
        scaler = StandardScaler().set_fit_request(sample_weight=True)
        pipeline = make_pipeline(scaler, mixture).fit(clustered, sample_weight=weight)
        scaled = StandardScaler().fit(clustered, sample_weight=weight).transform(clustered)
        direct = GaussianMixture(2, random_state=0).fit(scaled, sample_weight=weight)
        np.testing.assert_allclose(pipeline[-1].means_, direct.means_, atol=1e-9)
        assert pipeline.score(clustered, sample_weight=weight) == pytest.approx(
            direct.score(scaled, sample_weight=weight)
        )
        scores = cross_validate(mixture, clustered, params={"sample_weight": weight}, cv=3)
    assert np.isfinite(scores["test_score"]).all()


def test_weights_that_nobody_asked_for_are_an_error(clustered):
    with (
        sklearn.config_context(enable_metadata_routing=True),
        pytest.raises(sklearn.exceptions.UnsetMetadataPassedError),
    ):
        make_pipeline(GaussianMixture()).fit(clustered, sample_weight=np.ones(len(clustered)))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("scale", [1.0 / 600.0, 1e-20, 1e-300])
def test_the_scale_of_weights_does_not_matter(clustered, dtype, scale):
    """What is added to N_k and the threshold of empty components are for whole rows."""
    rows = (clustered + 1000.0).astype(dtype)
    mixture = GaussianMixture(4, covariance_type="diag", tol=1e-4, init_params=np.arange(600) % 4)
    mixture.fit(rows)
    means, bound = mixture.means_, mixture.lower_bound_
    mixture.fit(rows, sample_weight=np.full(600, scale))
    rtol = 1e-10 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(mixture.lower_bound_, bound, rtol=rtol)
    np.testing.assert_allclose(mixture.means_ - 1000.0, means - 1000.0, atol=100 * rtol)


@pytest.fixture
def skipped():
    """Weights of 600 rows, a quarter of them zero."""
    return np.random.default_rng(0).uniform(0.5, 2.0, size=600) * (np.arange(600) % 4 > 0)


@pytest.mark.parametrize("mixture", [GaussianMixture, BayesianGaussianMixture])
def test_the_bound_skips_responsibilities_of_zero_weight(clustered, skipped, mixture):
    fitted = mixture(3, random_state=0).fit(clustered)
    resp = fitted.predict_proba(clustered)
    resp[skipped == 0.0] = np.nan
    kept = skipped > 0.0
    terms = fitted.elbo(clustered, resp, skipped)
    alone = fitted.elbo(clustered[kept], resp[kept], skipped[kept])
    for name in ("elbo", "expected_log_joint", "entropy", "log_evidence"):
        np.testing.assert_allclose(getattr(terms, name), getattr(alone, name), rtol=1e-12)
    assert terms.kl < 1e-9
    resp[9] = [0.5, 0.6, 0.0]
    with pytest.raises(ValueError, match=r"row 9 has least entry 0\.0 and sum 1\.1"):
        fitted.elbo(clustered, resp, skipped)


@pytest.mark.parametrize("mixture", [GaussianMixture, BayesianGaussianMixture])
@pytest.mark.parametrize("by_label", [False, True])
def test_a_start_skips_responsibilities_of_zero_weight(clustered, skipped, mixture, by_label):
    start = np.arange(600) % 3 if by_label else np.eye(3)[np.arange(600) % 3]
    fits = []
    for value in (start[0], 3 if by_label else np.nan):
        start[skipped == 0.0] = value
        model = mixture(3, init_params=start.copy(), max_iter=5, tol=0.0)
        fits.append(fit_quietly(model, clustered, sample_weight=skipped))
    assert_same_mixture(*fits)
    start[1] = start[0]
    with pytest.raises(ValueError, match="row 1 has"):
        mixture(3, init_params=start).fit(clustered, sample_weight=skipped)


@pytest.mark.parametrize("mixture", [GaussianMixture, BayesianGaussianMixture])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rows_of_zero_weight_have_to_be_finite(clustered, skipped, mixture, value):
    fitted = mixture(2, random_state=0).fit(clustered, sample_weight=skipped)
    rows = clustered.copy()
    rows[8, 1] = value
    for method in (mixture(2).fit, fitted.score, fitted.elbo):
        with pytest.raises(ValueError, match="Input X contains"):
            method(rows, sample_weight=skipped)
