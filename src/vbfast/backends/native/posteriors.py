"""Conjugate posteriors, native and for all components at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vbfast import _vbfast
from vbfast.contract import (
    CovarianceType,
    Float64Array,
    NormalWishartArrays,
    NotPositiveDefiniteError,
    Statistics,
)

__all__ = ["NativePosteriors"]


class NativePosteriors:
    """See :class:`vbfast.contract.Posteriors`."""

    _num_threads: int

    def log1p_less_argument(self, x: npt.ArrayLike) -> Float64Array:
        """``log(1 + x) - x``."""
        return np.asarray(_vbfast.log1p_less_argument(x))

    def itakura_saito(
        self, x: npt.ArrayLike, y: npt.ArrayLike, step: npt.ArrayLike
    ) -> Float64Array:
        """``x / y - 1 - log(x / y)``."""
        return np.asarray(_vbfast.itakura_saito(x, y, step))

    def log_ratio(self, x: npt.ArrayLike, step: npt.ArrayLike) -> Float64Array:
        """``log((x + step) / x)``."""
        return np.asarray(_vbfast.log_ratio(x, step))

    def digamma_less_log(self, x: npt.ArrayLike) -> Float64Array:
        """``psi(x) - log x``."""
        return np.asarray(_vbfast.digamma_less_log(x))

    def log_gamma_increment(self, x: npt.ArrayLike, step: npt.ArrayLike) -> Float64Array:
        """``log Gamma(x + step) - log Gamma(x) - step log x``."""
        return np.asarray(_vbfast.log_gamma_increment(x, step))

    def log_gamma_divergence(self, x: npt.ArrayLike, step: npt.ArrayLike) -> Float64Array:
        """``log Gamma(x) - log Gamma(x + step) + step psi(x + step)``."""
        return np.asarray(_vbfast.log_gamma_divergence(x, step))

    def dirichlet_expected_log(self, concentration: Float64Array) -> Float64Array:
        """``E[log pi_k]`` of a Dirichlet distribution."""
        return _vbfast.dirichlet_expected_log(concentration)

    def dirichlet_log_evidence(self, prior_concentration: float, counts: Float64Array) -> float:
        """Log-ratio of a Dirichlet posterior's normaliser to the prior's."""
        return _vbfast.dirichlet_log_evidence(prior_concentration, counts)

    def stick_expected_log(self, taken: Float64Array, left: Float64Array) -> Float64Array:
        """``E[log pi_k]`` of sticks."""
        return _vbfast.stick_expected_log(taken, left)

    def stick_log_evidence(self, gamma: float, rows: Float64Array, later: Float64Array) -> float:
        """Log-ratio of the sticks' normalisers to the prior's."""
        return _vbfast.stick_log_evidence(gamma, rows, later)

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
        assert statistics.second is not None
        mean_precision, means, degrees, covariances, factor, failed = (
            _vbfast.normal_wishart_posterior(
                covariance_type,
                prior_mean_precision,
                prior_mean,
                prior_degrees_of_freedom,
                prior_covariance,
                statistics.centres,
                statistics.weight,
                statistics.mass,
                statistics.first,
                statistics.second,
                variance,
                least_count,
                self._num_threads,
            )
        )
        if failed >= 0:
            raise NotPositiveDefiniteError(failed)
        return NormalWishartArrays(mean_precision, means, degrees, factor), covariances

    def normal_wishart_divergence(
        self, covariance_type: CovarianceType, q: NormalWishartArrays, r: NormalWishartArrays
    ) -> Float64Array:
        """``KL(q || r)`` of each component."""
        return _vbfast.normal_wishart_divergence(
            covariance_type,
            (q.mean_precision, q.means, q.degrees_of_freedom, q.factor),
            (r.mean_precision, r.means, r.degrees_of_freedom, r.factor),
            self._num_threads,
        )

    def expected_log_density(
        self, covariance_type: CovarianceType, q: NormalWishartArrays
    ) -> Float64Array:
        """``E[log N(x | mu_k, Lambda_k^-1)]`` at ``x = m_k``."""
        return _vbfast.expected_log_density(
            covariance_type,
            (q.mean_precision, q.means, q.degrees_of_freedom, q.factor),
            self._num_threads,
        )

    def expected_log_det(
        self,
        covariance_type: CovarianceType,
        n_features: int,
        degrees_of_freedom: Float64Array,
        factor: Float64Array,
    ) -> Float64Array:
        """``E[log det Lambda_k]``."""
        return _vbfast.expected_log_det(
            covariance_type, n_features, degrees_of_freedom, factor, self._num_threads
        )
