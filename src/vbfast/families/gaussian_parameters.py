"""Parameters of a mixture of Gaussians, and the log-joint that they make."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vbfast.config.settings import current_linalg
from vbfast.contract import CovarianceType, Float64Array, LinearAlgebra, LogJoint
from vbfast.families.covariances import precision_factor, precisions_of
from vbfast.families.linalg import gram, upper_cholesky
from vbfast.families.mixing_weights import log_proportions

__all__ = ["GaussianParameters", "draw_gaussians", "gaussian_log_joint"]


@dataclass(frozen=True)
class GaussianParameters:
    """Parameters of a Gaussian mixture, all float64.

    Attributes
    ----------
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    weights : ndarray of shape (n_components,)
        Mixing proportions. They sum to one except in a start, where scikit-learn divides the
        responsibilities' sums by the number of rows and leaves it at that.
    means : ndarray of shape (n_components, n_features)
    covariances : ndarray
        Shape (K, D, D) for 'full', (D, D) for 'tied', (K, D) for 'diag' and (K,) for 'spherical'.
    precision_cholesky : ndarray
        Upper triangular ``P`` with ``P @ P.T`` the precision; inverse standard deviations for
        'diag' and 'spherical'. Shaped as ``covariances``.
    linalg : LinearAlgebra
        What other parameters are computed from these with. By default it is that of the backend in
        use; parameters that a pass led to have that of the pass's backend.
    """

    covariance_type: CovarianceType
    weights: Float64Array
    means: Float64Array
    covariances: Float64Array
    precision_cholesky: Float64Array
    linalg: LinearAlgebra = field(default_factory=current_linalg, repr=False, compare=False)

    @classmethod
    def from_covariances(
        cls,
        covariance_type: CovarianceType,
        weights: Float64Array,
        means: Float64Array,
        covariances: Float64Array,
        linalg: LinearAlgebra | None = None,
    ) -> GaussianParameters:
        """Parameters with the precision factor of given covariances.

        It is computed with ``linalg``, by default that of the backend in use.

        Raises
        ------
        NotPositiveDefiniteError
            If a covariance is not positive definite.
        """
        linalg = linalg or current_linalg()
        factor = precision_factor(covariance_type, covariances, linalg)
        return cls(covariance_type, weights, means, covariances, factor, linalg)

    @classmethod
    def from_precisions(
        cls,
        covariance_type: CovarianceType,
        weights: Float64Array,
        means: Float64Array,
        precisions: Float64Array,
        linalg: LinearAlgebra | None = None,
    ) -> GaussianParameters:
        """Parameters with given precisions, shaped as covariances are.

        Covariances are computed with ``linalg``, by default that of the backend in use.

        Raises
        ------
        NotPositiveDefiniteError
            If a precision is not positive definite.
        """
        linalg = linalg or current_linalg()
        if covariance_type in ("full", "tied"):
            # The inverse of a precision is Q Q^T with Q the precision factor *of the precision*.
            stack = precisions.reshape(-1, *precisions.shape[-2:])
            covariances = gram(precision_factor("full", stack, linalg)).reshape(precisions.shape)
            factor = upper_cholesky(stack).reshape(precisions.shape)
        else:
            covariances = 1.0 / precisions
            factor = np.sqrt(precisions)
        return cls(covariance_type, weights, means, covariances, factor, linalg)

    @property
    def n_components(self) -> int:
        """K."""
        return int(self.means.shape[0])

    @property
    def n_features(self) -> int:
        """D."""
        return int(self.means.shape[1])

    @property
    def precisions(self) -> Float64Array:
        """Inverse covariances, shaped as ``covariances``."""
        return precisions_of(self.covariance_type, self.precision_cholesky, self.linalg)

    def log_joint(self) -> LogJoint:
        """Lay the log-joint ``log pi_k + log N(x | mu_k, Sigma_k)`` out as a pass takes it.

        Returns
        -------
        LogJoint
            A component of zero weight has ``offset`` ``-inf``.
        """
        return gaussian_log_joint(
            self.covariance_type, self.weights, self.means, self.precision_cholesky, self.linalg
        )

    def log_density(self) -> LogJoint:
        """Return the log-joint without the weights: ``log N(x | mu_k, Sigma_k)``."""
        even = np.ones(self.n_components)
        return gaussian_log_joint(
            self.covariance_type, even, self.means, self.precision_cholesky, self.linalg
        )

    @property
    def log_weights(self) -> Float64Array:
        """``log pi_k``, nats."""
        return log_proportions(self.weights)


def gaussian_log_joint(
    covariance_type: CovarianceType,
    weights: Float64Array,
    means: Float64Array,
    precision_cholesky: Float64Array,
    linalg: LinearAlgebra | None = None,
) -> LogJoint:
    """Lay the log-joint of a Gaussian mixture out as a pass takes it.

    Parameters
    ----------
    covariance_type, weights, means, precision_cholesky
        As in :class:`GaussianParameters`.
    linalg : LinearAlgebra, optional
        By default that of the backend in use.

    Returns
    -------
    LogJoint
        With ``offset_k = log pi_k - D/2 log(2 pi) + log det P_k``.
    """
    offset = (linalg or current_linalg()).gaussian_offsets(
        covariance_type, weights, precision_cholesky, means.shape[1]
    )
    return LogJoint.quadratic(covariance_type, offset, means, precision_cholesky)


def draw_gaussians(
    covariance_type: CovarianceType,
    means: Float64Array,
    precision_cholesky: Float64Array,
    counts: npt.NDArray[np.int64],
    random_state: np.random.RandomState,
    linalg: LinearAlgebra,
) -> Float64Array:
    """Draw rows of Gaussians: ``mu + z P^-1``, with standard normals ``z``.

    scikit-learn takes as many normals, in the same order; for matrices it multiplies them by
    another root of the covariance, from a singular value decomposition.

    Parameters
    ----------
    covariance_type, means, precision_cholesky
        As in :class:`GaussianParameters`.
    counts : ndarray of shape (n_components,), int64
        Rows of each component.
    random_state : RandomState
    linalg : LinearAlgebra

    Returns
    -------
    ndarray of shape (counts.sum(), n_features)
        Ordered by component.
    """
    rows = random_state.standard_normal((counts.sum(), means.shape[1]))
    if covariance_type in ("full", "tied"):
        factors = precision_cholesky.reshape(-1, *precision_cholesky.shape[-2:])
        return linalg.draw_rows(rows, counts, factors, means)
    deviations = 1.0 / precision_cholesky
    ends = np.cumsum(counts)
    for k, (start, end) in enumerate(zip(ends - counts, ends, strict=True)):
        rows[start:end] *= deviations[k]
        rows[start:end] += means[k]
    return rows
