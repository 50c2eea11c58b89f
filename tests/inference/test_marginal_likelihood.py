"""The importance-sampled marginal likelihood against exact ones."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.special import logsumexp

from vbfast.config.settings import config_context
from vbfast.contract import COVARIANCE_TYPES, NonFiniteRowError
from vbfast.estimators import BayesianGaussianMixture
from vbfast.families.covariances import MOMENTS_OF
from vbfast.families.mixing_weights import Dirichlet, StickBreaking
from vbfast.families.mixture_posterior import MixturePrior
from vbfast.families.normal_wishart_prior import NormalWishartPrior
from vbfast.inference.initialisation import initial_statistics
from vbfast.inference.marginal_likelihood import default_draws, importance_weights
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner

all_types = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
both_priors = pytest.mark.parametrize("prior", ["dirichlet_process", "dirichlet_distribution"])


def fit(rows, n_components, covariance_type, prior, **arguments):
    mixture = BayesianGaussianMixture(
        n_components,
        covariance_type=covariance_type,
        weight_concentration_prior_type=prior,
        reg_covar=0.0,
        max_iter=2000,
        random_state=0,
        **{"tol": 1e-8, **arguments},
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
    # The bound is a sum of numbers in single precision, and steps by what they round to.
    mixture = fit(rows, 1, "full", "dirichlet_distribution", tol=1e-3)
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


@both_priors
@pytest.mark.parametrize("covariance_type", ["diag", "spherical"])
def test_the_gap_is_that_of_the_bound(rows, covariance_type, prior):
    """Of rows with a correlation of 0.2, which the posterior does not have: 0.8 nats."""
    rows = rows - rows.mean(axis=0)
    rows = np.linalg.qr(rows)[0] @ np.array([[1.0, 0.2], [0.0, math.sqrt(1.0 - 0.2**2)]]) * 6.0
    mixture = fit(rows, 1, covariance_type, prior)
    scale = np.eye(2) * mixture.covariance_prior_
    gap = fit(rows, 1, "full", prior, covariance_prior=scale).elbo_ - mixture.elbo(rows).total
    estimate = mixture.log_marginal_likelihood(rows, n_draws=1000, random_state=0)
    assert 0.7 < gap < 0.9
    assert abs(estimate.kl_gap - gap) < 0.2


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


def log_evidence_of(labels, rows, prior, n_components=None):
    """Of one assignment, which is exact."""
    n_components = labels.max() + 1 if n_components is None else n_components
    statistics = initial_statistics(
        LocalRunner(as_row_source(rows)),
        n_components=n_components,
        moments=MOMENTS_OF[prior.components.covariance_type],
        init_params=labels,
    )
    posterior = prior.posterior(statistics, reg_covar=0.0)
    components, before = posterior.components, prior.components
    ratio = before.mean_precision / components.mean_precision
    n, d = rows.shape
    value = posterior.weights.log_evidence - 0.5 * n * d * math.log(2 * math.pi)
    # Ratios of the normalisers of posteriors and prior (Murphy 2012, eq. 4.234).
    value += (before.log_normaliser - components.log_normaliser).sum()
    return value + 0.5 * d * np.log(ratio).sum()


def log_evidence(rows, n_components, prior):
    """The sum over all assignments."""
    return logsumexp(
        [
            log_evidence_of(np.array(labels), rows, prior, n_components)
            for labels in itertools.product(range(n_components), repeat=len(rows))
        ]
    )


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
        LocalRunner(source, np.full(4, trust + 1e-12)),
        n_components=2,
        moments="full",
        init_params=np.array([[0.7, 0.3], [0.6, 0.4], [0.4, 0.6], [0.3, 0.7]]),
    )
    proposal = prior.posterior(statistics, reg_covar=0.0)
    generator = np.random.RandomState(0)
    weighed = importance_weights(LocalRunner(source), proposal, 3000, generator)
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
    posterior = mixture._fitted_parameters()
    prior = MixturePrior(
        Dirichlet, posterior.weights.prior_concentration, posterior.components.prior
    )
    return rows, mixture, log_evidence(rows, 2, prior)


def test_well_separated_components_miss_the_symmetric_modes():
    rows, mixture, exact = apart(0.03)
    estimate = mixture.log_marginal_likelihood(rows, n_draws=1000)
    assert estimate.log_symmetry == pytest.approx(math.log(2.0))
    assert abs(estimate.value + estimate.log_symmetry - exact) < 0.1
    gap = exact - mixture.elbo(rows).total
    assert abs(estimate.kl_gap + estimate.log_symmetry - gap) < 0.1
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
    np.testing.assert_allclose(left.kl_gap, right.kl_gap, rtol=1e-8)


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


@both_priors
@pytest.mark.parametrize("n_components", [2, 3, 4])
def test_no_claim_to_be_exact_of_separated_components(n_components, prior):
    """What is missing are the modes with the components in another order: exactly known here."""
    rng = np.random.default_rng(1)
    means = 60.0 * np.arange(n_components)
    rows = np.concatenate([rng.normal(size=(12, 1)) + mean for mean in means])
    mixture = BayesianGaussianMixture(
        n_components,
        weight_concentration_prior_type=prior,
        covariance_prior=[[1.0]],
        degrees_of_freedom_prior=4.0,
        mean_precision_prior=1e-4,
        reg_covar=0.0,
        init_params=np.repeat(np.arange(n_components), 12),
        tol=1e-10,
        max_iter=1000,
    ).fit(rows)
    estimate = mixture.log_marginal_likelihood(rows, random_state=0)
    assert "value exact" not in repr(estimate)
    missing = math.lgamma(n_components + 1)
    assert f"{missing:.4g} nats" in estimate.advice
    # One sequence of labels has all the mass but for its orders, which are alike.
    posterior = mixture._fitted_parameters()
    labels = np.repeat(np.arange(n_components), 12)
    exact = log_evidence_of(labels, rows, posterior.prior) + missing
    np.testing.assert_allclose(estimate.value + missing, exact, atol=0.02)


class ReadRows:
    """Rows that count how often they are read."""

    def __init__(self, rows):
        self.rows, self.read = rows, 0
        self.shape, self.dtype = rows.shape, rows.dtype

    def __getitem__(self, index):
        taken = self.rows[index]
        self.read += len(taken)
        return taken

    def __len__(self):
        return len(self.rows)


def weights_of(rows, posterior, n_draws):
    runner = LocalRunner(as_row_source(rows))
    return importance_weights(runner, posterior, n_draws, np.random.RandomState(0))


@pytest.mark.parametrize("n_components", [2, 30, 150])
def test_rows_are_read_few_times(rng, n_components):
    rows = rng.normal(size=(600, 2))
    mixture = BayesianGaussianMixture(n_components, random_state=0, max_iter=2, tol=1e9).fit(rows)
    posterior, read = mixture._fitted_parameters(), ReadRows(rows)
    found = weights_of(read, posterior, 60)
    assert read.read == len(rows)
    expected = weights_of(rows, posterior, 60)
    np.testing.assert_array_equal(found.log_weights, expected.log_weights)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("weighted", [False, True])
def test_draws_that_share_a_pass_are_those_by_themselves(rng, monkeypatch, dtype, weighted):
    """Over several blocks of rows and several reads, with draws held in parts."""
    rows = (rng.normal(size=(700, 2)) + 4 * rng.integers(2, size=(700, 1))).astype(dtype)
    weight = rng.integers(0, 3, size=700).astype(float) if weighted else None
    posterior = (
        BayesianGaussianMixture(3, random_state=0, max_iter=300).fit(rows)._fitted_parameters()
    )

    def weights(**sizes):
        for name, value in sizes.items():
            monkeypatch.setattr(f"vbfast.inference.marginal_likelihood.{name}", value)
        return importance_weights(
            LocalRunner(as_row_source(rows), weight), posterior, 40, np.random.RandomState(3)
        ).log_weights

    together = weights()
    alone = weights(COMPONENTS_TOGETHER=1)
    in_parts = weights(
        COMPONENTS_TOGETHER=14, ROWS_TOGETHER=64, READ_BYTES=3000, HELD_BYTES=8 * 3 * 3 * 6 * 11
    )
    tolerance = 1e-11 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(together, alone, rtol=tolerance)
    np.testing.assert_allclose(in_parts, alone, rtol=tolerance)


def test_a_row_that_is_not_finite_is_named_in_any_block(rng, monkeypatch):
    monkeypatch.setattr("vbfast.inference.marginal_likelihood.ROWS_TOGETHER", 64)
    monkeypatch.setattr("vbfast.inference.marginal_likelihood.READ_BYTES", 3000)
    rows = rng.normal(size=(700, 2))
    posterior = (
        BayesianGaussianMixture(2, random_state=0, max_iter=0).fit(rows)._fitted_parameters()
    )
    rows[431, 1] = np.inf
    with pytest.raises(NonFiniteRowError, match="row 431 "):
        weights_of(rows, posterior, 30)


def test_the_default_number_of_draws_goes_with_the_work(rows):
    numbers = [default_draws(N, 20, 8) for N in (10, 10_000, 100_000, 10**9)]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[-1] == 200
    assert numbers[0] > 200
    mixture = fit(rows, 1, "full", "dirichlet_process")
    estimate = mixture.log_marginal_likelihood(rows, random_state=0)
    assert estimate.n_draws == default_draws(len(rows), 1, 2) >= 200
