from __future__ import annotations

import math
from dataclasses import replace

import mpmath
import numpy as np
import pytest
from scipy import stats
from scipy.special import digamma, multigammaln
from sklearn.mixture import BayesianGaussianMixture as ScikitLearnMixture

from vbfast.contract import COVARIANCE_TYPES, NotPositiveDefiniteError, Statistics
from vbfast.families.covariances import MOMENTS_OF, precisions_of
from vbfast.families.normal_wishart import NormalWishart
from vbfast.families.normal_wishart_prior import LEAST_COUNT, NormalWishartPrior

N_SAMPLES, D, K = 60, 3, 4
all_types = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)


@pytest.fixture
def rows():
    rng = np.random.default_rng(1)
    return rng.normal(size=(N_SAMPLES, D)) @ rng.normal(size=(D, D)) + 2.0


@pytest.fixture
def resp():
    return np.random.default_rng(2).dirichlet(np.full(K, 0.3), size=N_SAMPLES)


def prior_of(covariance_type, seed=3):
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(D, D))
    scale = factor @ factor.T + np.eye(D)
    covariance = {
        "full": scale,
        "tied": scale,
        "diag": np.diag(scale).copy(),
        "spherical": np.asarray(scale[0, 0]),
    }[covariance_type]
    return NormalWishartPrior(covariance_type, 0.7, rng.normal(size=D), D + 0.5, covariance)


def matrices(covariance_type, values, n):
    """Values shaped by the covariance type as n full matrices."""
    if covariance_type in ("full", "tied"):
        return np.broadcast_to(values, (n, D, D))
    if covariance_type == "diag":
        return np.broadcast_to(values[..., np.newaxis] * np.eye(D), (n, D, D))
    return np.asarray(values)[..., np.newaxis, np.newaxis] * np.broadcast_to(np.eye(D), (n, D, D))


def statistics_of(rows, resp, kind, centres):
    differences = rows[:, np.newaxis, :] - centres
    outer = np.einsum("nk,nki,nkj->kij", resp, differences, differences)
    diagonal = np.einsum("kii->ki", outer)
    second = {
        "full": outer,
        "tied": outer.sum(axis=0),
        "diag": diagonal,
        "spherical": diagonal.mean(axis=1),
    }[kind]
    first = np.einsum("nk,nki->ki", resp, differences)
    return Statistics(MOMENTS_OF[kind], centres, resp.sum(axis=0), first, second)


def full_bound(posterior, rows, resp):
    """sum r E[log N(x | mu, Lambda^-1)] - KL from the full matrices and their inverses."""
    prior, n = posterior.prior, len(posterior.means)
    W = np.linalg.inv(matrices(prior.covariance_type, posterior.covariances, n))
    nu = np.broadcast_to(posterior.degrees_of_freedom, n)
    W = W / nu[:, np.newaxis, np.newaxis]
    W0_inverse = matrices(prior.covariance_type, prior.covariance, n)[0]
    total = np.zeros(n)
    for k in range(n):
        log_det = np.linalg.slogdet(W[k])[1]
        e_log_det = digamma(0.5 * (nu[k] - np.arange(D))).sum() + D * math.log(2) + log_det
        difference = rows - posterior.means[k]
        quadratic = nu[k] * np.einsum("ni,ij,nj->n", difference, W[k], difference)
        beta = posterior.mean_precision[k]
        total[k] += resp[:, k] @ (
            0.5 * (e_log_det - D / beta - quadratic - D * math.log(2 * math.pi))
        )
        total[k] -= wishart_kl(nu[k], W[k], prior.degrees_of_freedom, W0_inverse, e_log_det)
        shift = posterior.means[k] - prior.mean
        ratio = prior.mean_precision / beta
        total[k] -= 0.5 * (
            D * (ratio - 1 - math.log(ratio)) + prior.mean_precision * nu[k] * shift @ W[k] @ shift
        )
    return total


def wishart_kl(nu, W, nu0, W0_inverse, e_log_det):
    def log_norm(degrees, log_det_scale):
        return -(
            0.5 * degrees * log_det_scale
            + 0.5 * degrees * D * math.log(2)
            + multigammaln(0.5 * degrees, D)
        )

    return (
        log_norm(nu, np.linalg.slogdet(W)[1])
        - log_norm(nu0, -np.linalg.slogdet(W0_inverse)[1])
        + 0.5 * (nu - nu0) * e_log_det
        - 0.5 * nu * D
        + 0.5 * nu * np.trace(W0_inverse @ W)
    )


