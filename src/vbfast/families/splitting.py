"""More Gaussian components from fewer: the widest are cut in two.

A Gaussian that is cut at its mean, across its longest axis of variance ``lambda``, has halves with
means ``sqrt(2 lambda / pi)`` to either side and variance ``(1 - 2 / pi) lambda`` along the axis:
the moments of a half-normal distribution.
"""

from __future__ import annotations

import math

import numpy as np

from vbfast.contract import CovarianceType, Float64Array, Statistics
from vbfast.families.covariances import MOMENTS_OF

__all__ = ["split_components"]

CUT_AWAY = 2.0 / math.pi


def split_components(
    covariance_type: CovarianceType,
    weight: Float64Array,
    centres: Float64Array,
    covariance: Float64Array,
    n_components: int,
) -> Statistics:
    """Return the statistics of a mixture in which components are cut until there are enough.

    Each time the one with the largest scatter along its longest axis is cut, its weight times that
    variance. 'spherical' components are cut across the first feature, 'tied' ones keep their
    common covariance.

    Parameters
    ----------
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    weight : ndarray of shape (n_old,)
        Of components, no more than ``n_components``, in rows or as a part of them.
    centres : ndarray of shape (n_old, n_features)
    covariance : ndarray
        Shaped by the covariance type.
    n_components : int

    Returns
    -------
    Statistics
        Of the moments that the covariance type needs, about the means.
    """
    counts, means, n_features = list(weight), list(centres), centres.shape[1]
    tied = covariance_type == "tied"
    covariances = [covariance] * len(means) if tied else list(covariance)
    axes = [_longest_axis(each, n_features) for each in covariances]
    while len(means) < n_components:
        scatters = [count * axis @ axis for count, axis in zip(counts, axes, strict=True)]
        widest = int(np.argmax(scatters))
        axis, shift = axes[widest], math.sqrt(CUT_AWAY) * axes[widest]
        counts[widest] /= 2.0
        counts.append(counts[widest])
        means.append(means[widest] + shift)
        means[widest] = means[widest] - shift
        if not tied:
            covariances[widest] = _cut(covariances[widest], axis)
            axes[widest] = _longest_axis(covariances[widest], n_features)
        covariances.append(covariances[widest])
        axes.append(axes[widest])
    halves, cut = np.array(counts), np.array(means)
    scatter = (np.array(covariances).T * halves).T
    second = scatter.sum(axis=0) if tied else scatter
    return Statistics(MOMENTS_OF[covariance_type], cut, halves, np.zeros_like(cut), second)


def _longest_axis(covariance: Float64Array, n_features: int) -> Float64Array:
    """Return the direction of largest variance, with the standard deviation for its length."""
    if covariance.ndim == 2:
        values, vectors = np.linalg.eigh(covariance)
        return np.asarray(math.sqrt(values[-1]) * vectors[:, -1])
    variances = np.broadcast_to(covariance, n_features)
    axis = np.zeros(n_features)
    feature = int(np.argmax(variances))
    axis[feature] = math.sqrt(variances[feature])
    return axis


def _cut(covariance: Float64Array, axis: Float64Array) -> Float64Array:
    """Return the covariance of each half of a Gaussian that is cut across an axis."""
    if covariance.ndim == 2:
        return np.asarray(covariance - CUT_AWAY * np.outer(axis, axis))
    if covariance.ndim == 1:
        return np.asarray(covariance - CUT_AWAY * axis**2)
    return np.asarray(covariance * (1.0 - CUT_AWAY / len(axis)))
