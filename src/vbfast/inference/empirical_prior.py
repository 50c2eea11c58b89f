"""Priors taken from the data: the mean and the covariance of all rows."""

from __future__ import annotations

import numpy as np

from vbfast.contract import CovarianceType, Float64Array, Moments
from vbfast.passes.runner import LocalRunner

__all__ = ["empirical_covariance"]


def empirical_covariance(
    runner: LocalRunner, covariance_type: CovarianceType, mean: Float64Array
) -> Float64Array:
    """Return the unbiased covariance of the rows in the shape of a covariance prior.

    Parameters
    ----------
    runner : LocalRunner
        A row of weight ``w`` counts as ``w`` rows: the divisor is the sum of the weights less one.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    mean : ndarray of shape (n_features,), float64
        The rows' mean, about which the products are summed.

    Returns
    -------
    ndarray of shape (D, D) for 'full' and 'tied', (D,) for 'diag', () for 'spherical'

    Raises
    ------
    ValueError
        If the weights sum to one or less, or the covariance overflows.
    NonFiniteRowError
        If a row is not finite; the first such row.
    """
    kind: Moments = "full" if covariance_type in ("full", "tied") else "diag"
    # Rounded to float32, a singular covariance looks regular, and its determinant is noise.
    statistics = runner.in_float64().moments_about(mean, kind)
    assert statistics.second is not None
    total = float(statistics.weight[0])
    if total <= 1.0:
        raise ValueError(
            f"covariance_prior=None takes the covariance of X, for which sample_weight must sum to "
            f"more than one row; it sums to {total}. Use weights on a larger scale or give "
            "covariance_prior."
        )
    first, second = statistics.first[0], statistics.second[0]
    with np.errstate(over="ignore", invalid="ignore"):
        correction = np.multiply.outer(first, first) if kind == "full" else np.square(first)
        covariance = (second - correction / total) / (total - 1.0)
        finite = np.isfinite(
            covariance.astype(runner.dtype)
        ).all()  # the iterations compute in that
    if not finite:
        raise ValueError(
            "covariance_prior=None takes the covariance of X, which overflows. Scale X, use "
            "weights on a smaller scale or give covariance_prior."
        )
    if covariance_type == "spherical":
        return np.asarray(covariance.mean())
    return np.asarray(covariance)