@all_types
@pytest.mark.parametrize("distance", [0.0, 2.0])
def test_the_posterior_is_scikit_learns(rows, resp, covariance_type, distance):
    prior = prior_of(covariance_type)
    centres = rows[:K] + distance
    statistics = statistics_of(rows, resp, covariance_type, centres)
    posterior = NormalWishart.from_statistics(prior, statistics, reg_covar=0.01)
    theirs = ScikitLearnMixture(
        n_components=K,
        covariance_type=covariance_type,
        mean_precision_prior=prior.mean_precision,
        mean_prior=prior.mean,
        degrees_of_freedom_prior=prior.degrees_of_freedom,
        covariance_prior=prior.covariance[()],
        reg_covar=0.01,
    )
    theirs._check_parameters(rows)
    theirs._initialize(rows, resp)
    for ours, expected in (
        (posterior.mean_precision, theirs.mean_precision_),
        (posterior.means, theirs.means_),
        (posterior.degrees_of_freedom, theirs.degrees_of_freedom_),
        (posterior.covariances, theirs.covariances_),
        (posterior.precision_cholesky, theirs.precisions_cholesky_),
    ):
        assert ours.shape == np.shape(expected)
        np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-12)


@all_types
@pytest.mark.parametrize("reg_covar", [0.0, 0.3, 1e10])
def test_divergence_and_expected_density_are_the_textbooks(rows, resp, covariance_type, reg_covar):
    prior = replace(prior_of(covariance_type), least_variance=reg_covar * LEAST_COUNT)
    statistics = statistics_of(rows, resp, covariance_type, rows[:K])
    posterior = NormalWishart.from_statistics(prior, statistics, reg_covar=reg_covar)
    e_log_density = full_bound(posterior, rows, resp) + posterior.kl
    differences = rows[:, np.newaxis] - posterior.means
    precisions = np.linalg.inv(matrices(covariance_type, posterior.covariances, K))
    quadratic = np.einsum("nki,kij,nkj->nk", differences, precisions, differences)
    np.testing.assert_allclose(
        (resp * (posterior.expected_log_density - 0.5 * quadratic)).sum(axis=0),
        e_log_density,
        rtol=1e-10,
    )


@all_types
def test_the_posterior_maximizes_the_bound(rows, resp, covariance_type):
    prior = prior_of(covariance_type)
    statistics = statistics_of(rows, resp, covariance_type, rows[:K])
    best = NormalWishart.from_statistics(prior, statistics, reg_covar=0.0)
    largest = full_bound(best, rows, resp).sum()
    rng = np.random.default_rng(4)
    for _ in range(20):
        factor = 1.0 + 0.1 * rng.normal(size=np.shape(best.degrees_of_freedom))
        moved = NormalWishart(
            prior,
            best.mean_precision * np.exp(0.1 * rng.normal(size=K)),
            best.means + 0.05 * rng.normal(size=(K, D)),
            np.maximum(best.degrees_of_freedom * factor, D),
            (best.covariances.T * np.exp(0.1 * rng.normal(size=np.shape(factor)))).T,
            best.precision_cholesky,
        )
        assert full_bound(moved, rows, resp).sum() < largest


def moved_from(posterior, rng):
    """Another posterior of the same type."""
    kind, factor = posterior.prior.covariance_type, posterior.precision_cholesky
    stretched = factor * np.exp(0.1 * rng.normal(size=factor.shape))
    return replace(
        posterior,
        mean_precision=posterior.mean_precision * np.exp(0.1 * rng.normal(size=K)),
        means=posterior.means + 0.05 * rng.normal(size=(K, D)),
        degrees_of_freedom=posterior.degrees_of_freedom + 0.7,
        covariances=1.0 / precisions_of(kind, stretched)
        if kind in ("diag", "spherical")
        else np.linalg.inv(precisions_of(kind, stretched)),
        precision_cholesky=stretched,
    )


