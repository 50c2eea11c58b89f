"""The linear algebra of a global step in SciPy and NumPy, for reading."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular

from vbfast.backends.reference.posteriors import ReferencePosteriors
from vbfast.contract import CovarianceType, Float64Array, Statistics, subtract_symmetric

__all__ = ["ReferenceLinearAlgebra"]


class ReferenceLinearAlgebra(ReferencePosteriors):
    """See :class:`vbfast.contract.LinearAlgebra`."""

    def precisions(self, factors: Float64Array) -> Float64Array:
        """Precision matrices of their factors."""
        return np.asarray(factors @ factors.swapaxes(-1, -2))

    def subtract_symmetric(
        self, matrices: Float64Array, a: Float64Array, b: Float64Array
    ) -> Float64Array:
        """Matrices less ``a b^T + b a^T``."""
        return subtract_symmetric(matrices, a, b)

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
        return np.asarray(kept * subtract_symmetric(matrices, a, b) + taken * others)

    @np.errstate(over="ignore", invalid="ignore")  # no finite covariance is an error of its own
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
        weight, centres = statistics.weight, statistics.centres
        lost = weight < empty
        counts = weight + least_count
        # Steps are taken from the centres, which are the current means: sums of x would cancel.
        step = np.divide(
            statistics.first,
            weight[:, np.newaxis],
            out=np.zeros_like(centres),
            where=~lost[:, np.newaxis],
        )
        if previous_means is not None:
            step[lost] = previous_means[lost] - centres[lost]
        covariances = statistics.second_about(step)
        if covariance_type == "tied":
            covariances /= counts.sum()
        else:
            # A sum of squares of rows that coincide may fall below zero by rounding.
            if covariance_type != "full":
                np.maximum(covariances, 0.0, out=covariances)
            np.divide(covariances.T, counts, out=covariances.T)
        if covariance_type in ("full", "tied"):
            covariances += variance * np.eye(centres.shape[1])
        else:
            covariances += variance
        counts[lost] = weight[lost]
        if previous_covariances is not None and covariance_type != "tied":
            covariances[lost] = previous_covariances[lost]
        return counts, centres + step, covariances

    def gaussian_offsets(
        self,
        covariance_type: CovarianceType,
        weights: Float64Array,
        factor: Float64Array,
        n_features: int,
    ) -> Float64Array:
        """Log-joints of a mixture at the components' means."""
        if covariance_type in ("full", "tied"):
            factor = np.diagonal(factor, axis1=-2, axis2=-1)
        log_factor = np.log(factor)
        if covariance_type == "spherical":
            log_det = n_features * log_factor
        else:
            log_det = log_factor.sum(axis=-1)
        with np.errstate(divide="ignore"):
            log_weights = np.log(weights)
        return np.asarray(log_weights - 0.5 * n_features * math.log(2.0 * math.pi) + log_det)

    @np.errstate(over="ignore", invalid="ignore")
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
        weight = weight[:, np.newaxis]
        step = np.divide(first, weight, out=np.zeros_like(first), where=weight > 0)
        along = 2.0 * (first - 0.5 * weight * step) * step
        if second_type in ("full", "tied"):
            second = np.diagonal(second, axis1=-2, axis2=-1)
        elif second_type == "spherical":
            second = second[:, np.newaxis]
        kept = tolerated * (second - _of_one_variance(second_type, along) + floor)
        squared = _squared_reach(factor_type, offset, centres, factor, reach)
        subtracted = weight * (np.square(step) + squared)
        return bool((_of_one_variance(second_type, subtracted) > kept).any())

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


def _of_one_variance(second_type: CovarianceType, values: Float64Array) -> Float64Array:
    """Return the mean or sum over what shares a variance, with that axis kept."""
    if second_type == "spherical":
        return np.asarray(values.mean(axis=1, keepdims=True))
    return np.asarray(values.sum(axis=0, keepdims=True)) if second_type == "tied" else values


def _squared_reach(
    factor_type: CovarianceType,
    offset: Float64Array,
    centres: Float64Array,
    factor: Float64Array,
    reach: float,
) -> Float64Array:
    """Return how far, squared, points may be from the centres that a pass took moments about.

    Such a point is in the middle of the components; centres that are farther from it than the
    reach have moments about themselves.
    """
    possible = np.isfinite(offset)
    if not possible.any():
        return np.zeros_like(centres)
    squared = np.square(centres - np.median(centres[possible], axis=0))
    if factor_type in ("full", "tied"):
        steepest = np.square(factor).sum(axis=-2).max(axis=-1)
        distance = squared.sum(axis=1) * steepest
    else:
        distance = (squared * np.square(factor.reshape(len(factor), -1))).max(axis=1)
    return np.where((distance <= reach)[:, np.newaxis], squared, 0.0)
