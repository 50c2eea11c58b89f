"""The linear algebra of a global step, native and batched over the components.

The bits of a threaded LAPACK or BLAS depend on its number of threads from about 128 features on;
these do not, and a Python loop over the components would be slow.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from vbfast import _vbfast
from vbfast.backends.native.posteriors import NativePosteriors
from vbfast.contract import CovarianceType, Float64Array, NotPositiveDefiniteError, Statistics

__all__ = ["NativeLinearAlgebra", "native_linalg"]


class NativeLinearAlgebra(NativePosteriors):
    """See :class:`vbfast.contract.LinearAlgebra`."""

    def __init__(self, num_threads: int) -> None:
        self._num_threads = num_threads

    def precision_cholesky(self, covariances: Float64Array) -> Float64Array:
        """Upper triangular factors of the inverses of covariance matrices."""
        factors, failed = _vbfast.precision_cholesky(
            np.ascontiguousarray(covariances), self._num_threads
        )
        if failed >= 0:
            raise NotPositiveDefiniteError(failed)
        return factors

    def precisions(self, factors: Float64Array) -> Float64Array:
        """Precision matrices of their factors."""
        return _vbfast.squares(np.ascontiguousarray(factors), self._num_threads)

    def subtract_symmetric(
        self, matrices: Float64Array, a: Float64Array, b: Float64Array
    ) -> Float64Array:
        """Matrices less ``a b^T + b a^T``."""
        return _vbfast.subtract_symmetric(
            np.ascontiguousarray(matrices),
            np.ascontiguousarray(a),
            np.ascontiguousarray(b),
            self._num_threads,
        )

    def average_moved(
        self,
        matrices: Float64Array,
        a: Float64Array,
        b: Float64Array,
        kept: float,
        others: Float64Array,
        taken: float,
    ) -> Float64Array:
        """Matrices less ``a b^T + b a^T``, averaged with others."""
        return _vbfast.average_moved(
            np.ascontiguousarray(matrices),
            np.ascontiguousarray(a),
            np.ascontiguousarray(b),
            kept,
            np.ascontiguousarray(others),
            taken,
            self._num_threads,
        )

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
        """Moments of most likelihood."""
        assert statistics.second is not None
        return _vbfast.gaussian_moments(
            covariance_type,
            statistics.centres,
            statistics.weight,
            statistics.mass,
            statistics.first,
            statistics.second,
            variance,
            least_count,
            empty,
            previous_means,
            previous_covariances,
            self._num_threads,
        )

    def gaussian_offsets(
        self,
        covariance_type: CovarianceType,
        weights: Float64Array,
        factor: Float64Array,
        n_features: int,
    ) -> Float64Array:
        """Log-joints of a mixture at the components' means."""
        return _vbfast.gaussian_offsets(covariance_type, weights, factor, n_features)

    def second_moments_cancel(
        self,
        factor_type: CovarianceType,
        offset: Float64Array,
        centres: Float64Array,
        factor: Float64Array,
        second_type: CovarianceType,
        weight: Float64Array,
        first: Float64Array,
        second: Float64Array,
        floor: Float64Array,
        *,
        tolerated: float,
        reach: float,
    ) -> bool:
        """Whether second moments lose too many digits on the way to the rows' means."""
        return _vbfast.second_moments_cancel(
            factor_type, offset, centres, factor, second_type, weight, first, second, floor,
            tolerated, reach,
        )  # fmt: skip

    def matrix_gradients(
        self,
        weight: Float64Array,
        first: Float64Array,
        second: Float64Array,
        factors: Float64Array,
    ) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Gradients of Gaussian log densities in means, covariances and precision factors."""
        return _vbfast.matrix_gradients(
            np.ascontiguousarray(weight),
            np.ascontiguousarray(first),
            np.ascontiguousarray(second),
            np.ascontiguousarray(factors),
            self._num_threads,
        )

    def draw_rows(
        self,
        normals: Float64Array,
        counts: npt.NDArray[np.int64],
        factors: Float64Array,
        means: Float64Array,
    ) -> Float64Array:
        """Draws of Gaussians, in the place of the normals."""
        _vbfast.draw_rows(
            normals,
            counts,
            np.ascontiguousarray(factors),
            np.ascontiguousarray(means),
            self._num_threads,
        )
        return normals


# One for each number of threads: an iteration asks several times, and parameters keep theirs.
native_linalg = functools.cache(NativeLinearAlgebra)
