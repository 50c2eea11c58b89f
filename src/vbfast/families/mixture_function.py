"""The mixture's log evidence as a function of arrays, for frameworks that differentiate it.

Takes what a framework holds (rows and parameters in one dtype, factors that may have anything below
their diagonal) and checks it; :mod:`vbfast.torch` and :mod:`vbfast.jax` are thin over it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self, get_args

import numpy as np
import numpy.typing as npt

from vbfast.engine.contract import CovarianceType, Float64Array, FloatArray, KernelParams
from vbfast.engine.rows import as_row_source
from vbfast.families.gaussian import covariance_shape, kernel_params
from vbfast.families.gaussian_gradient import log_evidence_of_rows, pull_back

__all__ = ["MixtureFunction", "check_covariance_type", "check_shapes"]

Array = npt.NDArray[Any]


def check_covariance_type(covariance_type: str) -> CovarianceType:
    """Return the covariance type if it is one.

    Raises
    ------
    ValueError
        If it is none.
    """
    known = get_args(CovarianceType)
    if covariance_type not in known:
        raise ValueError(f"covariance_type must be one of {known}; got {covariance_type!r}")
    return covariance_type  # type: ignore[return-value]


def check_shapes(
    covariance_type: CovarianceType,
    x: tuple[int, ...],
    weights_logits: tuple[int, ...],
    means: tuple[int, ...],
    precisions_cholesky: tuple[int, ...],
) -> None:
    """Check that shapes fit each other.

    Raises
    ------
    ValueError
        If they do not; the message names the argument.
    """
    if len(means) != 2:
        raise ValueError(f"means must have shape (n_components, n_features); got {means}")
    K, D = means
    expected = {
        "weights_logits": (weights_logits, (K,)),
        "precisions_cholesky": (precisions_cholesky, covariance_shape(covariance_type, K, D)),
    }
    for name, (shape, wanted) in expected.items():
        if shape != wanted:
            raise ValueError(
                f"{name} must have shape {wanted} for means of shape {means} and covariance_type "
                f"{covariance_type!r}; got {shape}"
            )
    if not x or x[-1] != D:
        raise ValueError(f"x must have shape (..., {D}) for means of shape {means}; got {x}")


@dataclass(frozen=True)
class MixtureFunction:
    """``x -> log sum_k softmax(weights_logits)_k N(x | mu_k, (P_k P_k^T)^{-1})`` and its pullback.

    Attributes
    ----------
    params : KernelParams
    weights : ndarray of shape (n_components,), float64
    """

    params: KernelParams
    weights: Float64Array

    @classmethod
    def of(
        cls,
        covariance_type: CovarianceType,
        weights_logits: Array,
        means: Array,
        precisions_cholesky: Array,
    ) -> Self:
        """Make the function of given parameters, whose shapes fit.

        Raises
        ------
        ValueError
            If a parameter is not finite or the diagonal of a factor not positive.
        """
        logits, means, P = (
            np.ascontiguousarray(array, dtype=np.float64)
            for array in (weights_logits, means, precisions_cholesky)
        )
        for name, array in (("weights_logits", logits), ("means", means)):
            if not np.all(np.isfinite(array)):
                raise ValueError(f"{name} must be finite")
        if covariance_type in ("full", "tied"):
            P = np.triu(P)
            diagonal = np.diagonal(P, axis1=-2, axis2=-1)
        else:
            diagonal = P
        if not np.all(diagonal > 0.0) or not np.all(np.isfinite(P)):
            raise ValueError(
                "precisions_cholesky must be finite, with positive numbers on its diagonal"
            )
        # Weights underflow where their logarithms, which the log-joint takes, do not.
        log_weights = logits - logits.max()
        log_weights -= np.log(np.exp(log_weights).sum())
        params = kernel_params(covariance_type, np.ones_like(logits), means, P)
        return cls(replace(params, offset=params.offset + log_weights), np.exp(log_weights))

    def value(self, x: FloatArray, *, wrt_x: bool) -> tuple[FloatArray, FloatArray | None]:
        """Log evidence of each row of x, and its gradient there on request.

        Parameters
        ----------
        x : ndarray of shape (..., n_features), float32 or float64

        Returns
        -------
        log_evidence : ndarray of shape (...), dtype of x
        gradient : ndarray of the shape and dtype of x, or None

        Raises
        ------
        ValueError
            If a row is not finite.
        """
        if x.size == 0:
            return np.zeros(x.shape[:-1], x.dtype), np.zeros_like(x) if wrt_x else None
        log_evidence, gradient = log_evidence_of_rows(
            as_row_source(x.reshape(-1, x.shape[-1])), self.params, wrt_x=wrt_x
        )
        return (
            log_evidence.reshape(x.shape[:-1]),
            None if gradient is None else gradient.reshape(x.shape),
        )

    def pull_back(
        self, x: FloatArray, cotangent: FloatArray
    ) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Gradients of ``sum(cotangent * value(x))`` in the three parameters.

        Parameters
        ----------
        x : ndarray of shape (..., n_features), float32 or float64
        cotangent : ndarray of shape (...)

        Returns
        -------
        weights_logits, means, precisions_cholesky : ndarray, shaped as the parameters
        """
        if x.size == 0:
            P = self.params.precision_cholesky
            return np.zeros_like(self.weights), np.zeros_like(self.params.means), np.zeros_like(P)
        gradient = pull_back(
            as_row_source(x.reshape(-1, x.shape[-1])),
            self.params,
            self.weights,
            np.ascontiguousarray(cotangent, dtype=np.float64).reshape(-1),
        )
        return gradient.logits, gradient.means, gradient.precisions_cholesky
