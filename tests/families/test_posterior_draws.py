"""Draws from a variational posterior: their densities by scipy, their moments by counting."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import betaln, digamma

from vbfast.contract import COVARIANCE_TYPES
from vbfast.families.covariances import precision_factor
from vbfast.families.mixing_weights import Dirichlet, StickBreaking
from vbfast.families.mixture_posterior import MixturePosterior
from vbfast.families.normal_wishart import NormalWishart
from vbfast.families.normal_wishart_prior import NormalWishartPrior
from vbfast.families.posterior_draws import draw_mixture

K, D = 3, 2
COUNTS = np.array([12.0, 0.0, 4.5])
all_types = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
both_priors = pytest.mark.parametrize("weights", [Dirichlet, StickBreaking])


def shaped(covariance_type, matrices):
    """Matrices of shape (..., D, D) on the covariance type's pattern."""
    diagonal = np.diagonal(matrices, axis1=-2, axis2=-1)
    return {
        "full": matrices,
        "tied": matrices[0] if matrices.ndim == 3 else matrices,
        "diag": diagonal.copy(),
        "spherical": diagonal.mean(axis=-1),
    }[covariance_type]


def matrix(covariance_type, values, k):
    values = values if covariance_type == "tied" else values[k]
    return values if np.ndim(values) == 2 else np.diag(np.broadcast_to(values, D))


def make_posterior(covariance_type, weights):
    rng = np.random.default_rng(0)
    square = rng.normal(size=(K, D, D))
    covariances = shaped(covariance_type, square @ square.swapaxes(1, 2) + np.eye(D))
    scale = np.array([[1.5, 0.4], [0.4, 0.8]])
    prior = NormalWishartPrior(
        covariance_type, 0.6, np.full(D, 0.3), D + 0.7, np.asarray(shaped(covariance_type, scale))
    )
    rows = COUNTS.mean() if covariance_type == "tied" else COUNTS
    components = NormalWishart(
        prior,
        0.6 + COUNTS,
        rng.normal(size=(K, D)),
        np.asarray(D + 0.7 + rows),
        covariances,
        precision_factor(covariance_type, covariances),
    )
    return MixturePosterior(weights.from_counts(0.7, COUNTS), components)


def log_density_of_weights(kind, log_weights, first, second):
    """Of the Dirichlet's weights, or of the sticks that they imply."""
    weights = np.exp(log_weights)
    if kind is Dirichlet:
        return stats.dirichlet.logpdf(weights / weights.sum(), first)
    remaining = 1.0 - np.append(0.0, np.cumsum(weights)[:-1])
    return stats.beta.logpdf(weights / remaining, first, second).sum()


@all_types
@both_priors
def test_the_ratio_of_prior_and_posterior_densities(covariance_type, weights):
    posterior = make_posterior(covariance_type, weights)
    components, prior = posterior.components, posterior.components.prior
    draw = draw_mixture(posterior, np.random.RandomState(1))
    precisions = draw.precision_cholesky @ draw.precision_cholesky.swapaxes(1, 2)
    if weights is Dirichlet:
        first, prior_first = posterior.weights.concentration, np.full(K, 0.7)
        expected = log_density_of_weights(weights, draw.log_weights, prior_first, None)
        expected -= log_density_of_weights(weights, draw.log_weights, first, None)
    else:
        first, second = posterior.weights.taken, posterior.weights.left
        expected = log_density_of_weights(weights, draw.log_weights, 1.0, 0.7)
        expected -= log_density_of_weights(weights, draw.log_weights, first, second)
    scale = prior.covariance if prior.covariance.ndim == 2 else np.eye(D) * prior.covariance
    for k in range(K):
        nu = np.broadcast_to(components.degrees_of_freedom, K)[k]
        for sign, degrees, inverse_scale, mean, precision in (
            (1.0, prior.degrees_of_freedom, scale, prior.mean, prior.mean_precision),
            (
                -1.0,
                nu,
                nu * matrix(covariance_type, components.covariances, k),
                components.means[k],
                components.mean_precision[k],
            ),
        ):
            expected += sign * stats.wishart.logpdf(
                precisions[k], degrees, np.linalg.inv(inverse_scale)
            )
            expected += sign * stats.multivariate_normal.logpdf(
                draw.means[k], mean, np.linalg.inv(precision * precisions[k])
            )
    np.testing.assert_allclose(draw.log_ratio, expected, rtol=1e-9)