@all_types
def test_the_bound_falls_by_the_divergence_from_where_it_is_largest(rows, resp, covariance_type):
    prior = prior_of(covariance_type)
    statistics = statistics_of(rows, resp, covariance_type, rows[:K])
    best = NormalWishart.from_statistics(prior, statistics, reg_covar=0.0)
    moved = moved_from(best, np.random.default_rng(6))
    fall = full_bound(best, rows, resp).sum() - full_bound(moved, rows, resp).sum()
    divergence = moved.expected_log_ratio(best) + moved.kl
    np.testing.assert_allclose(divergence.sum(), fall, rtol=1e-9)
    assert np.all(divergence > 0.0)


@all_types
def test_the_log_ratio_is_a_difference_of_divergences(rows, resp, covariance_type):
    """One of them from a prior that is the other posterior, component by component."""
    prior = prior_of(covariance_type)
    statistics = statistics_of(rows, resp, covariance_type, rows[:K])
    posterior = NormalWishart.from_statistics(prior, statistics, reg_covar=0.0)
    other = moved_from(posterior, np.random.default_rng(7))
    nu = np.broadcast_to(other.degrees_of_freedom, K)
    tied = covariance_type == "tied"
    for k in range(K):
        scale = nu[k] * (other.covariances if tied else other.covariances[k])
        as_prior = NormalWishartPrior(
            covariance_type, other.mean_precision[k], other.means[k], nu[k], np.asarray(scale)
        )
        expected = replace(posterior, prior=as_prior).kl[k] - posterior.kl[k]
        ratio = posterior.expected_log_ratio(other)[k]
        np.testing.assert_allclose(ratio, expected, rtol=1e-11)
    np.testing.assert_allclose(posterior.expected_log_ratio(posterior), -posterior.kl, rtol=1e-11)


@all_types
def test_kl_against_samples(rows, resp, covariance_type):
    prior = prior_of(covariance_type)
    statistics = statistics_of(rows, resp, covariance_type, rows[:K])
    posterior = NormalWishart.from_statistics(prior, statistics, reg_covar=0.0)
    rng = np.random.default_rng(5)
    nu = float(np.broadcast_to(posterior.degrees_of_freedom, K)[0])
    W = np.linalg.inv(matrices(covariance_type, posterior.covariances, K)[0]) / nu
    W0 = np.linalg.inv(matrices(covariance_type, prior.covariance, 1)[0])
    q = stats.wishart(nu, W)
    p = stats.wishart(prior.degrees_of_freedom, W0)
    precisions = q.rvs(2_000, random_state=rng)
    log_ratio = q.logpdf(precisions.transpose(1, 2, 0)) - p.logpdf(precisions.transpose(1, 2, 0))
    factors = np.linalg.cholesky(np.linalg.inv(precisions))
    beta, beta0 = posterior.mean_precision[0], prior.mean_precision
    deviation = np.einsum("sij,sj->si", factors, rng.normal(size=(len(factors), D)))
    deviation /= math.sqrt(beta)
    from_prior = posterior.means[0] + deviation - prior.mean
    log_ratio += 0.5 * (
        D * math.log(beta / beta0)
        - beta * np.einsum("si,sij,sj->s", deviation, precisions, deviation)
        + beta0 * np.einsum("si,sij,sj->s", from_prior, precisions, from_prior)
    )
    error = log_ratio.std() / math.sqrt(len(log_ratio))
    assert abs(posterior.kl[0] - log_ratio.mean()) < 5 * error


@all_types
@pytest.mark.parametrize("reg_covar", [1e-3, 1e10])
def test_a_component_without_rows_is_its_prior(rows, resp, covariance_type, reg_covar):
    prior = replace(prior_of(covariance_type), least_variance=reg_covar * LEAST_COUNT)
    resp = resp.copy()
    resp[:, 1] = 0.0
    # Its centre is where it was when it lost them.
    statistics = statistics_of(rows, resp, covariance_type, rows[:K] + 1e6)
    posterior = NormalWishart.from_statistics(prior, statistics, reg_covar=reg_covar)
    np.testing.assert_array_equal(posterior.means[1], prior.mean)
    assert posterior.mean_precision[1] == prior.mean_precision
    assert np.all(posterior.kl >= 0.0)
    if covariance_type != "tied":
        assert posterior.degrees_of_freedom[1] == prior.degrees_of_freedom
        np.testing.assert_allclose(
            posterior.covariances[1] * prior.degrees_of_freedom, prior.covariance, rtol=1e-14
        )
        np.testing.assert_allclose(posterior.kl[1], 0.0, atol=1e-12)


