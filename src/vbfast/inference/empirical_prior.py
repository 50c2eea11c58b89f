"""Priors taken from the data: the mean and the covariance of all rows."""

from __future__ import annotations

import numpy as np

from vbfast.contract import (
    CovarianceType,
    Float64Array,
    LinearAlgebra,
    Moments,
    NotPositiveDefiniteError,
)
from vbfast.families.covariances import precision_factor
from vbfast.families.mixing_weights import MixingWeights
from vbfast.families.mixture_posterior import MixturePrior
from vbfast.families.normal_wishart_prior import LEAST_COUNT, NormalWishartPrior
from vbfast.inference.errors import DistantRowError
from vbfast.inference.runner import RowRunner

__all__ = ["comparable_covariance_prior", "empirical_covariance", "empirical_prior"]

# A variance that is this part of what it was computed from, for each feature, is rounding.
SINGULAR = 1e3 * float(np.finfo(np.float64).eps)


def empirical_prior(
    runner: RowRunner,
    *,
    covariance_type: CovarianceType,
    n_components: int,
    weights: type[MixingWeights],
    weight_concentration: float | None = None,
    mean_precision: float | None = None,
    mean: Float64Array | None = None,
    degrees_of_freedom: float | None = None,
    covariance: Float64Array | None = None,
    reg_covar: float,
) -> MixturePrior:
    """Return a prior with scikit-learn's defaults for what is ``None``.

    Parameters
    ----------
    runner : RowRunner
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    n_components : int
    weights : type
        :class:`~vbfast.families.mixing_weights.Dirichlet` or
        :class:`~vbfast.families.mixing_weights.StickBreaking`.
    weight_concentration : float, optional
        ``1 / n_components`` by default.
    mean_precision : float, optional
        One by default.
    mean : ndarray of shape (n_features,), optional
        The rows' mean by default.
    degrees_of_freedom : float, optional
        The number of features by default.
    covariance : ndarray, shaped by the covariance type, optional
        The rows' covariance by default.
    reg_covar : float
        Of the global step, see :class:`~vbfast.families.normal_wishart_prior.NormalWishartPrior`.

    Raises
    ------
    ValueError
        If the rows weigh too little to have a covariance, or it overflows.
    NonFiniteRowError
        If a row that was read is not finite.
    """
    if mean is None or covariance is None:
        row_mean, _ = runner.column_moments()
        mean = row_mean if mean is None else mean
    if covariance is None:
        covariance = empirical_covariance(runner, covariance_type, row_mean)
    if degrees_of_freedom is None:
        degrees_of_freedom = runner.n_features
    components = NormalWishartPrior(
        covariance_type,
        1.0 if mean_precision is None else float(mean_precision),
        mean,
        float(degrees_of_freedom),
        np.asarray(covariance),
        reg_covar * LEAST_COUNT,
        runner.linalg,
    )
    if weight_concentration is None:
        weight_concentration = 1.0 / n_components
    return MixturePrior(weights, float(weight_concentration), components)


def empirical_covariance(
    runner: RowRunner, covariance_type: CovarianceType, mean: Float64Array
) -> Float64Array:
    """Return the unbiased covariance of the rows in the shape of a covariance prior.

    Parameters
    ----------
    runner : RowRunner
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
        If the weights sum to one or less.
    DistantRowError
        If the covariance overflows.
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
        row = runner.largest_row()
        raise DistantRowError(
            row,
            f"covariance_prior=None takes the covariance of X, which overflows {runner.dtype}: row "
            f"{row} is farthest out. Scale X, leave the row out, use weights on a smaller scale or "
            "give covariance_prior.",
        )
    if covariance_type == "spherical":
        return np.asarray(covariance.mean())
    return np.asarray(covariance)


def comparable_covariance_prior(
    runner: RowRunner,
    *,
    covariance_type: CovarianceType,
    reg_covar: float,
) -> Float64Array | None:
    """Return a covariance prior with which bounds are comparable over numbers of components.

    The rows' covariance will not do where it is nearly singular, as with a constant or redundant
    feature: each component would add to the bound an amount that depends on how small the variance
    is in that direction. The global step adds a variance of ``reg_covar`` to every row, in every
    direction, and there the prior does the same.

    Parameters
    ----------
    runner : RowRunner
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    reg_covar : float

    Returns
    -------
    ndarray or None
        The covariance plus ``reg_covar``; None if it has more variance than that in all directions,
        and is a prior as it is.

    Raises
    ------
    ValueError
        If the rows weigh too little to have a covariance, or it overflows; if it is singular and
        ``reg_covar`` is zero, which leaves no prior.
    NonFiniteRowError
        If a row is not finite; the first such row.
    """
    mean, _ = runner.column_moments()
    covariance = empirical_covariance(runner, covariance_type, mean)
    if reg_covar == 0.0:
        degrees_of_freedom = float(runner.n_features)
        prior = NormalWishartPrior(
            covariance_type, 1.0, mean, degrees_of_freedom, covariance, linalg=runner.linalg
        )
        if not prior.proper:
            raise ValueError(
                "X has constant or redundant features, or no more rows than features, and "
                "reg_covar=0 adds no variance there: no component has a covariance. Use "
                "reg_covar > 0, give covariance_prior, or remove such features"
            )
        return None
    diagonal = np.diagonal(covariance) if covariance.ndim == 2 else covariance
    # Next to the variances of other features reg_covar may be nothing, to rounding.
    least = reg_covar + SINGULAR * runner.n_features * diagonal
    if _positive_definite(covariance, -least, runner.linalg):
        return None
    return _with_variance(covariance, least)


def _with_variance(covariance: Float64Array, variance: Float64Array) -> Float64Array:
    return np.asarray(covariance + (np.diag(variance) if covariance.ndim == 2 else variance))


def _positive_definite(
    covariance: Float64Array, added: Float64Array, linalg: LinearAlgebra
) -> bool:
    """Return whether a covariance, or variances, are positive after an addition to them."""
    result = _with_variance(covariance, added)
    if result.ndim < 2:
        return bool(np.all(result > 0.0))
    try:
        precision_factor("tied", result, linalg)
    except NotPositiveDefiniteError:
        return False
    return True
