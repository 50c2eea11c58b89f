"""Weights of rows that come in batches, and how many rows they stand for."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from streams import all_types, batches, both_mixtures, gaussian_family, learned
from vbfast import BayesianGaussianMixture, GaussianMixture

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:total_samples is None"),
]


@both_mixtures
def test_integer_weights_are_repetitions(make):
    rng = np.random.default_rng(1)
    rows = list(batches(3, 100))
    weights = [rng.integers(0, 4, size=100) for _ in rows]
    given = {"init_params": np.repeat([0, 1, 2, 0], 25)}
    weighted, repeated = (make(3, random_state=0, total_samples=500.0) for _ in range(2))
    for index, (batch, weight) in enumerate(zip(rows, weights, strict=True)):
        for mixture in (weighted, repeated):
            labels = given["init_params"]
            start = labels if mixture is weighted else np.repeat(labels, weight)
            mixture.set_params(init_params=start if index == 0 else "kmeans")
        weighted.partial_fit(batch, sample_weight=weight)
        repeated.partial_fit(np.repeat(batch, weight, axis=0))
    np.testing.assert_allclose(weighted.means_, repeated.means_, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(weighted.covariances_, repeated.covariances_, rtol=1e-8, atol=1e-9)
    assert weighted.n_samples_seen_ == repeated.n_samples_seen_ == sum(w.sum() for w in weights)


@both_mixtures
def test_the_scale_of_a_batchs_weights_does_not_matter(make):
    one, other = (make(3, random_state=0, total_samples=1000.0) for _ in range(2))
    for count, batch in enumerate(batches(3, 200)):
        one.partial_fit(batch, sample_weight=np.ones(200))
        other.partial_fit(batch, sample_weight=np.full(200, 2.0**count))
    np.testing.assert_allclose(one.means_, other.means_, rtol=1e-9)
    np.testing.assert_allclose(one.covariances_, other.covariances_, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("make", [GaussianMixture, gaussian_family])
@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e-17])
def test_weights_may_be_tiny(make, scale):
    one, tiny = (make(3, random_state=0) for _ in range(2))
    for batch in batches(3, 200):
        one.partial_fit(batch)
        tiny.partial_fit(batch, sample_weight=np.full(200, scale))
    np.testing.assert_allclose(tiny.means_, one.means_, rtol=1e-9)
    np.testing.assert_allclose(tiny.covariances_, one.covariances_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(tiny.lower_bounds_, one.lower_bounds_, rtol=1e-12)
    assert tiny.n_samples_seen_ == pytest.approx(600 * scale)


def test_weights_that_sum_to_one_keep_small_components():
    """float32 has a thousand epsilon at 1.2e-4 of the weight."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50_000, 1)).astype(np.float32)
    rows[:4] += 100.0
    start = {"weights_init": [0.5, 0.5], "means_init": [[0.0], [90.0]], "precisions_init": [1, 1]}
    one, other = (GaussianMixture(2, covariance_type="spherical", **start) for _ in range(2))
    one.partial_fit(rows)
    other.partial_fit(rows, sample_weight=1 / len(rows))
    np.testing.assert_allclose(other.means_, one.means_, rtol=1e-5, atol=1e-6)
    assert one.means_[1] == pytest.approx(rows[:4].mean(), rel=1e-5)


@all_types
def test_total_samples_do_not_matter_for_maximum_likelihood(covariance_type):
    one, few = (
        learned(
            GaussianMixture(
                3, covariance_type=covariance_type, random_state=0, total_samples=total
            ),
            batches(3, 200),
        )
        for total in (None, 1e-20)
    )
    np.testing.assert_allclose(few.means_, one.means_, rtol=1e-9)
    np.testing.assert_allclose(few.covariances_, one.covariances_, rtol=1e-9, atol=1e-12)


def test_a_bayesian_mixture_says_once_what_the_prior_is_weighed_against():
    rows = list(batches(2, 100))
    mixture = BayesianGaussianMixture(3, random_state=0)
    with pytest.warns(UserWarning, match="total_samples is None: the prior is weighed") as caught:
        learned(mixture, rows)
    assert [warning.filename for warning in caught] == [learned.__code__.co_filename]
    with pytest.warns(UserWarning, match="total_samples is None"):
        BayesianGaussianMixture(3, random_state=0).initialize(rows[0]).partial_fit(rows[1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learned(BayesianGaussianMixture(3, random_state=0, total_samples=200.0), rows)
        learned(GaussianMixture(3, random_state=0), rows)
        BayesianGaussianMixture(3, random_state=0, tol=10.0).fit(rows[0]).partial_fit(rows[1])
