"""What a backend computes of conjugate posteriors: functions of gammas, and whole terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy.typing as npt

from vbfast.contract.statistics import Statistics
from vbfast.contract.types import CovarianceType, Float64Array

__all__ = ["GammaDifferences", "NormalWishartArrays", "Posteriors"]


class GammaDifferences(Protocol):
    """Differences of log-gamma and digamma functions that keep their digits at large arguments.

    All are elementwise on arrays that broadcast, in float64. At arguments of 1e12 log-gammas are
    3e13, and of a difference that is a nat or less nothing would be left.
    """

    def log1p_less_argument(self, x: npt.ArrayLike) -> Float64Array:
        """``log(1 + x) - x``, which is about ``-x^2 / 2``; ``-inf`` at -1."""

    def itakura_saito(
        self, x: npt.ArrayLike, y: npt.ArrayLike, step: npt.ArrayLike
    ) -> Float64Array:
        """``x / y - 1 - log(x / y)`` of positive numbers; never negative.

        The divergence of Itakura and Saito (1968). ``step`` is ``y - x``, which the caller may know
        better than by subtraction.
        """

    def log_ratio(self, x: npt.ArrayLike, step: npt.ArrayLike) -> Float64Array:
        """``log((x + step) / x)`` for positive ``x`` and ``x + step``."""

    def digamma_less_log(self, x: npt.ArrayLike) -> Float64Array:
        """``psi(x) - log x`` of positive numbers: about ``-1 / (2 x)`` where ``x`` is large."""

    def log_gamma_increment(self, x: npt.ArrayLike, step: npt.ArrayLike) -> Float64Array:
        """``log Gamma(x + step) - log Gamma(x) - step log x``: at large ``x`` ``step^2 / (2 x)``.

        ``x`` and ``x + step`` are positive.
        """

    def log_gamma_divergence(self, x: npt.ArrayLike, step: npt.ArrayLike) -> Float64Array:
        """``log Gamma(x) - log Gamma(y) + step psi(y)`` with ``y = x + step``; never negative.

        The divergence of the convex log-gamma function (Bregman 1967), of which Kullback-Leibler
        divergences of gamma, beta, Dirichlet and Wishart distributions consist. Its relative error
        is a few roundings.
        """


@dataclass(frozen=True)
class NormalWishartArrays:
    """Normal-Wishart distributions of the components' means and precisions, all float64.

    One for all components has arrays without the axis of components.

    Attributes
    ----------
    mean_precision : ndarray of shape (n_components,)
        ``beta_k``.
    means : ndarray of shape (n_components, n_features)
        ``m_k``.
    degrees_of_freedom : ndarray of shape (n_components,), or () for 'tied'
        ``nu_k``.
    factor : ndarray
        Upper triangular ``P`` with ``P @ P.T = nu_k W_k``, or square roots, shaped by the
        covariance type.
    """

    mean_precision: Float64Array
    means: Float64Array
    degrees_of_freedom: Float64Array
    factor: Float64Array


class Posteriors(GammaDifferences, Protocol):
    """Conjugate posteriors of a mixture, and the terms of its bound, all components at a time.

    A backend that has none of its own may take the reference backend's.
    """

    def dirichlet_expected_log(self, concentration: Float64Array) -> Float64Array:
        """``E[log pi_k]`` of a Dirichlet distribution (Bishop 2006, eq. 10.66), nats."""

    def dirichlet_log_evidence(self, prior_concentration: float, counts: Float64Array) -> float:
        """``log C(prior) - log C(posterior)`` with C a Dirichlet normaliser (eq. B.23), nats.

        The prior's concentrations are all ``prior_concentration``; the posterior's are larger by
        ``counts``, of shape (n_components,).
        """

    def stick_expected_log(self, taken: Float64Array, left: Float64Array) -> Float64Array:
        """``E[log v_k] + sum_{j<k} E[log (1 - v_j)]`` with ``v_k ~ Beta(taken_k, left_k)``."""

    def stick_log_evidence(self, gamma: float, rows: Float64Array, later: Float64Array) -> float:
        """``sum_k log B(1 + rows_k, gamma + later_k) - log B(1, gamma)``, nats."""

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
        """Posterior that maximizes the bound for given sufficient statistics.

        With ``d_k = m_k - m_0`` and the scatter ``S_k`` about the posterior mean (Bishop 2006, eq.
        10.60-10.63),

            beta_k = beta_0 + N_k,        m_k = m_0 + sum_n r_nk (x_n - m_0) / beta_k,
            nu_k = nu_0 + N_k,            W_k^-1 = W_0^-1 + S_k + beta_0 d_k d_k^T
                                                   + variance (N_k + least_count) I,

        of which 'diag' keeps the diagonal of ``W_k^-1``, 'spherical' its mean, and 'tied' the mean
        over the components of ``nu_k`` and ``W_k^-1``.

        Parameters
        ----------
        covariance_type : {'full', 'tied', 'diag', 'spherical'}
        prior_mean_precision, prior_degrees_of_freedom : float
            ``beta_0`` and ``nu_0``.
        prior_mean : ndarray of shape (n_features,)
            ``m_0``.
        prior_covariance : ndarray
            ``W_0^-1``, shaped as that of one component.
        statistics : Statistics
            Of the covariance type's kind.
        variance : float
            Added to the rows in every direction.
        least_count : float
            The rows that it is added for, beyond those that there are.

        Returns
        -------
        NormalWishartArrays
        covariances : ndarray
            ``(nu_k W_k)^-1``, shaped by the covariance type.

        Raises
        ------
        NotPositiveDefiniteError
            If a covariance is not positive definite, or not finite.
        """

    def normal_wishart_divergence(
        self, covariance_type: CovarianceType, q: NormalWishartArrays, r: NormalWishartArrays
    ) -> Float64Array:
        """``KL(q || r)`` of each component, shape (n_components,), nats.

        With ``M = (nu_r W_r)^-1 nu_k W_k`` and ``d = nu_k - nu_r``, of the Wishart part that is

            nu_r / 2 (tr M - D - log det M + D (log(1 + d / nu_r) - d / nu_r))
            + sum_i (log G(x_i) - log G(x_i + d / 2) + d / 2 psi(x_i + d / 2)),

        where ``x_i = (nu_r - i) / 2`` and G is the gamma function: each term vanishes at ``r = q``.
        With ``T = Q^-1 P`` of the factors, ``tr M - D - log det M`` is a sum of squares above the
        diagonal and of ``t^2 - 1 - log t^2`` on it (James and Stein 1961), which keeps its digits
        as ``T`` comes near the identity. The normal part is, expected over the precisions,

            1/2 (D (beta_r / beta_k - 1 - log(beta_r / beta_k)) + beta_r ||(m_k - m_r) P_k||^2).

        Parameters
        ----------
        covariance_type : {'full', 'tied', 'diag', 'spherical'}
        q : NormalWishartArrays
        r : NormalWishartArrays
            Of as many components, or one for all.
        """

    def expected_log_density(
        self, covariance_type: CovarianceType, q: NormalWishartArrays
    ) -> Float64Array:
        """``E[log N(x | mu_k, Lambda_k^-1)]`` at ``x = m_k``, shape (n_components,), nats.

        Elsewhere ``1/2 ||(x - m_k) P_k||^2`` less (Bishop 2006, eq. 10.64). ``-inf`` of a mean that
        is anywhere: no row is likely then.
        """

    def expected_log_det(
        self,
        covariance_type: CovarianceType,
        n_features: int,
        degrees_of_freedom: Float64Array,
        factor: Float64Array,
    ) -> Float64Array:
        """``E[log det Lambda_k]`` (Bishop 2006, eq. 10.65), shaped as the degrees of freedom.

        Of Wishart distributions as in :class:`NormalWishartArrays`.
        """