@all_types
def test_rows_far_from_the_origin_cost_no_digits(rows, resp, covariance_type):
    far = 2.0**20  # exactly representable with the rows below
    rows = np.round(rows * 2**20) / 2**20
    prior = prior_of(covariance_type)
    near = NormalWishart.from_statistics(
        prior, statistics_of(rows, resp, covariance_type, rows[:K]), reg_covar=0.0
    )
    moved = NormalWishartPrior(
        covariance_type,
        prior.mean_precision,
        np.round(prior.mean * 2**20) / 2**20 + far,
        prior.degrees_of_freedom,
        prior.covariance,
    )
    there = NormalWishart.from_statistics(
        moved, statistics_of(rows + far, resp, covariance_type, rows[:K] + far), reg_covar=0.0
    )
    np.testing.assert_allclose(there.covariances, near.covariances, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(there.kl, near.kl, rtol=1e-6)


@pytest.mark.kernels
@pytest.mark.parametrize("n_features", [5, 30, 100])
def test_rounding_does_not_make_a_singular_prior_proper(n_features):
    generator = np.random.default_rng(0)
    for _ in range(20):
        roots = generator.normal(size=(n_features, n_features - 1))
        roots *= np.geomspace(1.0, 1e-3, n_features)[:, np.newaxis]
        singular = roots @ roots.T
        prior = NormalWishartPrior("full", 1.0, np.zeros(n_features), n_features, singular)
        assert not prior.proper


@pytest.mark.kernels
@pytest.mark.parametrize("n_features", [2, 5, 30, 100])
def test_an_ill_conditioned_prior_is_proper(n_features):
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(n_features, n_features)))[0]
    turned = (axes * np.geomspace(1.0, 1e-10, n_features)) @ axes.T
    units = np.diag(np.geomspace(1.0, 1e-200, n_features))
    for covariance in (turned, units):
        prior = NormalWishartPrior("full", 1.0, np.zeros(n_features), n_features, covariance)
        assert prior.precision_cholesky is not None
        assert prior.proper


@pytest.mark.parametrize(
    ("covariance_type", "covariance"),
    [
        ("full", np.diag([1.0, 2.0, 0.0])),
        ("tied", np.diag([0.0, 1.0, 2.0])),
        ("diag", np.array([1.0, 2.0, 0.0])),
        ("spherical", np.asarray(0.0)),
    ],
)
def test_a_singular_prior_is_improper_and_usable(rows, resp, covariance_type, covariance):
    prior = NormalWishartPrior(covariance_type, 1.0, np.zeros(D), 3.0, covariance)
    assert not prior.proper
    assert np.isfinite(prior.log_normaliser)
    statistics = statistics_of(rows, resp, covariance_type, rows[:K])
    posterior = NormalWishart.from_statistics(prior, statistics, reg_covar=0.0)
    assert np.isfinite(posterior.kl).all()
    empty = statistics_of(rows, 0.0 * resp, covariance_type, rows[:K])
    with pytest.raises(NotPositiveDefiniteError):
        NormalWishart.from_statistics(prior, empty, reg_covar=0.0)
    regularised = NormalWishart.from_statistics(prior, empty, reg_covar=1e-6)
    assert np.isfinite(regularised.kl).all()


# Of what is of the order of degrees of freedom times their logarithm 303 digits are before the
# point, and as many cancel again.
DIGITS = 700
MANY = [3.25, 1e3, 1e8, 1e12, 1e15, 1e16, 1e20, 1e100, 1e300]


def exact_scatter(kind, outer):
    """``A_k`` on the covariance type's pattern as full matrices, from those of 'full'."""
    if kind == "tied":
        mean = sum(outer[1:], outer[0].copy()) / len(outer)
        return [mean] * len(outer)
    if kind == "full":
        return outer
    result = []
    for matrix in outer:
        diagonal = [matrix[i, i] for i in range(D)]
        if kind == "spherical":
            diagonal = [mpmath.fsum(diagonal) / D] * D
        result.append(mpmath.diag(diagonal))
    return result


