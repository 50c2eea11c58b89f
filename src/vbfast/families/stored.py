"""Checks of parameters from a file, whose arrays could have been written by anyone.

Covariances, precisions and the precisions' factors are the same matrices in three forms, each
rounded to the dtype of the fit. They have to agree to within that rounding. If the condition number
is large, that is no small relative error of the matrix, so the bound is per element.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.contract import CovarianceType, Float64Array, FloatArray

__all__ = ["check_covariances", "check_prior_covariance"]

# Two factors and the matrix that is compared with their product are rounded to the dtype; the rest
# is a margin for the operations that led to the factors.
ROUNDINGS = 16.0
EPS = float(np.finfo(np.float64).eps)
# Elements that are looked at together: the comparison takes a few arrays of that size.
PART = 2**21


def check_covariances(
    covariance_type: CovarianceType,
    covariances: FloatArray,
    precisions: FloatArray,
    factor: FloatArray,
) -> None:
    """Check that covariances, precisions and precision factors belong together.

    Parameters
    ----------
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    covariances, precisions, factor : ndarray
        Shaped by the type, float32 or float64.

    Raises
    ------
    ValueError
        If a factor is not finite, upper triangular and of positive diagonal, or precisions or
        covariances are not those of the factor, in which precisions may overflow where the factor
        does not.
    """
    matrices = covariance_type in ("full", "tied")
    shape = (-1, *factor.shape[-2:]) if matrices else (len(factor), -1)
    cov, prec, P = (
        np.asarray(values, dtype=np.float64).reshape(shape)
        for values in (covariances, precisions, factor)
    )
    check = _check_matrices if matrices else _check_variances
    step = max(1, PART // max(1, P[:1].size))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for start in range(0, len(P), step):
            part = slice(start, start + step)
            check(cov[part], prec[part], P[part], factor.dtype, start)


def check_prior_covariance(covariance_type: CovarianceType, covariance: FloatArray) -> None:
    """Check the covariance of a prior, which may be singular.

    Raises
    ------
    ValueError
        If it is not finite, or has a negative variance in some direction.
    """
    finite = bool(np.isfinite(covariance).all())
    if covariance_type in ("full", "tied"):
        symmetric = finite and np.allclose(covariance, covariance.T)
        values = np.linalg.eigvalsh(covariance) if symmetric else np.array([-1.0])
        valid = bool(values.min() >= -10.0 * len(covariance) * EPS * max(values.max(), 0.0))
    else:
        valid = finite and bool(np.all(covariance >= 0.0))
    if not valid:
        raise ValueError(
            "covariance_prior must be finite, and symmetric and positive semi-definite"
        )


def _check_matrices(
    cov: Float64Array, prec: Float64Array, P: Float64Array, dtype: np.dtype[Any], first: int
) -> None:
    """Check arrays of shape (K, D, D), rounded to ``dtype``, from component ``first`` on."""
    tiny, D = float(np.finfo(dtype).tiny), P.shape[-1]
    _require(
        np.isfinite(P).all(axis=(1, 2))
        & (np.tril(P, -1) == 0.0).all(axis=(1, 2))
        & (np.diagonal(P, axis1=1, axis2=2) > 0.0).all(axis=1),
        "precisions_cholesky must be finite, upper triangular and of positive diagonal",
        first,
    )
    rounding = ROUNDINGS * (float(np.finfo(dtype).eps) + D * EPS)
    magnitude = np.abs(P)
    allowed = rounding * (magnitude @ np.swapaxes(magnitude, 1, 2)) + tiny
    agree = _agree(prec, P @ np.swapaxes(P, 1, 2), allowed, dtype)
    _require(agree.all(axis=(1, 2)), "precisions must be those of precisions_cholesky", first)

    deviations = np.sqrt(np.maximum(np.diagonal(cov, axis1=1, axis2=2), 0.0))
    allowed = rounding * deviations[:, :, np.newaxis] * deviations[:, np.newaxis] + tiny
    symmetric = np.isfinite(cov) & (np.abs(cov - np.swapaxes(cov, 1, 2)) <= allowed)
    _require(symmetric.all(axis=(1, 2)), "covariances must be finite and symmetric", first)
    # P^T Sigma P is the identity, but for the rounding of what adds up to its elements.
    total = np.square(deviations[:, np.newaxis] @ magnitude).sum(axis=(1, 2))
    lost = tiny * np.square(magnitude.sum(axis=(1, 2)))
    residual = np.abs(np.swapaxes(P, 1, 2) @ cov @ P - np.eye(D)).max(axis=(1, 2))
    _require(
        np.asarray(residual <= rounding * total + lost),
        "covariances must be those of precisions_cholesky",
        first,
    )


def _check_variances(
    cov: Float64Array, prec: Float64Array, P: Float64Array, dtype: np.dtype[Any], first: int
) -> None:
    """Check arrays of shape (K, D) or (K, 1), likewise."""
    _require(
        np.asarray((np.isfinite(P) & (P > 0.0)).all(axis=1)),
        "precisions_cholesky must be finite and positive",
        first,
    )
    eps, tiny = float(np.finfo(dtype).eps), float(np.finfo(dtype).tiny)
    square = np.square(P)
    for values, right, name in ((prec, square, "precisions"), (cov, 1.0 / square, "covariances")):
        agree = _agree(values, right, np.asarray(ROUNDINGS * eps * right + tiny), dtype)
        _require(agree.all(axis=1), f"{name} must be those of precisions_cholesky", first)


def _agree(
    values: Float64Array, right: Float64Array, allowed: Float64Array, dtype: np.dtype[Any]
) -> npt.NDArray[np.bool_]:
    """Whether values are the right ones to rounding, or beyond the dtype just as these are."""
    return np.asarray((values == right.astype(dtype)) | (np.abs(values - right) <= allowed))


def _require(valid: Any, message: str, first: int) -> None:
    """Raise unless all are valid, naming the first component that is not."""
    if not np.all(valid):
        raise ValueError(f"{message}; component {first + int(np.argmin(valid))} has others")
