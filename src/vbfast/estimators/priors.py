"""The prior that a user gives, checked in scikit-learn's words and completed from the rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from vbfast.contract import CovarianceType, Float64Array, NotPositiveDefiniteError
from vbfast.estimators.starts import check_covariance_matrices, check_means
from vbfast.families.covariances import precision_factor
from vbfast.families.mixing_weights import Dirichlet, MixingWeights, StickBreaking
from vbfast.families.normal_wishart import LEAST_COUNT, NormalWishartPrior
from vbfast.inference.empirical_prior import empirical_covariance
from vbfast.passes.runner import LocalRunner

__all__ = [
    "SINGULAR_PRIOR",
    "WEIGHT_PRIORS",
    "check_component_prior",
    "comparable_covariance_prior",
]

WEIGHT_PRIORS: dict[str, type[MixingWeights]] = {
    "dirichlet_process": StickBreaking,
    "dirichlet_distribution": Dirichlet,
}


# What a fit warns of.
SINGULAR_PRIOR = (
    "covariance_prior is singular: in the directions of constant or redundant features reg_covar "
    "alone makes the prior, and lower_bound_ depends on how little that is. Remove such features, "
    "give covariance_prior or use vbfast.select to compare bounds."
)

# A variance that is this part of what it was computed from, for each feature, is rounding.
SINGULAR = 1e3 * float(np.finfo(np.float64).eps)


def check_component_prior(
    runner: LocalRunner,
    *,
    covariance_type: CovarianceType,
    mean_precision: Any,
    mean: Any,
    degrees_of_freedom: Any,
    covariance: Any,
    reg_covar: float,
) -> NormalWishartPrior:
    """Check the prior of means and precisions; what is ``None`` has scikit-learn's default.

    Parameters
    ----------
    runner : LocalRunner
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    mean_precision : float or None
        One by default.
    mean : array-like of shape (n_features,) or None
        The rows' mean by default.
    degrees_of_freedom : float or None
        The number of features by default.
    covariance : array-like, float or None
        The rows' covariance by default.
    reg_covar : float
        Of the global step, see :class:`~vbfast.families.normal_wishart.NormalWishartPrior`.

    Returns
    -------
    NormalWishartPrior

    Raises
    ------
    ValueError
        If a shape is wrong, the degrees of freedom are too few, the covariance is not positive
        definite, or the rows weigh too little to have one.
    NonFiniteRowError
        If a row that was read is not finite.
    """
    D = runner.n_features
    if mean is not None:
        mean = check_means(mean, (D,), "mean_prior")
    if mean is None or covariance is None:
        row_mean, _ = runner.column_moments()
        mean = row_mean if mean is None else mean
    if degrees_of_freedom is not None and not degrees_of_freedom > D - 1.0:
        raise ValueError(
            "The parameter 'degrees_of_freedom_prior' should be greater than "
            f"{D - 1}, but got {degrees_of_freedom:.3f}."
        )
    if covariance is None:
        covariance = empirical_covariance(runner, covariance_type, row_mean)
    else:
        covariance = check_covariance_matrices(
            covariance,
            covariance_type,
            {"full": (D, D), "tied": (D, D), "diag": (D,), "spherical": ()}[covariance_type],
            "covariance_prior",
            "covariance_prior",
        )
    return NormalWishartPrior(
        covariance_type,
        1.0 if mean_precision is None else float(mean_precision),
        mean,
        float(D if degrees_of_freedom is None else degrees_of_freedom),
        np.asarray(covariance),
        reg_covar * LEAST_COUNT,
    )


def comparable_covariance_prior(
    runner: LocalRunner,
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
    runner : LocalRunner
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
        if not NormalWishartPrior(
            covariance_type, 1.0, mean, degrees_of_freedom, covariance
        ).proper:
            raise ValueError(
                "X has constant or redundant features, or no more rows than features, and "
                "reg_covar=0 adds no variance there: no component has a covariance. Use "
                "reg_covar > 0, give covariance_prior, or remove such features"
            )
        return None
    diagonal = np.diagonal(covariance) if covariance.ndim == 2 else covariance
    # Next to the variances of other features reg_covar may be nothing, to rounding.
    least = reg_covar + SINGULAR * runner.n_features * diagonal
    if _positive_definite(covariance, -least):
        return None
    return _with_variance(covariance, least)


def _with_variance(covariance: Float64Array, variance: Float64Array) -> Float64Array:
    return np.asarray(covariance + (np.diag(variance) if covariance.ndim == 2 else variance))


def _positive_definite(covariance: Float64Array, added: Float64Array) -> bool:
    """Return whether a covariance, or variances, are positive after an addition to them."""
    result = _with_variance(covariance, added)
    if result.ndim < 2:
        return bool(np.all(result > 0.0))
    try:
        precision_factor("tied", result)
    except NotPositiveDefiniteError:
        return False
    return True
