"""Normal-Wishart prior of Gaussian components, see :mod:`vbfast.families.normal_wishart`."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field, replace

import numpy as np

from vbfast.config.settings import current_linalg
from vbfast.contract import (
    CovarianceType,
    Float64Array,
    LinearAlgebra,
    NormalWishartArrays,
    NotPositiveDefiniteError,
)
from vbfast.families.covariances import add_to_diagonal, log_det_factor, precision_factor
from vbfast.families.wishart import log_wishart_normaliser

__all__ = ["LEAST_COUNT", "NormalWishartPrior"]

# Rows that even an empty component's share of `reg_covar` is for, where the prior is singular.
LEAST_COUNT = 10.0 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class NormalWishartPrior:
    """Prior of the components' means and precisions, all float64.

    Attributes
    ----------
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    mean_precision : float
        ``beta_0``.
    mean : ndarray of shape (n_features,)
        ``m_0``.
    degrees_of_freedom : float
        ``nu_0 > n_features - 1``.
    covariance : ndarray
        ``W_0^-1``: shape (D, D) for 'full' and 'tied', (D,) its diagonal for 'diag', () for
        'spherical'.
    least_variance : float
        What the global step adds to a singular ``W_0^-1``, of components without rows too, in every
        direction: ``reg_covar`` times :data:`LEAST_COUNT`. The prior is what such components have,
        and what bounds are taken with. A ``W_0^-1`` that is not singular is the prior as it is.
    linalg : LinearAlgebra
        What its factor is computed with, and what is asked of posteriors that have this prior. By
        default it is that of the backend in use.
    """

    covariance_type: CovarianceType
    mean_precision: float
    mean: Float64Array
    degrees_of_freedom: float
    covariance: Float64Array
    least_variance: float = 0.0
    linalg: LinearAlgebra = field(default_factory=current_linalg, repr=False, compare=False)

    def computed_with(self, linalg: LinearAlgebra) -> NormalWishartPrior:
        """Return the same prior, computed with ``linalg``."""
        return self if linalg is self.linalg else replace(self, linalg=linalg)

    def same_as(self, other: NormalWishartPrior) -> bool:
        """Whether all numbers are the same."""
        numbers = ("covariance_type", "mean_precision", "degrees_of_freedom", "least_variance")
        return (
            all(getattr(self, name) == getattr(other, name) for name in numbers)
            and np.array_equal(self.mean, other.mean)
            and np.array_equal(self.covariance, other.covariance)
        )

    @functools.cached_property
    def proper(self) -> bool:
        """Whether ``W_0^-1`` is positive definite beyond rounding, without ``least_variance``."""
        return _regular(self.covariance_type, self.covariance, self.linalg)

    @property
    def least_count(self) -> float:
        """The rows that a posterior's ``reg_covar`` is for, beyond those that there are."""
        return 0.0 if self.proper else LEAST_COUNT

    @functools.cached_property
    def log_normaliser(self) -> float:
        """``log B(W_0, nu_0)``, see :func:`~vbfast.families.wishart.log_wishart_normaliser`.

        Without a factor the prior is improper, and the infinite part is left out: ``log det W_0``
        is then that of the subspace where ``W_0^-1`` is not singular.
        """
        log_det = np.asarray(-self._log_det)
        degrees_of_freedom = np.asarray(self.degrees_of_freedom)
        return float(log_wishart_normaliser(log_det, degrees_of_freedom, len(self.mean)))

    @functools.cached_property
    def precision_cholesky(self) -> Float64Array | None:
        """Factor of ``nu_0 W_0``, as a component has; None if ``W_0^-1`` has no use as a scale.

        Computed as that of a component without rows, to the bit, so that such a one has no
        divergence from its prior, however large ``nu_0`` or small a variance is.
        """
        kind = self.covariance_type
        if not (self.proper or self.least_variance > 0.0):
            return None
        tied = kind == "tied"
        scatter = np.array(self.covariance if tied else self.covariance[np.newaxis], order="C")
        if not self.proper:
            add_to_diagonal(kind, scatter, self.least_variance)
        try:
            factor = precision_factor(kind, scatter / self.degrees_of_freedom, self.linalg)
        except NotPositiveDefiniteError:
            return None
        return np.asarray(factor if tied else factor[0])

    @functools.cached_property
    def arrays(self) -> NormalWishartArrays | None:
        """What a backend takes of it; None if it has no factor."""
        factor = self.precision_cholesky
        if factor is None:
            return None
        beta, nu = np.asarray(self.mean_precision), np.asarray(self.degrees_of_freedom)
        return NormalWishartArrays(beta, self.mean, nu, factor)

    @functools.cached_property
    def _log_det(self) -> float:
        """``log det W_0^-1``; of the subspace where it is not singular if it has no factor."""
        D, factor = len(self.mean), self.precision_cholesky
        if factor is None:
            return _log_det_of_support(self.covariance_type, self.covariance, D)
        log_det = float(log_det_factor(self.covariance_type, factor, D))
        return D * math.log(self.degrees_of_freedom) - 2.0 * log_det


def _regular(
    covariance_type: CovarianceType, covariance: Float64Array, linalg: LinearAlgebra
) -> bool:
    """Return whether ``W_0^-1`` is positive definite beyond rounding."""
    if covariance_type in ("diag", "spherical"):
        return bool(np.all(covariance > 0.0))
    # The factor's bits depend on nothing; the eigenvalues' may, on the threads of LAPACK.
    try:
        factor = precision_factor("tied", covariance, linalg)
    except NotPositiveDefiniteError:
        return False
    # A pivot 1 / P_ii^2 is the variance of a direction with the coefficients P_ji / P_ii, and what
    # rounding leaves of a zero is in proportion to the variances that cancel in it.
    cancelled = (np.square(factor) * np.diagonal(covariance)[:, np.newaxis]).sum(axis=0)
    return bool(np.all(_tolerance(len(covariance)) * cancelled < 1.0))


def _tolerance(n_features: int) -> float:
    return 10.0 * n_features * float(np.finfo(np.float64).eps)


def _log_det_of_support(
    covariance_type: CovarianceType, covariance: Float64Array, n_features: int
) -> float:
    """Return the log-determinant of a singular ``W_0^-1`` where it is not."""
    if covariance_type == "spherical":
        values = np.full(n_features, float(covariance))
    elif covariance_type == "diag":
        values = covariance
    else:
        values = np.linalg.eigvalsh(covariance)
        values = np.where(values > _tolerance(n_features) * values.max(), values, 0.0)
    return float(np.log(values[values > 0.0]).sum())
