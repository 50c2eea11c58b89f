"""Unconstrained coordinates of a mixture's parameters, and the metric to compare steps by.

Log-weights, means, and the precision Cholesky factor ``P`` with the logarithm of its diagonal:
every vector of these is a valid mixture, so parameters can be extrapolated in them without leaving
the model. Precision factors are what passes take: none has to be computed on the way there or back.

Steps in different coordinates have different units. They are compared by the diagonal of the
complete-data Fisher information per unit of row weight, which is, with ``Sigma`` the covariance,

    log pi_k: pi_k,             mu_ki: pi_k (P_k P_k^T)_ii,
    log P_kii: pi_k (1 + P_kii^2 Sigma_kii),    P_kij: pi_k Sigma_kii  (i < j),

with the sum over the features for the one coordinate of 'spherical', and over the components (whose
weights sum to one) for 'tied'.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vbfast.contract import Float64Array, NotPositiveDefiniteError
from vbfast.families.covariances import covariances_of
from vbfast.families.gaussian_parameters import GaussianParameters

__all__ = ["GaussianCoordinates"]

# A component of less weight is on its way out: its log-weight runs to minus infinity, and what that
# would be extrapolated to says nothing.
FAINT = 1e-8
# Of a precision factor's diagonal, whose square is still to be a number: an extrapolation beyond
# this is none worth a pass.
LARGEST_LOG = 300.0


@dataclass(frozen=True)
class GaussianCoordinates:
    """Coordinates of :class:`~vbfast.families.gaussian_parameters.GaussianParameters`.

    A vector has the blocks: log-weights (K), means (K x D), logarithms of the diagonal of the
    precision factor, and what is above its diagonal ('full' and 'tied').
    """

    def vector(self, parameters: GaussianParameters) -> Float64Array:
        """Return the coordinates of parameters.

        Returns
        -------
        ndarray of shape (n_coordinates,)
            Finite: a weight of zero stands as the smallest positive number.
        """
        log_weights = np.log(np.maximum(parameters.weights, np.finfo(np.float64).tiny))
        factor = parameters.precision_cholesky
        blocks = [log_weights, parameters.means, np.log(_diagonal(parameters, factor))]
        if parameters.covariance_type in ("full", "tied"):
            rows, columns = _above_diagonal(factor)
            blocks.append(factor[..., rows, columns])
        return np.concatenate([block.ravel() for block in blocks])

    def metric(self, parameters: GaussianParameters) -> Float64Array:
        """Return the diagonal of the Fisher information at parameters, zero for faint components.

        Returns
        -------
        ndarray of shape (n_coordinates,)
        """
        precisions = _diagonal(parameters, parameters.precisions)
        variances = _diagonal(parameters, parameters.covariances)
        weights = np.where(_faint(parameters), 0.0, parameters.weights)
        log_diagonal = 1.0 + _diagonal(parameters, parameters.precision_cholesky) ** 2 * variances
        if parameters.covariance_type == "spherical":
            log_diagonal *= parameters.n_features
            precisions = precisions[:, np.newaxis]
        # A shared factor has the weight of all components.
        share = np.float64(1.0) if parameters.covariance_type == "tied" else weights
        means = np.broadcast_to(precisions, parameters.means.shape)
        blocks = [weights, (means.T * weights).T, (log_diagonal.T * share).T]
        if parameters.covariance_type in ("full", "tied"):
            rows, _ = _above_diagonal(parameters.covariances)
            blocks.append((variances[..., rows].T * share).T)
        return np.concatenate([block.ravel() for block in blocks])

    def parameters(self, vector: Float64Array, image: GaussianParameters) -> GaussianParameters:
        """Return the parameters at given coordinates.

        Parameters
        ----------
        vector : ndarray of shape (n_coordinates,)
        image : GaussianParameters
            What faint components take their values from; gives the shapes.

        Raises
        ------
        NotPositiveDefiniteError
            If a precision has lost its rank to rounding, or is beyond what numbers hold.
        """
        faint = _faint(image)
        matrices = image.covariance_type in ("full", "tied")
        diagonal_shape = _diagonal(image, image.covariances).shape
        ends = np.cumsum([len(faint), image.means.size, int(np.prod(diagonal_shape))])
        log_weights, means, log_diagonal, above = np.split(vector, ends)

        log_weights = np.where(faint, image.log_weights, log_weights)
        log_diagonal = log_diagonal.reshape(diagonal_shape)
        beyond = np.abs(log_diagonal) > LARGEST_LOG
        if beyond.any():
            raise NotPositiveDefiniteError(int(np.argwhere(beyond)[0, 0]))
        diagonal = np.exp(log_diagonal)
        weights = np.exp(log_weights - log_weights.max())
        factor = diagonal
        if matrices:
            factor = np.zeros_like(image.precision_cholesky, order="C")
            each = np.arange(image.n_features)
            factor[..., each, each] = diagonal
            rows, columns = _above_diagonal(factor)
            factor[..., rows, columns] = above.reshape(*diagonal_shape[:-1], len(rows))
        centres = means.reshape(image.means.shape).copy()
        centres[faint] = image.means[faint]
        if image.covariance_type != "tied":
            factor[faint] = image.precision_cholesky[faint]
        kind, linalg = image.covariance_type, image.linalg
        covariances = covariances_of(kind, factor, linalg)
        weights /= weights.sum()
        return GaussianParameters(kind, weights, centres, covariances, factor, linalg)


def _faint(parameters: GaussianParameters) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return parameters.weights < FAINT


def _diagonal(parameters: GaussianParameters, values: Float64Array) -> Float64Array:
    """Return what is on the diagonal of matrices, or the values of 'diag' and 'spherical'."""
    if parameters.covariance_type in ("full", "tied"):
        return np.asarray(np.diagonal(values, axis1=-2, axis2=-1))
    return values


def _above_diagonal(
    matrices: Float64Array,
) -> tuple[np.ndarray[tuple[int], np.dtype[np.intp]], ...]:
    return np.triu_indices(matrices.shape[-1], 1)
