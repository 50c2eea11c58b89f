"""Mixtures of Gaussians in extended precision, written from the formulae and from nothing else.

An oracle for tiny data: loops over rows and components, matrices whole whatever the covariance
type, 80-bit numbers where the machine has them (special functions are float64). Where it says so,
results are computed with errors of a given size put in, to see what the size of errors leads to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, gammaln

Number = np.longdouble
EPS = float(np.finfo(np.float64).eps)


def cholesky(matrix):
    """Lower triangular factor; None if the matrix is not positive definite."""
    n = len(matrix)
    lower = np.zeros((n, n), Number)
    for i in range(n):
        for j in range(i + 1):
            rest = matrix[i, j] - sum((lower[i, m] * lower[j, m] for m in range(j)), Number(0))
            if i == j:
                if not rest > 0:
                    return None
                lower[i, i] = np.sqrt(rest)
            else:
                lower[i, j] = rest / lower[j, j]
    return lower


def solve_lower(lower, vector):
    result = np.zeros(len(vector), Number)
    for i in range(len(vector)):
        known = sum((lower[i, j] * result[j] for j in range(i)), Number(0))
        result[i] = (vector[i] - known) / lower[i, i]
    return result


def inverse_of_lower(lower):
    return np.stack([solve_lower(lower, row) for row in np.eye(len(lower), dtype=Number)], axis=1)


def restrict(scatter, kind, share):
    """Keep of matrices (K, D, D) what a covariance type does; ``share`` is for 'tied'."""
    n_features = scatter.shape[1]
    if kind == "full":
        return scatter
    if kind == "tied":
        return np.repeat(share(scatter)[np.newaxis], len(scatter), axis=0)
    diagonal = np.einsum("kii->ki", scatter)
    if kind == "spherical":
        diagonal = np.repeat(diagonal.mean(axis=1)[:, np.newaxis], n_features, axis=1)
    return diagonal[:, :, np.newaxis] * np.eye(n_features, dtype=Number)


def shaped(matrices, kind):
    """Matrices (K, D, D) in the shape that the covariance type has."""
    return {
        "full": lambda: matrices,
        "tied": lambda: matrices[0],
        "diag": lambda: np.einsum("kii->ki", matrices),
        "spherical": lambda: matrices[:, 0, 0],
    }[kind]()


@dataclass
class Step:
    """What one visit of the rows gives."""

    log_joint: np.ndarray
    log_evidence: np.ndarray
    resp: np.ndarray
    entropy: np.ndarray
    uncertainty: np.ndarray  # of the log-joint, per unit of eps


def visit(X, offset, means, lower, noise=None):
    """Evaluate the E-step for covariance factors ``lower`` (K, D, D)."""
    X = X.astype(Number)
    n_rows, n_components = len(X), len(means)
    log_joint = np.zeros((n_rows, n_components), Number)
    uncertainty = np.zeros((n_rows, n_components), Number)
    for k in range(n_components):
        inverse = inverse_of_lower(lower[k])
        for n in range(n_rows):
            difference = X[n] - means[k]
            log_joint[n, k] = offset[k] - np.sum((inverse @ difference) ** 2) / 2
            size = np.sum(np.abs(inverse) @ np.abs(difference))
            uncertainty[n, k] = 1 + size + size * size
            if np.isfinite(offset[k]):
                uncertainty[n, k] += abs(offset[k])
    if noise is not None:
        log_joint = log_joint + noise.uniform(-1, 1, log_joint.shape) * noise.eps * uncertainty
    largest = log_joint.max(axis=1, keepdims=True)
    exponentials = np.exp(log_joint - largest)
    total = exponentials.sum(axis=1, keepdims=True)
    resp = exponentials / total
    log_resp = log_joint - largest - np.log(total)
    entropy = -np.sum(np.where(resp > 0, resp * np.where(resp > 0, log_resp, 0), 0), axis=1)
    return Step(log_joint, (largest + np.log(total))[:, 0], resp, entropy, uncertainty)


def moments(X, weights, resp, points):
    """Weights, means, and scatter about the points (about the means where they are None)."""
    X = X.astype(Number)
    r = resp * weights[:, np.newaxis]
    counts = r.sum(axis=0)
    means = np.zeros((resp.shape[1], X.shape[1]), Number)
    for k in range(len(means)):
        if counts[k] > 0:
            # About the heaviest row: sums of x would lose digits even in these numbers.
            origin = X[np.argmax(r[:, k])]
            means[k] = origin + (r[:, k] @ (X - origin)) / counts[k]
    points = means if points is None else points
    deviation = X[:, np.newaxis] - points
    return counts, means, np.einsum("nk,nki,nkj->kij", r, deviation, deviation)


class Noise:
    """Errors of relative size ``eps``, and ``loss`` of second moments."""

    def __init__(self, rng, eps, loss):
        self.eps = eps
        self.loss = loss
        self._rng = rng

    def uniform(self, low, high, shape):
        return self._rng.uniform(low, high, shape)

    def of_matrix(self, matrix):
        """Symmetric, of a sum of squares in float64."""
        error = self.uniform(-1, 1, matrix.shape) * 10 * EPS * np.abs(matrix)
        return matrix + np.tril(error) + np.tril(error, -1).T

    def of_covariances(self, matrices):
        return matrices * (1 + self.loss * self.uniform(-1, 1, (len(matrices), 1, 1)))

    def of_means(self, means, scatter, counts):
        """Of deviations of the rows, and of float64 means where these are far from zero."""
        counts = np.where(counts > 0, counts, 1)[:, np.newaxis]
        deviations = np.sqrt(np.maximum(np.einsum("kii->ki", scatter), 0) / counts)
        error = self.eps * deviations + 2 * EPS * np.abs(means)
        return self.uniform(-1, 1, means.shape) * error


def _factors(covariances):
    factors = [cholesky(covariance) for covariance in covariances]
    return None if any(factor is None for factor in factors) else np.array(factors)


def maximum_likelihood(X, weights, resp, *, kind, reg_covar, eps, n_iter, noise=None):
    """Expectation-maximization from responsibilities: bounds and the last parameters, or None.

    With scikit-learn's ``10 eps`` in ``N_k``; None where a covariance is not positive definite.
    """
    n_features = X.shape[1]
    total = weights.sum()
    bounds = []
    previous = None
    step_weights = None
    for iteration in range(n_iter + 1):
        counts, means, scatter = moments(X, weights, resp, None)
        if noise is not None:
            means = means + noise.of_means(means, scatter, counts)
        padded = counts + 10 * eps
        empty = counts < 1e3 * eps
        covariances = restrict(
            scatter if kind == "tied" else scatter / padded[:, np.newaxis, np.newaxis],
            kind,
            lambda s, padded=padded: s.sum(axis=0) / padded.sum(),
        ) + reg_covar * np.eye(n_features, dtype=Number)
        if noise is not None:
            covariances = noise.of_covariances(covariances)
        if empty.any() and previous is not None:
            means[empty] = previous[0][empty]
            if kind != "tied":
                covariances[empty] = previous[1][empty]
        elif empty.any():
            return None
        weighted = np.where(empty, counts, padded)
        step_weights = weighted / (total if iteration == 0 else weighted.sum())
        factors = _factors(covariances)
        if factors is None:
            return None
        previous = (means, covariances)
        if iteration == n_iter:
            break
        log_det = np.array([np.log(np.diag(factor)).sum() for factor in factors])
        with np.errstate(divide="ignore"):
            offset = (
                np.log(step_weights)
                - log_det
                - Number(n_features) / 2 * np.log(2 * Number(math.pi))
            )
        step = visit(X, offset, means, factors, noise)
        bounds.append(weights @ step.log_evidence / total)
        resp = step.resp
    return np.array(bounds), step_weights, previous[0], previous[1]


@dataclass
class Prior:
    """Of a variational mixture; ``covariance`` is a matrix (D, D)."""

    process: bool
    concentration: float
    mean_precision: float
    mean: np.ndarray
    degrees_of_freedom: float
    covariance: np.ndarray


def _log_wishart_normaliser(log_det_scale, nu, D):
    """Log B(W, nu), Bishop (2006), eq. B.79."""
    gammas = sum(gammaln((nu - i) / 2) for i in range(D))
    return -nu / 2 * log_det_scale - (
        nu * D / 2 * math.log(2) + D * (D - 1) / 4 * math.log(math.pi) + gammas
    )


def _log_beta(a, b):
    return gammaln(a) + gammaln(b) - gammaln(a + b)


def _weights_posterior(prior, counts):
    """E[log pi] and KL(q(pi) || p(pi))."""
    counts = counts.astype(float)
    n = len(counts)
    gamma = prior.concentration
    if not prior.process:
        alpha = gamma + counts
        expected = digamma(alpha) - digamma(alpha.sum())
        kl = (
            gammaln(alpha.sum())
            - gammaln(alpha).sum()
            - gammaln(n * gamma)
            + n * gammaln(gamma)
            + counts @ expected
        )
        return expected, kl
    after = np.array([counts[k + 1 :].sum() for k in range(n)])
    a, b = 1 + counts, gamma + after
    log_stick = digamma(a) - digamma(a + b)
    log_rest = digamma(b) - digamma(a + b)
    expected = log_stick + np.concatenate([[0.0], np.cumsum(log_rest)[:-1]])
    kl = np.sum(
        _log_beta(1.0, gamma) - _log_beta(a, b) + (a - 1) * log_stick + (b - gamma) * log_rest
    )
    return expected, kl


def variational(X, weights, resp, prior, *, kind, reg_covar, n_iter, noise=None):
    """Coordinate ascent from responsibilities: bounds and the last parameters, or None.

    Bishop (2006), eq. 10.60-10.77, ``reg_covar`` added to the scatter as scikit-learn adds it; the
    bound is that of a pass's responsibilities and the posterior that they lead to.
    """
    D = X.shape[1]
    proper = cholesky(prior.covariance.astype(Number)) is not None
    bounds = []
    entropies = None
    result = None
    for iteration in range(n_iter + 1):
        counts, means, scatter = moments(X, weights, resp, None)
        if noise is not None:
            means = means + noise.of_means(means, scatter, counts)
        beta = prior.mean_precision + counts
        pulled = means - prior.mean
        posterior_means = prior.mean + counts[:, np.newaxis] / beta[:, np.newaxis] * pulled
        spread = prior.mean_precision * counts / beta
        scatter = scatter + spread[:, np.newaxis, np.newaxis] * (
            pulled[:, :, np.newaxis] * pulled[:, np.newaxis, :]
        )
        total = np.full(len(counts), counts.mean()) if kind == "tied" else counts
        within = restrict(scatter, kind, lambda s: s.mean(axis=0))
        added = reg_covar * (total if proper else total + 10 * EPS)
        nu = prior.degrees_of_freedom + total
        eye = np.eye(D, dtype=Number)
        inverse_scale = within + prior.covariance + added[:, np.newaxis, np.newaxis] * eye
        covariances = inverse_scale / nu[:, np.newaxis, np.newaxis]
        if noise is not None:
            covariances = noise.of_covariances(covariances)
        factors = _factors(covariances)
        if factors is None:
            return None
        expected_log_weights, kl_weights = _weights_posterior(prior, counts)
        half_log_det = np.array([np.log(np.diag(factor)).sum() for factor in factors])
        log_det_scale = (-2 * half_log_det - D * np.log(nu)).astype(float)
        nu = nu.astype(float)
        expected_log_det = (
            sum(digamma((nu - i) / 2) for i in range(D)) + D * math.log(2) + log_det_scale
        )
        offset = (
            expected_log_weights
            + (expected_log_det - D * math.log(2 * math.pi) - D / beta.astype(float)) / 2
        )
        if entropies is not None and proper:
            precision = np.array(
                [inverse_of_lower(factor).T @ inverse_of_lower(factor) for factor in factors]
            )
            # E[l] at these responsibilities: the quadratic form is the trace with the scatter.
            own_scatter = moments(X, weights, resp, posterior_means)[2]
            expected = counts.astype(float) @ offset - float(
                np.einsum("kij,kji->", precision, own_scatter) / 2
            )
            ratio = (prior.mean_precision / beta).astype(float)
            distance = np.array(
                [
                    float((m - prior.mean) @ P @ (m - prior.mean))
                    for m, P in zip(posterior_means, precision, strict=True)
                ]
            )
            prior_log_det = -2 * float(
                np.log(np.diag(cholesky(prior.covariance.astype(Number)))).sum()
            )
            kl_components = (
                _log_wishart_normaliser(log_det_scale, nu, D)
                - _log_wishart_normaliser(prior_log_det, prior.degrees_of_freedom, D)
                + (nu - prior.degrees_of_freedom) / 2 * expected_log_det
                + (np.einsum("ij,kji->k", prior.covariance, precision).astype(float) - nu * D) / 2
                + (D * (ratio - 1 - np.log(ratio)) + prior.mean_precision * distance) / 2
            )
            bounds.append(expected + entropies - kl_weights - kl_components.sum())
        result = (posterior_means, covariances, counts)
        if iteration == n_iter:
            break
        step = visit(X, offset.astype(Number), posterior_means, factors, noise)
        resp = step.resp
        entropies = float(weights @ step.entropy)
    return np.array(bounds), result[2], result[0], result[1]
