"""The prior that a user gives, checked in scikit-learn's words and completed from the rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from vbfast.engine.contract import CovarianceType, Float64Array
from vbfast.engine.rows import RowSource
from vbfast.estimators.starts import check_covariance_matrices, check_means
from vbfast.families.mixing_weights import Dirichlet, MixingWeights, StickBreaking
from vbfast.families.normal_wishart import LEAST_COUNT, NormalWishartPrior
from vbfast.inference.column_moments import column_moments
from vbfast.inference.empirical_prior import empirical_covariance

__all__ = ["WEIGHT_PRIORS", "check_component_prior"]

WEIGHT_PRIORS: dict[str, type[MixingWeights]] = {
    "dirichlet_process": StickBreaking,
    "dirichlet_distribution": Dirichlet,
}


def check_component_prior(
    rows: RowSource,
    sample_weight: Float64Array | None,
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
    rows : RowSource
    sample_weight : ndarray of shape (n_samples,), float64, or None
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
    D = rows.n_features
    if mean is not None:
        mean = check_means(mean, (D,), "mean_prior")
    if mean is None or covariance is None:
        row_mean, _ = column_moments(rows, sample_weight=sample_weight)
        mean = row_mean if mean is None else mean
    if degrees_of_freedom is not None and not degrees_of_freedom > D - 1.0:
        raise ValueError(
            "The parameter 'degrees_of_freedom_prior' should be greater than "
            f"{D - 1}, but got {degrees_of_freedom:.3f}."
        )
    if covariance is None:
        covariance = empirical_covariance(
            rows, covariance_type, row_mean, sample_weight=sample_weight
        )
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
