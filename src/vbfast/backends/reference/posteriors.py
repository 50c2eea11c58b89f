"""Conjugate posteriors in NumPy and SciPy, for reading."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from vbfast.backends.reference import gamma_differences
from vbfast.backends.reference.gamma_differences import (
    digamma_less_log,
    itakura_saito,
    log1p_less_argument,
    log_gamma_divergence,
    log_gamma_increment,
    log_ratio,
)
from vbfast.contract import (
    CovarianceType,
    Float64Array,
    NormalWishartArrays,
    NotPositiveDefiniteError,
    Statistics,
)

__all__ = ["ReferencePosteriors"]


class ReferencePosteriors:
    """See :class:`vbfast.contract.Posteriors`."""

    log1p_less_argument = staticmethod(gamma_differences.log1p_less_argument)
    itakura_saito = staticmethod(gamma_differences.itakura_saito)
    log_ratio = staticmethod(gamma_differences.log_ratio)
    digamma_less_log = staticmethod(gamma_differences.digamma_less_log)
    log_gamma_increment = staticmethod(gamma_differences.log_gamma_increment)
    log_gamma_divergence = staticmethod(gamma_differences.log_gamma_divergence)

    def dirichlet_expected_log(self, concentration: Float64Array) -> Float64Array:
        """``E[log pi_k]`` of a Dirichlet distribution."""
        whole = concentration.sum()
        logs = -log_ratio(concentration, whole - concentration)
        return np.asarray(logs + digamma_less_log(concentration) - digamma_less_log(whole))

    def dirichlet_log_evidence(self, prior_concentration: float, counts: Float64Array) -> float:
        """Log-ratio of a Dirichlet posterior's normaliser to the prior's.

        What is linear in the counts, ``N_k log a_0`` and ``N log(K a_0)``, is ``N log K`` together.
        """
        K, total = len(counts), counts.sum()
        each = log_gamma_increment(prior_concentration, counts)
        whole = log_gamma_increment(K * prior_concentration, total)
        return float(each.sum() - whole - total * math.log(K))

    def stick_expected_log(self, taken: Float64Array, left: Float64Array) -> Float64Array:
        """``E[log pi_k]`` of sticks."""
        both = np.stack([taken, left])
        parts = digamma_less_log(both) - digamma_less_log(both.sum(axis=0))
        result, remaining = parts - log_ratio(both, both[::-1])
        result[1:] += np.cumsum(remaining)[:-1]
        return np.asarray(result)

    def stick_log_evidence(self, gamma: float, rows: Float64Array, later: Float64Array) -> float:
        """Log-ratio of the sticks' normalisers to the prior's."""
        own, others = log_gamma_increment(1.0, rows), log_gamma_increment(gamma, later)
        both = log_gamma_increment(1.0 + gamma, rows + later)
        sticks = own + others - both - rows * math.log1p(gamma) - later * log_ratio(gamma, 1.0)
        return float(sticks.sum())

    def precision_cholesky(self, covariances: Float64Array) -> Float64Array:
        """Upper triangular factors of the inverses of covariance matrices."""
        identity = np.eye(covariances.shape[-1])
        factors = np.empty_like(covariances, order="C")
        for k, covariance in enumerate(covariances):
            try:
                lower = cholesky(covariance, lower=True)
            except (LinAlgError, ValueError) as error:
                raise NotPositiveDefiniteError(k) from error
            factors[k] = solve_triangular(lower, identity, lower=True).T
        return factors

    @np.errstate(over="ignore", invalid="ignore")  # no finite covariance is an error of its own
    def normal_wishart_posterior(
        self,
        covariance_type: CovarianceType,
        prior_mean_precision: float,
        prior_mean: Float64Array,
        prior_degrees_of_freedom: float,
        prior_covariance: Float64Array,
        statistics: Statistics,
        *,
        variance: float,
        least_count: float,
    ) -> tuple[NormalWishartArrays, Float64Array]:
        """Posterior that maximizes the bound for given sufficient statistics."""
        counts, centres = statistics.weight, statistics.centres
        K, D = centres.shape
        mean_precision = prior_mean_precision + counts
        # Deviations from the prior mean and from the centres: sums of x would cancel.
        pull = statistics.first + counts[:, np.newaxis] * (centres - prior_mean)
        deviation = pull / mean_precision[:, np.newaxis]
        means = prior_mean + deviation
        squares = deviation[:, :, np.newaxis] * deviation[:, np.newaxis]
        scatter = statistics.second_about(means - centres)
        scatter += prior_mean_precision * _kept(covariance_type, squares)
        if covariance_type == "tied":
            scatter /= K
            counts = np.asarray(counts.sum() / K)
        added = variance * (counts + least_count)
        in_every_direction = np.eye(D) if covariance_type in ("full", "tied") else np.ones(D)
        if covariance_type == "spherical":
            scatter += added
        else:
            scatter += np.multiply.outer(added, in_every_direction)
        scatter += prior_covariance
        degrees = np.asarray(prior_degrees_of_freedom + counts)
        covariances = np.asarray((scatter.T / degrees).T, order="C")
        factor = self._factor(covariance_type, covariances)
        return NormalWishartArrays(mean_precision, means, degrees, factor), covariances

    def _factor(self, covariance_type: CovarianceType, covariances: Float64Array) -> Float64Array:
        if covariance_type in ("full", "tied"):
            stack = covariances.reshape(-1, *covariances.shape[-2:])
            return self.precision_cholesky(stack).reshape(covariances.shape)
        invalid = ~((covariances > 0.0) & (covariances < np.inf))
        if invalid.any():
            raise NotPositiveDefiniteError(int(np.argwhere(invalid)[0, 0]))
        return np.asarray(1.0 / np.sqrt(covariances))

    def normal_wishart_divergence(
        self, covariance_type: CovarianceType, q: NormalWishartArrays, r: NormalWishartArrays
    ) -> Float64Array:
        """``KL(q || r)`` of each component."""
        D, nu = q.means.shape[1], r.degrees_of_freedom
        step = np.asarray(q.degrees_of_freedom - nu)
        scale = _relative_divergence(covariance_type, q.factor, r.factor, D)
        scale = scale + D * log1p_less_argument(step / nu)
        gammas = log_gamma_divergence(_half_degrees(nu, D), 0.5 * step[..., np.newaxis])
        wishart = np.maximum(0.5 * nu * scale + gammas.sum(axis=-1), 0.0)
        own, other = q.mean_precision, r.mean_precision
        spread = itakura_saito(other, own, own - other)
        deviation = q.means - r.means
        if covariance_type in ("full", "tied"):
            whitened = (deviation[:, np.newaxis] @ q.factor)[:, 0]
        else:
            whitened = (deviation.T * q.factor.T).T
        distance = other * np.square(whitened).sum(axis=1)
        return np.asarray(wishart + 0.5 * (D * spread + distance))

    @np.errstate(over="ignore")  # of a mean that is anywhere
    def expected_log_density(
        self, covariance_type: CovarianceType, q: NormalWishartArrays
    ) -> Float64Array:
        """``E[log N(x | mu_k, Lambda_k^-1)]`` at ``x = m_k``."""
        D = q.means.shape[1]
        log_det = self.expected_log_det(covariance_type, D, q.degrees_of_freedom, q.factor)
        spread = D / q.mean_precision  # of the mean
        return np.asarray(0.5 * (log_det - D * math.log(2.0 * math.pi) - spread))

    def expected_log_det(
        self,
        covariance_type: CovarianceType,
        n_features: int,
        degrees_of_freedom: Float64Array,
        factor: Float64Array,
    ) -> Float64Array:
        """``E[log det Lambda_k]``, with ``psi(x)`` relative to ``log x``, and ``W`` to ``nu W``."""
        D, nu = n_features, degrees_of_freedom
        psi = digamma_less_log(_half_degrees(nu, D)).sum(axis=-1)
        lost = np.log1p(-np.divide.outer(np.arange(float(D)), nu)).sum(axis=0)
        if covariance_type == "spherical":
            log_det = D * np.log(factor)
        else:
            matrices = covariance_type in ("full", "tied")
            diagonal = np.diagonal(factor, axis1=-2, axis2=-1) if matrices else factor
            log_det = np.log(diagonal).sum(axis=-1)
        return np.asarray(psi + lost + 2.0 * log_det)


def _half_degrees(degrees_of_freedom: Float64Array, n_features: int) -> Float64Array:
    """Return ``(nu - i) / 2`` for i from 0 to D - 1, along a new last axis."""
    return np.asarray(0.5 * (degrees_of_freedom[..., np.newaxis] - np.arange(float(n_features))))


def _kept(covariance_type: CovarianceType, matrices: Float64Array) -> npt.NDArray[np.float64]:
    """Return what a covariance type keeps of matrices of shape (K, D, D)."""
    if covariance_type == "full":
        return matrices
    if covariance_type == "tied":
        return np.asarray(matrices.sum(axis=0))
    diagonals = np.diagonal(matrices, axis1=1, axis2=2)
    return np.asarray(diagonals if covariance_type == "diag" else diagonals.mean(axis=1))


def _relative_divergence(
    covariance_type: CovarianceType, factor: Float64Array, by: Float64Array, n_features: int
) -> Float64Array:
    """Return ``tr(M) - D - log det M`` with ``M = (Q Q^T)^-1 P P^T``: shape (K,), for 'tied' ()."""
    if covariance_type == "spherical":
        return np.asarray(n_features * _square_divergence(factor / by))
    if covariance_type == "diag":
        return np.asarray(_square_divergence(factor / by).sum(axis=-1))
    ratios = np.diagonal(factor, axis1=-2, axis2=-1) / np.diagonal(by, axis1=-2, axis2=-1)
    # Q^-1 (P - Q diag(t)) is T above the diagonal and zero on it.
    above = np.linalg.solve(by, np.triu(factor - by * ratios[..., np.newaxis, :], 1))
    squares = np.square(above).sum(axis=(-2, -1))
    return np.asarray(_square_divergence(ratios).sum(axis=-1) + squares)


def _square_divergence(ratios: Float64Array) -> Float64Array:
    """Return ``t^2 - 1 - log t^2``."""
    return itakura_saito(np.square(ratios), 1.0, (1.0 - ratios) * (1.0 + ratios))
