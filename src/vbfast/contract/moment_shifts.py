"""Second moments about other points."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from vbfast.contract.types import CovarianceType, Float64Array

__all__ = ["MomentShifts", "subtract_symmetric"]


class MomentShifts(Protocol):
    """What a backend computes with second moments that move to other points."""

    def subtract_symmetric(
        self, matrices: Float64Array, a: Float64Array, b: Float64Array
    ) -> Float64Array:
        """Matrices less ``a b^T + b a^T``, exactly symmetric where the matrices are.

        Parameters
        ----------
        matrices : ndarray of shape (n_components, n_features, n_features)
        a, b : ndarray of shape (n_components, n_features)

        Returns
        -------
        ndarray of shape (n_components, n_features, n_features)
        """

    def average_moved(
        self,
        matrices: Float64Array,
        a: Float64Array,
        b: Float64Array,
        kept: float,
        others: Float64Array,
        taken: float,
    ) -> Float64Array:
        """``kept`` times matrices less ``a b^T + b a^T``, plus ``taken`` times others.

        Exactly symmetric where the matrices are. The bits are those of
        :meth:`subtract_symmetric`, two products and a sum.

        Parameters
        ----------
        matrices, others : ndarray of shape (n_components, n_features, n_features)
        a, b : ndarray of shape (n_components, n_features)
        kept, taken : float

        Returns
        -------
        ndarray of shape (n_components, n_features, n_features)
        """

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
        """Whether second moments lose too many digits on the way to the rows' means.

        With the way ``s_k = f_k / N_k``, of a variance ``V + floor`` the part ``N_k s_k^2`` is
        subtracted, and ``N_k r_k^2`` where the pass has taken the moments about a point as far as
        ``r_k`` from the centre. They do if that is more than ``tolerated`` times what is left, of
        any variance.

        Parameters
        ----------
        factor_type : {'full', 'tied', 'diag', 'spherical'}
        offset, centres, factor : ndarray
            Of the quadratic form that the pass was run with.
        second_type : {'full', 'tied', 'diag', 'spherical'}
            The covariance type whose shape the second moments have.
        weight, first, second : ndarray
            The statistics.
        floor : ndarray
            What will be added to the sums of squares; broadcasts against (n_components,
            n_features), for 'tied' against (1, n_features).
        tolerated : float
        reach : float
            The largest squared distance from the middle of the components, in standard deviations
            of a component's narrowest direction, at which its moments may have been taken there.
        """


def subtract_symmetric(matrices: Float64Array, a: Float64Array, b: Float64Array) -> Float64Array:
    """Return what :meth:`MomentShifts.subtract_symmetric` does, in plain NumPy."""
    product = a[:, :, np.newaxis] * b[:, np.newaxis, :]
    # The products are added first: subtracted in turn they would round unsymmetrically.
    return np.asarray(matrices - (product + product.swapaxes(1, 2)))
