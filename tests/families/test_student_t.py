from __future__ import annotations

from dataclasses import replace

import mpmath
import numpy as np
import pytest
from scipy import stats

from vbfast.contract import COVARIANCE_TYPES
from vbfast.families.covariances import precision_factor
from vbfast.families.normal_wishart import NormalWishart
from vbfast.families.normal_wishart_prior import NormalWishartPrior
from vbfast.families.student_t import StudentT

D, K = 3, 2
all_types = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)


def posterior_of(covariance_type):
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(K, D, D))
    full = factors @ factors.swapaxes(1, 2) + np.eye(D)
    covariances = {
        "full": full,
        "tied": full[0],
        "diag": np.diagonal(full, axis1=1, axis2=2).copy(),
        "spherical": full[:, 0, 0].copy(),
    }[covariance_type]
    prior = NormalWishartPrior(covariance_type, 1.0, np.zeros(D), 3.0, np.asarray(1.0))
    return NormalWishart(
        prior,
        np.array([0.4, 7.0]),
        rng.normal(size=(K, D)),
        np.asarray(5.5) if covariance_type == "tied" else np.array([2.25, 12.0]),
        covariances,
        precision_factor(covariance_type, covariances),
    )


def matrices(posterior):
    """``(nu_k W_k)^-1`` as K full matrices."""
    kind, values = posterior.prior.covariance_type, posterior.covariances
    if kind in ("full", "tied"):
        return np.broadcast_to(values, (K, D, D))
    return np.array([np.diag(np.broadcast_to(value, D)) for value in values])


def log_density(posterior, k, rows):
    precision = np.linalg.inv(matrices(posterior)[k])
    difference = rows - posterior.means[k]
    half_distance = -0.5 * np.einsum("ni,ij,nj->n", difference, precision, difference)
    of_all = np.repeat(half_distance[:, np.newaxis], K, axis=1)
    return StudentT.from_posterior(posterior).log_density(of_all)[:, k]


@all_types
def test_density_is_scipys(covariance_type):
    posterior = posterior_of(covariance_type)
    rows = np.random.default_rng(1).normal(scale=10.0, size=(50, D))
    for k in range(K):
        nu = float(np.broadcast_to(posterior.degrees_of_freedom, K)[k])
        beta = posterior.mean_precision[k]
        scale = np.linalg.inv(matrices(posterior)[k]) / nu
        degrees = nu + 1 - D
        shape = np.linalg.inv(degrees * beta / (1 + beta) * scale)
        expected = stats.multivariate_t(posterior.means[k], shape, degrees).logpdf(rows)
        np.testing.assert_allclose(log_density(posterior, k, rows), expected, rtol=1e-12)


@all_types
def test_density_is_the_average_over_the_posterior(covariance_type):
    posterior = posterior_of(covariance_type)
    rng = np.random.default_rng(2)
    rows = posterior.means[1] + rng.normal(scale=2.0, size=(4, D))
    nu = float(np.broadcast_to(posterior.degrees_of_freedom, K)[1])
    precisions = stats.wishart(nu, np.linalg.inv(matrices(posterior)[1]) / nu).rvs(
        40_000, random_state=rng
    )
    # A row's spread about the posterior mean is that of the mean and its own.
    widened = precisions / (1 + 1 / posterior.mean_precision[1])
    differences = rows - posterior.means[1]
    quadratic = np.einsum("ni,sij,nj->sn", differences, widened, differences)
    log_det = np.linalg.slogdet(widened)[1][:, np.newaxis]
    densities = np.exp(0.5 * (log_det - quadratic - D * np.log(2 * np.pi)))
    error = densities.std(axis=0) / np.sqrt(len(densities))
    difference = np.exp(log_density(posterior, 1, rows)) - densities.mean(axis=0)
    assert np.all(np.abs(difference) < 5 * error)


def test_many_degrees_of_freedom_are_a_normal_density():
    posterior = posterior_of("diag")
    sure = NormalWishart(
        posterior.prior,
        np.full(K, 1e9),
        posterior.means,
        np.full(K, 1e9),
        posterior.covariances,
        posterior.precision_cholesky,
    )
    rows = sure.means[0] + np.random.default_rng(3).normal(size=(20, D))
    expected = stats.multivariate_normal(sure.means[0], np.diag(sure.covariances[0])).logpdf(rows)
    np.testing.assert_allclose(log_density(sure, 0, rows), expected, rtol=1e-5)


@all_types
@pytest.mark.parametrize("degrees", [2.25, 1e6, 1e12, 1e15, 1e16, 1e20, 1e100, 1e300])
def test_density_keeps_its_digits_at_any_degrees_of_freedom(covariance_type, degrees):
    few = posterior_of(covariance_type)
    posterior = replace(few, degrees_of_freedom=np.full_like(few.degrees_of_freedom, degrees))
    rows = posterior.means[1] + np.random.default_rng(3).normal(scale=2.0, size=(5, D))
    with mpmath.workdps(400):
        nu, beta = mpmath.mpf(degrees), mpmath.mpf(float(posterior.mean_precision[1]))
        precision = mpmath.matrix(matrices(posterior)[1].tolist()) ** -1  # nu W
        t = nu + 1 - D
        L = t * beta / (1 + beta) * precision / nu
        expected = []
        for row in rows:
            d = mpmath.matrix((row - posterior.means[1]).tolist())
            value = mpmath.loggamma((t + D) / 2) - mpmath.loggamma(t / 2)
            value += mpmath.log(mpmath.det(L)) / 2 - mpmath.mpf(D) / 2 * mpmath.log(mpmath.pi * t)
            value -= (t + D) / 2 * mpmath.log1p((d.T * L * d)[0] / t)
            expected.append(float(value))
    np.testing.assert_allclose(log_density(posterior, 1, rows), expected, rtol=1e-12)
