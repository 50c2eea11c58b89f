"""What a backend makes of sums over the rows: the moments of Gaussian components."""

from __future__ import annotations

from typing import Protocol

from vbfast.contract.statistics import Statistics
from vbfast.contract.types import CovarianceType, Float64Array

__all__ = ["GaussianMoments"]


class GaussianMoments(Protocol):
    """The maximum-likelihood moments of Gaussian components, and what their densities are there."""

    def gaussian_moments(
        self,
        covariance_type: CovarianceType,
        statistics: Statistics,
        *,
        variance: float,
        least_count: float,
        empty: float,
        previous_means: Float64Array | None,
        previous_covariances: Float64Array | None,
    ) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Moments of most likelihood (Bishop 2006, eq. 9.24-9.26).

        Second moments about the means are divided by ``N_k + least_count``, of which 'tied' has
        the sums over the components. ``variance`` is then added in every direction. Bits do not
        depend on the backend.

        Parameters
        ----------
        covariance_type : {'full', 'tied', 'diag', 'spherical'}
        statistics : Statistics
            Of the covariance type's kind.
        variance, least_count : float
        empty : float
            A component of less weight has lost its rows. Its count is its weight, its mean and its
            covariance are the previous ones; without those it stays at its centre.
        previous_means, previous_covariances : ndarray or None

        Returns
        -------
        counts : ndarray of shape (n_components,)
            ``N_k + least_count``.
        means : ndarray of shape (n_components, n_features)
        covariances : ndarray, shaped by the covariance type
        """

    def gaussian_offsets(
        self,
        covariance_type: CovarianceType,
        weights: Float64Array,
        factor: Float64Array,
        n_features: int,
    ) -> Float64Array:
        """Log-joints of a mixture at the components' means, nats.

        They are ``log pi_k - D/2 log(2 pi) + log det P_k``; ``-inf`` for a component of no weight.

        Parameters
        ----------
        covariance_type : {'full', 'tied', 'diag', 'spherical'}
        weights : ndarray of shape (n_components,)
        factor : ndarray
            ``P_k``, upper triangular, or square roots; shaped by the covariance type.
        n_features : int

        Returns
        -------
        ndarray of shape (n_components,)
        """
