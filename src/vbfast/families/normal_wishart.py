r"""Normal-Wishart posterior of Gaussian components.

Every component has a mean and a full precision matrix with the prior (Bishop 2006, eq. 10.40)

    Lambda_k ~ Wishart(W_0, nu_0),    mu_k | Lambda_k ~ N(m_0, (beta_0 Lambda_k)^-1),

whatever the covariance type. The type restricts the posterior ``q(mu_k, Lambda_k)``, which is
normal-Wishart with ``W_k`` any matrix ('full'), one and the same for all components ('tied'),
diagonal ('diag') or a multiple of the identity ('spherical'); these are scikit-learn's models. With
the scatter about the posterior mean, prior included,

    A_k = W_0^-1 + sum_n r_nk (x_n - m_k)(x_n - m_k)^T + beta_0 (m_k - m_0)(m_k - m_0)^T,

the bound is largest (Bishop 2006, eq. 10.60-10.63) at

    beta_k = beta_0 + N_k,                 m_k = m_0 + sum_n r_nk (x_n - m_0) / beta_k,
    nu_k = nu_0 + N_k,                     W_k^-1 = A_k,

of which 'diag' keeps the diagonal of ``A_k``, 'spherical' its mean, and 'tied' the mean over the
components of ``nu_k`` and ``A_k``.

scikit-learn adds ``10 eps`` to every ``N_k``, so that it may divide by it. Nothing is divided by
``N_k`` here, and without the addition ``q`` is exactly what the responsibilities lead to: a
component that has lost its rows has its prior for a posterior. The addition is kept, as a factor of
``reg_covar``, where the prior is singular: it alone gives such a component a covariance then.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vbfast.contract import Float64Array, LinearAlgebra, NormalWishartArrays, Statistics
from vbfast.families.covariances import (
    log_det_factor,
    precisions_of,
    trace_of_product,
)
from vbfast.families.normal_wishart_prior import NormalWishartPrior
from vbfast.families.wishart import log_wishart_normaliser

__all__ = ["NormalWishart"]


@dataclass(frozen=True)
class NormalWishart:
    """Posterior of the components' means and precisions, all float64.

    Attributes
    ----------
    prior : NormalWishartPrior
    mean_precision : ndarray of shape (n_components,)
        ``beta_k``.
    means : ndarray of shape (n_components, n_features)
        ``m_k``.
    degrees_of_freedom : ndarray of shape (n_components,), or () for 'tied'
        ``nu_k``.
    covariances : ndarray
        ``(nu_k W_k)^-1``, the inverse of the expected precision; shape (K, D, D) for 'full', (D, D)
        for 'tied', (K, D) for 'diag' and (K,) for 'spherical'.
    precision_cholesky : ndarray
        Upper triangular ``P`` with ``P @ P.T = nu_k W_k``, or square roots; shaped as
        ``covariances``.
    """

    prior: NormalWishartPrior
    mean_precision: Float64Array
    means: Float64Array
    degrees_of_freedom: Float64Array
    covariances: Float64Array
    precision_cholesky: Float64Array

    @classmethod
    def from_statistics(
        cls,
        prior: NormalWishartPrior,
        statistics: Statistics,
        *,
        reg_covar: float,
        linalg: LinearAlgebra | None = None,
    ) -> NormalWishart:
        """Return the posterior that maximizes the bound for given sufficient statistics.

        Parameters
        ----------
        prior : NormalWishartPrior
        statistics : Statistics
            Of the covariance type's kind.
        reg_covar : float
            Variance added to the rows about their mean in every direction, as in scikit-learn.
        linalg : LinearAlgebra, optional
            Of the backend that took the pass; by default what the prior is computed with.

        Returns
        -------
        NormalWishart

        Raises
        ------
        NotPositiveDefiniteError
            If a ``W_k^-1`` is not positive definite.
        """
        linalg = linalg or prior.linalg
        prior = prior.computed_with(linalg)
        posterior, covariances = linalg.normal_wishart_posterior(
            prior.covariance_type,
            prior.mean_precision,
            prior.mean,
            prior.degrees_of_freedom,
            prior.covariance,
            statistics,
            variance=reg_covar,
            least_count=prior.least_count,
        )
        return cls(
            prior,
            posterior.mean_precision,
            posterior.means,
            posterior.degrees_of_freedom,
            covariances,
            posterior.factor,
        )

    def restricted_to(self, kept: npt.NDArray[np.bool_]) -> NormalWishart:
        """Return the posterior of some of the components."""
        tied = self.prior.covariance_type == "tied"
        return NormalWishart(
            self.prior,
            self.mean_precision[kept],
            self.means[kept],
            *(
                values if tied else values[kept]
                for values in (
                    self.degrees_of_freedom,
                    self.covariances,
                    self.precision_cholesky,
                )
            ),
        )

    @property
    def n_features(self) -> int:
        """D."""
        return int(self.means.shape[1])

    @property
    def linalg(self) -> LinearAlgebra:
        """That of the prior, for what is computed of both."""
        return self.prior.linalg

    @functools.cached_property
    def log_det_scale(self) -> Float64Array:
        """``log det W_k``, shaped as the degrees of freedom."""
        D = self.n_features
        log_det_factors = log_det_factor(self.prior.covariance_type, self.precision_cholesky, D)
        return np.asarray(2.0 * log_det_factors - D * np.log(self.degrees_of_freedom))

    @functools.cached_property
    def expected_log_det(self) -> Float64Array:
        """``E[log det Lambda_k]`` (Bishop 2006, eq. 10.65), shaped as the degrees of freedom."""
        return self.linalg.expected_log_det(
            self.prior.covariance_type,
            self.n_features,
            self.degrees_of_freedom,
            self.precision_cholesky,
        )

    @functools.cached_property
    def expected_log_density(self) -> Float64Array:
        """``E[log N(x | mu_k, Lambda_k^-1)]`` at ``x = m_k``, shape (n_components,), nats.

        Elsewhere ``1/2 ||(x - m_k) P_k||^2`` less (Bishop 2006, eq. 10.64).
        """
        return self.linalg.expected_log_density(self.prior.covariance_type, self.arrays)

    @functools.cached_property
    def log_normaliser(self) -> Float64Array:
        """``log B(W_k, nu_k)``, shaped as the degrees.

        See :func:`~vbfast.families.wishart.log_wishart_normaliser`.
        """
        return log_wishart_normaliser(self.log_det_scale, self.degrees_of_freedom, self.n_features)

    @functools.cached_property
    def kl(self) -> Float64Array:
        """``KL(q(mu_k, Lambda_k) || p(mu_k, Lambda_k))``, shape (n_components,), nats.

        Bishop 2006, eq. 10.74 and 10.77. Without a factor the prior is improper, and leaves the
        divergence without a lower limit.
        """
        prior = self.prior
        if prior.arrays is not None:
            return self._divergence(prior.arrays)
        D, nu = self.n_features, self.degrees_of_freedom
        wishart = (
            self.log_normaliser
            - prior.log_normaliser
            + 0.5 * (nu - prior.degrees_of_freedom) * self.expected_log_det
            + 0.5 * (self._prior_trace() - nu * D)
        )
        beta, step = prior.mean_precision, self.mean_precision - prior.mean_precision
        spread = self.linalg.itakura_saito(beta, self.mean_precision, step)
        return np.asarray(wishart + 0.5 * (D * spread + beta * self._distance_to(prior.mean)))

    def expected_log_ratio(self, other: NormalWishart) -> Float64Array:
        """Return ``E_q[log p(mu_k, Lambda_k) - log other(mu_k, Lambda_k)]``, p being the prior.

        That is ``KL(q || other) - KL(q || p)``. Neither scale matrix is inverted: what rounding
        does to the one's factor does not grow by the condition number of the other's.

        Parameters
        ----------
        other : NormalWishart
            Of the same prior.

        Returns
        -------
        ndarray of shape (n_components,), nats
        """
        return np.asarray(self._divergence(other.arrays) - self.kl)

    @functools.cached_property
    def arrays(self) -> NormalWishartArrays:
        """What a backend takes of it."""
        return NormalWishartArrays(
            self.mean_precision, self.means, self.degrees_of_freedom, self.precision_cholesky
        )

    def _divergence(self, other: NormalWishartArrays) -> Float64Array:
        """Return ``KL(q || other)``, shape (n_components,)."""
        kind = self.prior.covariance_type
        return self.linalg.normal_wishart_divergence(kind, self.arrays, other)

    @functools.cached_property
    def excess_over_prior(self) -> Float64Array | None:
        """``T - I`` with ``T = Q^-1 P``, P the factor of ``nu_k W_k`` and Q that of ``nu_0 W_0``.

        Returns
        -------
        ndarray of shape (n_components, n_features, n_features), or one matrix for 'tied'
            Upper triangular, and as exact as the factors are where T is next to the identity. None
            if the prior has no factor.
        """
        prior, D = self.prior, self.n_features
        if prior.precision_cholesky is None:
            return None
        if prior.covariance_type not in ("full", "tied"):
            ratios = (self.precision_cholesky - prior.precision_cholesky) / prior.precision_cholesky
            return np.asarray(ratios.reshape(len(self.means), -1, 1) * np.eye(D))
        factor = self.precision_cholesky.reshape(-1, D, D)
        by = prior.precision_cholesky
        ratios = factor.diagonal(axis1=1, axis2=2) / by.diagonal()
        result = np.triu(factor - by * ratios[:, np.newaxis], 1)
        for i in reversed(range(D)):
            result[:, i] -= np.einsum("j,kjl->kl", by[i, i + 1 :], result[:, i + 1 :])
            result[:, i] /= by[i, i]
        each = np.arange(D)
        result[:, each, each] = (factor - by)[:, each, each] / by.diagonal()
        return result

    def _prior_trace(self) -> Float64Array:
        """Return ``tr(W_0^-1 nu_k W_k)``, shaped as the degrees of freedom."""
        kind = self.prior.covariance_type
        precisions = precisions_of(kind, self.precision_cholesky)
        return trace_of_product(kind, self.prior.covariance, precisions, self.n_features)

    def _distance_to(self, points: Float64Array) -> Float64Array:
        """Return ``(m_k - x)^T nu_k W_k (m_k - x)`` for each component's point or the only one."""
        deviation = self.means - points
        if self.prior.covariance_type in ("full", "tied"):
            whitened = (deviation[:, np.newaxis] @ self.precision_cholesky)[:, 0]
        else:
            whitened = (deviation.T * self.precision_cholesky.T).T
        return np.asarray(np.square(whitened).sum(axis=1))

    @functools.cached_property
    def expected_trace(self) -> Float64Array:
        """``E[tr Lambda_k] = tr(nu_k W_k)``, shaped as the degrees of freedom."""
        kind, factor = self.prior.covariance_type, self.precision_cholesky
        return trace_of_product(kind, factor, factor, self.n_features)
