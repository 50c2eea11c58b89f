"""Priors taken from the data: the mean and the covariance of all rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from vbfast.engine.contract import CovarianceType, Float64Array, StatisticsKind
from vbfast.engine.rows import RowSource, SlicedRows
from vbfast.inference.column_moments import moments_about

__all__ = ["empirical_covariance"]


def empirical_covariance(
    source: RowSource,
    covariance_type: CovarianceType,
    mean: Float64Array,
    *,
    sample_weight: Float64Array | None = None,
    workspace: Any = None,
) -> Float64Array:
    """Return the unbiased covariance of the rows in the shape of a covariance prior.

    Parameters
    ----------
    source : RowSource
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    mean : ndarray of shape (n_features,), float64
        The rows' mean, about which the products are summed.
    sample_weight : ndarray of shape (n_samples,), float64, optional
        Each row counts as that many rows: the divisor is ``sum(sample_weight) - 1``.
    workspace : object, optional
        From :func:`vbfast.engine.engine.new_workspace`.

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
    dtype = source.dtype
    if dtype != np.float64:
        # Rounded to float32, a singular covariance looks regular, and its determinant is noise.
        source = SlicedRows(source.data, np.dtype(np.float64))
    kind: StatisticsKind = "full" if covariance_type in ("full", "tied") else "diag"
    statistics = moments_about(source, mean, kind, sample_weight=sample_weight, workspace=workspace)
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
        finite = np.isfinite(covariance.astype(dtype)).all()  # the iterations compute in that
    if not finite:
        raise ValueError(
            "covariance_prior=None takes the covariance of X, which overflows. Scale X, use "
            "weights on a smaller scale or give covariance_prior."
        )
    if covariance_type == "spherical":
        return np.asarray(covariance.mean())
    return np.asarray(covariance)