@all_types
@both_priors
def test_draws_have_the_posteriors_moments(covariance_type, weights):
    posterior = make_posterior(covariance_type, weights)
    generator = np.random.RandomState(2)
    draws = [draw_mixture(posterior, generator) for _ in range(1500)]
    log_weights = np.array([draw.log_weights for draw in draws])
    error = stats.sem(log_weights, axis=0)
    assert np.all(np.abs(log_weights.mean(axis=0) - posterior.weights.expected_log) < 5 * error)
    factors = np.array([draw.precision_cholesky for draw in draws])
    assert np.all(np.tril(factors[0], -1) == 0.0)
    precisions = factors @ factors.swapaxes(-1, -2)
    log_det = np.linalg.slogdet(precisions)[1]
    expected_log_det = np.broadcast_to(posterior.components.expected_log_det, K)
    assert np.all(np.abs(log_det.mean(axis=0) - expected_log_det) < 5 * stats.sem(log_det, axis=0))
    means = np.array([draw.means for draw in draws])
    for k in range(K):
        expected = np.linalg.inv(matrix(covariance_type, posterior.components.covariances, k))
        deviation = np.abs(precisions[:, k].mean(axis=0) - expected)
        assert np.all(deviation < 5 * stats.sem(precisions[:, k], axis=0))
        centred = means[:, k] - posterior.components.means[k]
        distance = np.einsum("si,sij,sj->s", centred, precisions[:, k], centred)
        distance *= posterior.components.mean_precision[k]
        assert abs(distance.mean() - D) < 5 * stats.sem(distance)


def test_the_weights_of_small_concentrations_do_not_underflow():
    weights = Dirichlet(1e-4, np.array([1e-4, 1e-4, 5.0]))
    generator = np.random.RandomState(3)
    draws = np.array([weights.draw_log(generator) for _ in range(4000)])
    assert np.isfinite(draws).all()
    np.testing.assert_allclose(draws[:, 0].mean(), digamma(1e-4) - digamma(5.0002), rtol=0.1)
    assert weights.log_symmetry == pytest.approx(np.log(6.0))


def test_sticks_have_an_order():
    weights = StickBreaking.from_counts(1.0, np.array([3.0, 0.0]))
    assert weights.log_symmetry == 0.0
    np.testing.assert_allclose(weights.log_evidence, betaln(4, 1) + betaln(1, 1) - 2 * betaln(1, 1))


def test_the_log_joint_of_a_draw():
    draw = draw_mixture(make_posterior("diag", Dirichlet), np.random.RandomState(4))
    params = draw.log_joint()
    x = np.array([0.3, -0.2])
    for k in range(K):
        precision = draw.precision_cholesky[k] @ draw.precision_cholesky[k].T
        expected = draw.log_weights[k] + stats.multivariate_normal.logpdf(
            x, draw.means[k], np.linalg.inv(precision)
        )
        white = (x - params.form.centres[k]) @ params.form.precision_cholesky[k]
        np.testing.assert_allclose(params.offset[k] - 0.5 * white @ white, expected)


@all_types
def test_precisions_of_few_degrees_of_freedom_do_not_underflow(covariance_type):
    """Those of a component without rows: its posterior is its prior, and the ratio one."""
    scale = np.asarray(shaped(covariance_type, np.array([[1.5, 0.4], [0.4, 0.8]])))
    degrees = D - 1 + 1e-3
    prior = NormalWishartPrior(covariance_type, 0.6, np.full(D, 0.3), degrees, scale)
    covariances = scale / degrees
    if covariance_type != "tied":
        covariances = covariances[np.newaxis]
    components = NormalWishart(
        prior,
        np.full(1, 0.6),
        np.full((1, D), 0.3),
        np.asarray(degrees) if covariance_type == "tied" else np.full(1, degrees),
        covariances,
        precision_factor(covariance_type, covariances),
    )
    posterior = MixturePosterior(Dirichlet.from_counts(1.0, np.zeros(1)), components)
    generator = np.random.RandomState(5)
    for _ in range(200):
        draw = draw_mixture(posterior, generator)
        assert np.isfinite(draw.means).all()
        assert (np.diagonal(draw.precision_cholesky, axis1=1, axis2=2) > 0.0).all()
        np.testing.assert_allclose(draw.log_ratio, 0.0, atol=1e-11)
