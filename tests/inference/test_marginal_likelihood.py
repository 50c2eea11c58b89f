"""The importance-sampled marginal likelihood against exact ones."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.special import logsumexp

from vbfast.engine.config import config_context
from vbfast.engine.contract import COVARIANCE_TYPES
from vbfast.engine.rows import as_row_source
from vbfast.estimators import BayesianGaussianMixture
from vbfast.families.mixing_weights import Dirichlet, StickBreaking
from vbfast.families.normal_wishart import NormalWishartPrior
from vbfast.families.variational import MixturePrior
from vbfast.inference.initialisation import initial_statistics
from vbfast.inference.marginal_likelihood import importance_weights

all_types = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
both_priors = pytest.mark.parametrize("prior", ["dirichlet_process", "dirichlet_distribution"])


def fit(rows, n_components, covariance_type, prior, **arguments):
    mixture = BayesianGaussianMixture(
        n_components,
        covariance_type=covariance_type,
        weight_concentration_prior_type=prior,
        reg_covar=0.0,
        tol=1e-8,
        max_iter=2000,
        random_state=0,
        **arguments,
    )
    return mixture.fit(rows)


@pytest.fixture
def rows(rng):
    return rng.normal(size=(40, 2))


@both_priors
@pytest.mark.parametrize("covariance_type", ["full", "tied"])
def test_one_component_is_exact(rows, covariance_type, prior):
    mixture = fit(rows, 1, covariance_type, prior)
    estimate = mixture.log_marginal_likelihood(rows, n_draws=200)
    np.testing.assert_allclose(estimate.value, mixture.elbo_, rtol=1e-12)
    assert estimate.standard_error < 1e-9
    assert estimate.khat == -math.inf
    assert abs(estimate.kl_gap) < 1e-9
    assert estimate.log_symmetry == 0.0


@pytest.mark.parametrize("location", [0.0, 1e3])
def test_one_component_is_exact_to_single_precision(rng, location):
    """Rounding alone tells the weights apart, and is no tail."""
    rows = (rng.normal(size=(1000, 2)) + location).astype(np.float32)
    mixture = fit(rows, 1, "full", "dirichlet_distribution")
    estimate = mixture.log_marginal_likelihood(rows, n_draws=100)
    assert estimate.khat == -math.inf
    np.testing.assert_allclose(estimate.value, mixture.elbo_, rtol=1e-5)


@both_priors
@pytest.mark.parametrize("covariance_type", ["diag", "spherical"])
def test_a_restricted_posterior_estimates_the_evidence_of_the_model(rows, covariance_type, prior):
    """The type restricts q alone: with its prior the 'full' posterior is exact."""
    mixture = fit(rows, 1, covariance_type, prior)
    scale = np.eye(2) * mixture.covariance_prior_
    exact = fit(rows, 1, "full", prior, covariance_prior=scale).elbo_
    estimate = mixture.log_marginal_likelihood(rows, n_draws=1000)
    assert mixture.elbo_ < exact
    assert estimate.khat < 0.7
    assert abs(estimate.value - exact) < max(5 * estimate.standard_error, 0.05)


def test_the_standard_error_is_that_of_repetitions(rows):
    mixture = fit(rows, 1, "diag", "dirichlet_process")
    exact = fit(
        rows, 1, "full", "dirichlet_process", covariance_prior=np.diag(mixture.covariance_prior_)
    ).elbo_
    with config_context(num_threads=1):
        estimates = [mixture.log_marginal_likelihood(rows, 150, random_state=s) for s in range(15)]
    errors = np.array([(e.value - exact) / e.standard_error for e in estimates])
    assert abs(errors.mean()) < 0.9
    assert 0.5 < errors.std(ddof=1) < 1.8
    assert np.median([estimate.khat for estimate in estimates]) < 0.5


def log_evidence(rows, n_components, prior):
    """The sum over all assignments: hard ones have exact evidences."""
    source, kind = as_row_source(rows), prior.components.covariance_type
    terms = []
    for labels in itertools.product(range(n_components), repeat=len(rows)):
        labels = np.array(labels)
        statistics = initial_statistics(
            source, n_components=n_components, covariance_type=kind, init_params=labels
        )
        posterior = prior.posterior(statistics, reg_covar=0.0)
        components, before = posterior.components, prior.components
        ratio = before.mean_precision / components.mean_precision
        n, d = rows.shape
        value = posterior.weights.log_evidence - 0.5 * n * d * math.log(2 * math.pi)
        # Ratios of the normalisers of posteriors and prior (Murphy 2012, eq. 4.234).
        value += (before.log_normaliser - components.log_normaliser).sum()
        terms.append(value + 0.5 * d * np.log(ratio).sum())
    return logsumexp(terms)


@pytest.mark.parametrize("weights", [Dirichlet, StickBreaking])
@pytest.mark.parametrize("trust", [0.0, 0.3])
def test_two_components_against_the_sum_over_all_assignments(weights, trust):
    """Proposals broader than the posterior, down to the prior, whose weights have a variance."""
    rows = np.array([[-1.0], [-0.4], [0.9], [1.3]])
    prior = MixturePrior(
        weights, 0.8, NormalWishartPrior("full", 0.6, np.zeros(1), 3.0, np.array([[2.0]]))
    )
    source = as_row_source(rows)
    statistics = initial_statistics(
        source,
        n_components=2,
        covariance_type="full",
        init_params=np.array([[0.7, 0.3], [0.6, 0.4], [0.4, 0.6], [0.3, 0.7]]),
        sample_weight=np.full(4, trust + 1e-12),
    )
    proposal = prior.posterior(statistics, reg_covar=0.0)
    generator = np.random.RandomState(0)
    weighed = importance_weights(source, proposal, 3000, generator)
    value, error = weighed.log_mean()
    assert weighed.khat < 0.7
    assert error < 0.06
    assert abs(value - log_evidence(rows, 2, prior)) < 5 * error


def apart(mean_precision_prior):
    """Eight rows in two groups far from each other, a fit, and the exact evidence."""
    rows = np.random.default_rng(5).normal(size=(8, 1))
    rows[4:] += 8.0
    mixture = fit(
        rows, 2, "full", "dirichlet_distribution", covariance_prior=[[1.0]],
        degrees_of_freedom_prior=4.0, mean_precision_prior=mean_precision_prior,
    )  # fmt: skip
    posterior = mixture._posterior()
    prior = MixturePrior(
        Dirichlet, posterior.weights.prior_concentration, posterior.components.prior
    )
    return rows, mixture, log_evidence(rows, 2, prior)


def test_well_separated_components_miss_the_symmetric_modes():
    rows, mixture, exact = apart(0.03)
    estimate = mixture.log_marginal_likelihood(rows, n_draws=1000)
    assert estimate.log_symmetry == pytest.approx(math.log(2.0))
    assert abs(estimate.value + estimate.log_symmetry - exact) < 0.1
    assert mixture.elbo_ < estimate.value < exact
    assert "may lack up to 0.6931 nats by symmetric modes" in repr(estimate)


def test_khat_does_not_see_the_modes_that_q_misses():
    """The symmetric one has 0.27 of the mass, the two with all rows in one component 0.42."""
    rows, mixture, exact = apart(1.0)
    estimate = mixture.log_marginal_likelihood(rows, n_draws=1000, random_state=2)
    assert estimate.khat < 0.7
    assert estimate.standard_error < 0.01
    assert exact - estimate.value > 1.2


def test_equal_weights_are_equal_in_any_units():
    """In some unit log p(x) is about zero; the sums over the rows, and their rounding, are not."""
    rows = np.random.default_rng(5).normal(size=(200, 1))
    rows[100:] += 13.0
    first = fit(rows, 2, "full", "dirichlet_distribution", mean_precision_prior=0.1)
    scale = math.exp(first.log_marginal_likelihood(rows, 50, random_state=0).value / len(rows))
    mixture = fit(rows * scale, 2, "full", "dirichlet_distribution", mean_precision_prior=0.1)
    estimate = mixture.log_marginal_likelihood(rows * scale, 1000, random_state=0)
    assert abs(estimate.value) < 1e-6
    assert 0.0 < estimate.standard_error < 1e-10
    assert estimate.khat == -math.inf


@all_types
def test_weights_count_as_repeated_rows(rng, rows, covariance_type):
    weight = rng.integers(0, 3, size=len(rows))
    mixture = fit(rows, 2, covariance_type, "dirichlet_process")
    left = mixture.log_marginal_likelihood(rows, 50, random_state=1, sample_weight=weight)
    right = mixture.log_marginal_likelihood(np.repeat(rows, weight, axis=0), 50, random_state=1)
    np.testing.assert_allclose(left.value, right.value, rtol=1e-10)


def test_the_same_seed_gives_the_same_estimate(rows):
    mixture = fit(rows, 2, "full", "dirichlet_process")
    estimates = [mixture.log_marginal_likelihood(rows, 30, random_state=7) for _ in range(2)]
    assert estimates[0] == estimates[1]
    assert mixture.log_marginal_likelihood(rows, 30, random_state=8) != estimates[0]


@pytest.mark.parametrize("n_draws", [24, 0])
def test_too_few_draws(rows, n_draws):
    mixture = fit(rows, 1, "full", "dirichlet_process")
    with pytest.raises(ValueError, match="n_draws"):
        mixture.log_marginal_likelihood(rows, n_draws)


def test_rows_that_are_not_finite(rows):
    mixture = fit(rows, 1, "full", "dirichlet_process")
    rows = rows.copy()
    rows[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        mixture.log_marginal_likelihood(rows)
