"""The bound against the exact marginal likelihood, and how the pieces go together."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.special import betaln, logsumexp, multigammaln

from vbfast.contract import COVARIANCE_TYPES, Request
from vbfast.families.covariances import MOMENTS_OF
from vbfast.families.mixing_weights import Dirichlet, StickBreaking
from vbfast.families.mixture_posterior import MixturePrior
from vbfast.families.normal_wishart_prior import NormalWishartPrior
from vbfast.families.variational import VariationalGaussian
from vbfast.inference.em import Stopping, run_em
from vbfast.inference.initialisation import initial_statistics
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner

D = 2
all_types = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
both_priors = pytest.mark.parametrize("weights", [Dirichlet, StickBreaking])


def mixture_prior(covariance_type, weights, n_features=D):
    scale = np.array([[1.5, 0.4], [0.4, 0.8]])[:n_features, :n_features]
    covariance = {
        "full": scale,
        "tied": scale,
        "diag": np.diag(scale).copy(),
        "spherical": np.asarray(1.2),
    }[covariance_type]
    components = NormalWishartPrior(
        covariance_type, 0.6, np.full(n_features, 0.3), n_features + 0.7, covariance
    )
    return MixturePrior(weights, 0.8, components)


def log_normal_wishart_evidence(rows, prior):
    """log p(rows) of one component, mean and precision integrated out (Murphy 2007, eq. 266)."""
    n, d = rows.shape
    inverse_scale = prior.covariance
    if inverse_scale.ndim < 2:
        inverse_scale = np.diag(np.broadcast_to(inverse_scale, d))
    beta, nu = prior.mean_precision + n, prior.degrees_of_freedom + n
    mean = (prior.mean_precision * prior.mean + rows.sum(axis=0)) / beta
    posterior = inverse_scale + (rows - mean).T @ (rows - mean)
    posterior = posterior + prior.mean_precision * np.outer(mean - prior.mean, mean - prior.mean)
    return (
        -0.5 * n * d * math.log(math.pi)
        + multigammaln(0.5 * nu, d)
        - multigammaln(0.5 * prior.degrees_of_freedom, d)
        + 0.5 * prior.degrees_of_freedom * np.linalg.slogdet(inverse_scale)[1]
        - 0.5 * nu * np.linalg.slogdet(posterior)[1]
        + 0.5 * d * math.log(prior.mean_precision / beta)
    )


def log_marginal_likelihood(rows, n_components, prior):
    """The sum over all assignments, each with its exact probability."""
    terms = []
    for labels in itertools.product(range(n_components), repeat=len(rows)):
        labels = np.array(labels)
        counts = np.bincount(labels, minlength=n_components).astype(float)
        log_joint = prior.weights.from_counts(prior.weight_concentration, counts).log_evidence
        for k in range(n_components):
            log_joint += log_normal_wishart_evidence(rows[labels == k], prior.components)
        terms.append(log_joint)
    return logsumexp(terms)


def climb(rows, n_components, prior, *, resp=None, tol=1e-12, max_iter=500, reg_covar=0.0):
    runner = LocalRunner(as_row_source(rows))
    if resp is None:
        resp = np.random.default_rng(0).dirichlet(np.ones(n_components), size=len(rows))
    statistics = initial_statistics(
        runner,
        n_components=n_components,
        moments=MOMENTS_OF[prior.components.covariance_type],
        init_params=resp,
    )
    start = prior.posterior(statistics, reg_covar=reg_covar)
    return run_em(runner, start, VariationalGaussian(prior, reg_covar), Stopping(tol, max_iter))


@all_types
@both_priors
@pytest.mark.parametrize("n_features", [1, 2])
def test_the_bound_never_exceeds_the_exact_marginal_likelihood(
    covariance_type, weights, n_features
):
    prior = mixture_prior(covariance_type, weights, n_features)
    for seed, n_samples in ((0, 1), (1, 3), (2, 6)):
        rng = np.random.default_rng(seed)
        rows = rng.normal(scale=2.0, size=(n_samples, n_features))
        exact = log_marginal_likelihood(rows, 2, prior)
        for start in range(3):
            resp = np.random.default_rng(start).dirichlet(np.ones(2), size=n_samples)
            bounds = climb(rows, 2, prior, resp=resp).lower_bounds
            assert max(bounds) < exact
            assert max(bounds) > exact - 10.0


@all_types
@both_priors
@pytest.mark.parametrize("n_features", [1, 2])
def test_with_one_component_it_is_the_marginal_likelihood(covariance_type, weights, n_features):
    prior = mixture_prior(covariance_type, weights, n_features)
    rows = np.random.default_rng(3).normal(size=(6, n_features))
    exact = log_marginal_likelihood(rows, 1, prior)
    closed = log_normal_wishart_evidence(rows, prior.components)
    if weights is StickBreaking:
        closed += betaln(1 + len(rows), 0.8) - betaln(1, 0.8)
    np.testing.assert_allclose(exact, closed, rtol=1e-13)
    bound = climb(rows, 1, prior).lower_bound
    if n_features == 1 or covariance_type in ("full", "tied"):
        np.testing.assert_allclose(bound, exact, rtol=1e-12)
    else:  # the exact posterior has another scale matrix than the type allows
        assert exact - 5.0 < bound < exact


@all_types
@both_priors
@pytest.mark.parametrize("reg_covar", [0.0, 0.05])
def test_the_bound_is_the_sum_of_its_terms(covariance_type, weights, reg_covar):
    """Σ r l − Σ r log r − KL(q(π)) − Σ KL(q(μ, Λ)), from the responsibilities themselves."""
    prior = mixture_prior(covariance_type, weights)
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(80, D)) + 3 * rng.integers(2, size=(80, 1))
    result = climb(rows, 3, prior, max_iter=4, reg_covar=reg_covar)
    runner, objective = LocalRunner(as_row_source(rows)), VariationalGaussian(prior, reg_covar)
    before = result.parameters
    sums = runner.run(before.log_joint(), Request(moments=objective.moments))
    after = objective.global_step(sums, before, runner.linalg)

    def log_joint(posterior):
        params = posterior.log_joint()
        result = np.empty((len(rows), 3))
        for k in range(3):
            factor = params.form.precision_cholesky
            factor = factor if covariance_type == "tied" else factor[k]
            difference = rows - params.form.centres[k]
            whitened = difference @ factor if np.ndim(factor) == 2 else difference * factor
            result[:, k] = params.offset[k] - 0.5 * np.square(whitened).sum(axis=1)
        return result

    log_resp = log_joint(before)
    log_resp -= logsumexp(log_resp, axis=1, keepdims=True)
    resp = np.exp(log_resp)
    expected = (resp * (log_joint(after) - log_resp)).sum()
    expected -= after.weights.kl + after.components.kl.sum()
    bound = objective.lower_bound(sums, before, after)
    np.testing.assert_allclose(bound, expected, rtol=1e-12)


@all_types
@both_priors
def test_the_bound_never_falls(covariance_type, weights):
    prior = mixture_prior(covariance_type, weights)
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(400, D)) + 4 * rng.integers(3, size=(400, 1))
    result = climb(rows, 6, prior, tol=0.0, max_iter=300)
    sums = LocalRunner(as_row_source(rows)).run(
        result.parameters.log_joint(),
        Request(entropy=True),
    )
    terms = abs(sums.expected_log_joint) + sums.entropy + result.parameters.weights.kl
    terms += result.parameters.components.kl.sum()
    assert np.diff(result.lower_bounds).min() >= -1e-12 * terms


@pytest.mark.parametrize("location", [0.0, 1e3])
def test_the_bound_never_falls_where_covariances_are_next_to_singular(location):
    """Condition number 1e8: the log-determinants of the covariances are known to 1e-10."""
    rng = np.random.default_rng(1)
    rotation = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    rows = rng.normal(size=(1000, 4)) + 2 * rng.normal(size=(3, 4))[rng.integers(3, size=1000)]
    rows = rows * np.logspace(0, -4, 4) @ rotation.T + location
    components = NormalWishartPrior("full", 1.0, rows.mean(axis=0), 4.0, np.cov(rows.T))
    prior = MixturePrior(Dirichlet, 0.3, components)
    result = climb(rows, 3, prior, tol=0.0, max_iter=150)
    sums = LocalRunner(as_row_source(rows)).run(
        result.parameters.log_joint(), Request(entropy=True)
    )
    terms = abs(sums.expected_log_joint) + sums.entropy + result.parameters.weights.kl
    terms += result.parameters.components.kl.sum()
    assert np.diff(result.lower_bounds).min() >= -1e-13 * terms


def test_threshold_is_scikit_learns_up_to_a_thousand_rows():
    objective = VariationalGaussian(mixture_prior("diag", Dirichlet), 0.0)
    assert objective.threshold(1e-3, 10.0) == 1e-3
    assert objective.threshold(1e-3, 1000.0) == 1e-3
    assert objective.threshold(1e-3, 5e6) == 5.0


@all_types
def test_active_components_and_the_posterior_of_some(covariance_type):
    prior = mixture_prior(covariance_type, StickBreaking)
    rows = np.random.default_rng(6).normal(size=(50, D))
    labels = np.repeat([0, 2], 25)
    statistics = initial_statistics(
        LocalRunner(as_row_source(rows)),
        n_components=4,
        moments=MOMENTS_OF[covariance_type],
        init_params=labels,
    )
    posterior = prior.posterior(statistics, reg_covar=0.0)
    np.testing.assert_array_equal(posterior.active, [True, False, True, False])
    kept = posterior.restricted_to(posterior.active)
    np.testing.assert_array_equal(kept.weights.counts, [25.0, 25.0])
    np.testing.assert_array_equal(kept.components.means, posterior.components.means[[0, 2]])
    assert kept.log_joint().n_components == 2
