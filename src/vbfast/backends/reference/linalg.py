"""The linear algebra of a global step in SciPy and NumPy, for reading."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from vbfast.contract import Float64Array, NotPositiveDefiniteError, subtract_symmetric

__all__ = ["ReferenceLinearAlgebra"]


class ReferenceLinearAlgebra:
    """See :class:`vbfast.contract.LinearAlgebra`."""

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

    def ratio_norms(self, factors: Float64Array, denominators: Float64Array) -> Float64Array:
        """Squared Frobenius norms ``||B^-1 A||^2`` of upper triangular factors."""
        return np.asarray(np.square(np.linalg.solve(denominators, factors)).sum(axis=(1, 2)))

    def subtract_symmetric(
        self, matrices: Float64Array, a: Float64Array, b: Float64Array
    ) -> Float64Array:
        """Matrices less ``a b^T + b a^T``."""
        return subtract_symmetric(matrices, a, b)

    def matrix_gradients(
        self,
        weight: Float64Array,
        first: Float64Array,
        second: Float64Array,
        factors: Float64Array,
    ) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Gradients of Gaussian log densities in means, covariances and precision factors."""
        identity = np.eye(factors.shape[-1])
        transposed = factors.swapaxes(1, 2)
        weight = weight[:, np.newaxis, np.newaxis]
        # Before the outer products, which would cancel: of expectation zero where a covariance
        # fits.
        excess = transposed @ second @ factors - weight * identity
        halves = 0.25 * (factors @ excess @ transposed)
        diagonal = np.diagonal(factors, axis1=1, axis2=2)[:, np.newaxis]
        return (
            first @ factors @ transposed,
            halves + halves.swapaxes(1, 2),  # symmetric to the last bit
            weight * identity / diagonal - np.triu(second @ factors),
        )

    def draw_rows(
        self,
        normals: Float64Array,
        counts: npt.NDArray[np.int64],
        factors: Float64Array,
        means: Float64Array,
    ) -> Float64Array:
        """Draws of Gaussians, one component after another."""
        rows = np.repeat(means, counts, axis=0)
        whole = np.broadcast_to(factors, (len(means), *factors.shape[1:]))
        ends = np.cumsum(counts)
        for factor, start, end in zip(whole, ends - counts, ends, strict=True):
            if end > start:
                rows[start:end] += solve_triangular(factor, normals[start:end].T, trans="T").T
        return rows