def exact_terms(prior, rows, resp):
    """Posterior, divergence and ``E[log det]`` for each component, in hundreds of digits."""
    nu0, beta0 = mpmath.mpf(prior.degrees_of_freedom), mpmath.mpf(prior.mean_precision)
    m0 = mpmath.matrix(prior.mean.tolist())
    scale0 = mpmath.matrix(matrices(prior.covariance_type, prior.covariance, 1)[0].tolist())
    if prior.covariance_type == "spherical":
        scale0 = mpmath.diag([mpmath.mpf(float(prior.covariance))] * D)
    X = [mpmath.matrix(row.tolist()) for row in rows]
    r = [[mpmath.mpf(float(value)) for value in column] for column in resp.T]
    N = [mpmath.fsum(column) for column in r]
    betas = [beta0 + n for n in N]
    means, outer = [], []
    for k, column in enumerate(r):
        first = sum((q * (x - m0) for q, x in zip(column, X, strict=True)), mpmath.zeros(D, 1))
        m = m0 + first / betas[k]
        scatter = scale0 + beta0 * (m - m0) * (m - m0).T
        for q, x in zip(column, X, strict=True):
            scatter += q * (x - m) * (x - m).T
        means.append(m)
        outer.append(scatter)
    scatters = exact_scatter(prior.covariance_type, outer)
    tied = prior.covariance_type == "tied"
    result = []
    for k, scatter in enumerate(scatters):
        nu = nu0 + (mpmath.fsum(N) / len(N) if tied else N[k])
        W = scatter**-1
        log_det = -mpmath.log(mpmath.det(scatter))
        psi = mpmath.fsum(mpmath.psi(0, (nu - i) / 2) for i in range(D))
        e_log_det = psi + D * mpmath.log(2) + log_det

        def log_norm(degrees, log_det):
            gammas = mpmath.fsum(mpmath.loggamma((degrees - i) / 2) for i in range(D))
            return -degrees / 2 * (log_det + D * mpmath.log(2)) - gammas

        trace = nu * mpmath.fsum((scale0 * W)[i, i] for i in range(D))
        kl = log_norm(nu, log_det) - log_norm(nu0, -mpmath.log(mpmath.det(scale0)))
        kl += (nu - nu0) / 2 * e_log_det + (trace - nu * D) / 2
        ratio = beta0 / betas[k]
        shift = means[k] - m0
        distance = beta0 * nu * (shift.T * W * shift)[0]
        kl += (D * (ratio - 1 - mpmath.log(ratio)) + distance) / 2
        result.append((float(kl), float(e_log_det)))
    return np.array(result).T


@all_types
@pytest.mark.parametrize("degrees_of_freedom", MANY)
def test_terms_keep_their_digits_at_any_degrees_of_freedom(
    rows, resp, covariance_type, degrees_of_freedom
):
    rows, resp = rows[:12], resp[:12]
    prior = prior_of(covariance_type)
    # Rows as the prior expects them, more and more surely.
    prior = replace(
        prior,
        degrees_of_freedom=degrees_of_freedom,
        covariance=prior.covariance * degrees_of_freedom,
    )
    statistics = statistics_of(rows, resp, covariance_type, rows[:K])
    posterior = NormalWishart.from_statistics(prior, statistics, reg_covar=0.0)
    with mpmath.workdps(DIGITS):
        kl, e_log_det = exact_terms(prior, rows, resp)
    np.testing.assert_allclose(posterior.kl, kl, rtol=1e-11, atol=1e-13)
    log_det = np.broadcast_to(posterior.expected_log_det, K)
    np.testing.assert_allclose(log_det, e_log_det, rtol=1e-12, atol=1e-12)
    # The evidence of the rows, as the bound has it: E_q[log p - log q'] at q' = q is -KL.
    np.testing.assert_array_equal(posterior.expected_log_ratio(posterior), -posterior.kl)


@all_types
def test_an_empty_component_is_its_singular_prior(rows, resp, covariance_type):
    """What alone makes the prior a density in some direction is in its normaliser too."""
    covariance = {
        "full": np.diag([1.0, 2.0, 0.0]),
        "tied": np.diag([0.0, 1.0, 2.0]),
        "diag": np.array([1.0, 2.0, 0.0]),
        "spherical": np.asarray(0.0),
    }[covariance_type]
    prior = NormalWishartPrior(
        covariance_type, 1.0, np.zeros(D), 3.0, covariance, 1e-6 * LEAST_COUNT
    )
    assert not prior.proper
    empty = statistics_of(rows, 0.0 * resp, covariance_type, rows[:K])
    posterior = NormalWishart.from_statistics(prior, empty, reg_covar=1e-6)
    np.testing.assert_array_equal(posterior.kl, np.zeros(K))
