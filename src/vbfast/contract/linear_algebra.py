"""What a backend computes of a global step: batches of small matrices, and posteriors."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from vbfast.contract.gaussian_moments import GaussianMoments
from vbfast.contract.moment_shifts import MomentShifts
from vbfast.contract.posteriors import Posteriors
from vbfast.contract.types import Float64Array

__all__ = ["LinearAlgebra", "NotPositiveDefiniteError"]


class NotPositiveDefiniteError(ValueError):
    """A matrix has no Cholesky factor. ``component`` is its index in the stack."""

    def __init__(self, component: int) -> None:
        super().__init__(f"the matrix of component {component} is not positive definite")
        self.component = component


class LinearAlgebra(MomentShifts, GaussianMoments, Posteriors, Protocol):
    """What a backend computes with stacks of small matrices, and posteriors, all float64.

    The bits of every result are the same for any number of threads.
    """

    def precision_cholesky(self, covariances: Float64Array) -> Float64Array:
        """Upper triangular factors of the inverses of covariance matrices.

        Parameters
        ----------
        covariances : ndarray of shape (n_components, n_features, n_features)
            Symmetric.

        Returns
        -------
        ndarray of the same shape
            ``P`` with ``P @ P.T`` the inverse: the transposed inverse of the lower Cholesky
            factor.

        Raises
        ------
        NotPositiveDefiniteError
            If a matrix is not positive definite, or not finite.
        """

    def precisions(self, factors: Float64Array) -> Float64Array:
        """Precision matrices of their factors.

        Parameters
        ----------
        factors : ndarray of shape (n_components, n_features, n_features)
            ``P``, upper triangular.

        Returns
        -------
        ndarray of the same shape
            ``P @ P.T``, exactly symmetric.
        """

    def matrix_gradients(
        self,
        weight: Float64Array,
        first: Float64Array,
        second: Float64Array,
        factors: Float64Array,
    ) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Gradients of Gaussian log densities in means, covariances and precision factors.

        With the weight ``N``, moments ``f`` and ``S`` about the mean and ``Lambda = P P^T``
        (Petersen and Pedersen 2012, eq. 57, 61 and 86), of
        ``L = sum_n r_n log N(x_n | mu, Lambda^-1)``

            dL/dmu = Lambda f,    dL/dSigma = 1/2 (Lambda S Lambda - N Lambda),
            dL/dP = triu(N P^{-T} - S P).

        Parameters
        ----------
        weight : ndarray of shape (n_matrices,)
            ``N``, of all the means that share a matrix.
        first : ndarray of shape (n_matrices, n_means, n_features)
            ``f``, one for each mean.
        second : ndarray of shape (n_matrices, n_features, n_features)
            ``S``, symmetric.
        factors : ndarray of the same shape
            ``P``, upper triangular.

        Returns
        -------
        means : ndarray, shaped as ``first``
        covariances : ndarray, shaped as ``second``
            Exactly symmetric.
        factors : ndarray, shaped as ``second``
            Upper triangular.
        """

    def draw_rows(
        self,
        normals: Float64Array,
        counts: npt.NDArray[np.int64],
        factors: Float64Array,
        means: Float64Array,
    ) -> Float64Array:
        """Draws of Gaussians from standard normals: ``mu + z P^-1``, of precision ``P P^T``.

        Parameters
        ----------
        normals : ndarray of shape (n_samples, n_features), C order
            ``z``, ordered by component. May be overwritten, and may be what is returned.
        counts : ndarray of shape (n_components,), int64
            Rows of each component.
        factors : ndarray of shape (n_components, n_features, n_features) or (1, ...)
            ``P``, upper triangular.
        means : ndarray of shape (n_components, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
