"""The prior that a user gives, checked in scikit-learn's words."""

from __future__ import annotations

from typing import Any

from vbfast.contract import CovarianceType, Float64Array
from vbfast.estimators.starts import check_covariance_matrices, check_means

__all__ = ["SINGULAR_PRIOR", "check_given_prior"]

# What a fit warns of.
SINGULAR_PRIOR = (
    "covariance_prior is singular: in the directions of constant or redundant features reg_covar "
    "alone makes the prior, and lower_bound_ depends on how little that is. Remove such features, "
    "give covariance_prior or use vbfast.select to compare bounds."
)


def check_given_prior(
    mean: Any,
    degrees_of_freedom: Any,
    covariance: Any,
    *,
    covariance_type: CovarianceType,
    n_features: int,
) -> tuple[Float64Array | None, Float64Array | None]:
    """Check the prior of means and precisions; each may be ``None``.

    Parameters
    ----------
    mean : array-like of shape (n_features,) or None
    degrees_of_freedom : float or None
    covariance : array-like, float or None
        Shaped by the covariance type, of one component.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    n_features : int

    Returns
    -------
    mean, covariance : ndarray of float64 or None

    Raises
    ------
    ValueError
        If a shape is wrong, the degrees of freedom are too few, or the covariance is not positive
        definite.
    """
    D = n_features
    if mean is not None:
        mean = check_means(mean, (D,), "mean_prior")
    if degrees_of_freedom is not None and not degrees_of_freedom > D - 1.0:
        raise ValueError(
            "The parameter 'degrees_of_freedom_prior' should be greater than "
            f"{D - 1}, but got {degrees_of_freedom:.3f}."
        )
    if covariance is not None:
        covariance = check_covariance_matrices(
            covariance,
            covariance_type,
            {"full": (D, D), "tied": (D, D), "diag": (D,), "spherical": ()}[covariance_type],
            "covariance_prior",
            "covariance_prior",
        )
    return mean, covariance
