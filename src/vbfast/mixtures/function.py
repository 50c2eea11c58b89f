"""The mixture's log evidence as a function of arrays, for those who differentiate it.

Takes arrays that :func:`vbfast.mixtures.arguments.mixture_arguments` made fit each other, and
checks their numbers. Factors may have anything below their diagonal.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from vbfast.contract import (
    CovarianceType,
    Float64Array,
    FloatArray,
    LogJoint,
    NonFiniteRowError,
)
from vbfast.families.covariances import log_det_factor
from vbfast.mixtures.batch import MixtureBatch
from vbfast.mixtures.gradient import log_evidence_of_rows, pull_back
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner

__all__ = ["MixtureFunction"]

Array = npt.NDArray[Any]

# Rows times components times features from which a pass for each mixture costs fewer instructions
# than array mathematics over all (callgrind: value and gradients of 'full', 5 components in 2-D).
COORDINATES_OF_A_PASS = 1 << 12


@dataclass(frozen=True)
class MixtureFunction:
    """``x -> log sum_k softmax(weights_logits)_k N(x | mu_k, (P_k P_k^T)^{-1})`` and its pullback.

    Of one mixture or of a batch of them, whose axes lead and are of length one where a parameter
    is shared along them. Few rows for each of many mixtures are evaluated together
    (:class:`MixtureBatch`), many rows by a pass for each mixture.

    Attributes
    ----------
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    log_weights : ndarray of shape (..., n_components), float64
        Normalised; -inf for a component without a share.
    means : ndarray of shape (..., n_components, n_features), float64
    precisions_cholesky : ndarray of shape (..., ``covariance_shape``), float64
    """

    covariance_type: CovarianceType
    log_weights: Float64Array
    means: Float64Array
    precisions_cholesky: Float64Array

    @classmethod
    def of(
        cls,
        covariance_type: CovarianceType,
        weights_logits: Array,
        means: Array,
        precisions_cholesky: Array,
    ) -> Self:
        """Make the function of given parameters, whose shapes fit and have as many leading axes.

        Raises
        ------
        ValueError
            If a mean is not finite, a logit NaN or +inf, all logits of a mixture are -inf, or the
            diagonal of a factor is not positive.
        """
        logits, means, P = (
            np.ascontiguousarray(array, dtype=np.float64)
            for array in (weights_logits, means, precisions_cholesky)
        )
        if not np.all(np.isfinite(means)):
            raise ValueError("means must be finite")
        largest = logits.max(axis=-1, keepdims=True)
        if not np.all(np.isfinite(largest)):
            raise ValueError(
                "weights_logits must not be NaN or +inf, nor -inf for all components of a mixture"
            )
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
        log_weights = logits - largest
        log_weights -= np.log(np.exp(log_weights).sum(axis=-1, keepdims=True))
        return cls(covariance_type, log_weights, means, P)

    def value(self, x: FloatArray, *, wrt_x: bool) -> tuple[FloatArray, FloatArray | None]:
        """Log evidence of each row of x, and its gradient there on request.

        Parameters
        ----------
        x : ndarray of shape (..., n_features), float32 or float64
            Its first axes are those of the batch, of length one where it is shared.

        Returns
        -------
        log_evidence : ndarray of shape (...), dtype of x
            The axes of the batch, then those of the rows.
        gradient : ndarray of that shape and (n_features,), dtype of x, or None

        Raises
        ------
        ValueError
            If a row is not finite.
        """
        batch = self._leading_axes()
        n_leading, n_features = len(batch), x.shape[-1]
        x = _with_leading_axes(x, np.broadcast_shapes(batch, x.shape[:n_leading]))
        # Along axes of the batch that no parameter has lie more rows of the same mixture.
        own = [axis for axis in range(n_leading) if batch[axis] != 1]
        order = (*own, *(axis for axis in range(x.ndim - 1) if axis not in own))
        moved = x.transpose((*order, -1))
        mixtures = self._flat(batch)
        n_mixtures = len(mixtures.offset)
        n_rows = math.prod(moved.shape[len(own) : -1])
        log_evidence, gradient = _value(
            mixtures, moved.reshape(n_mixtures, n_rows, n_features), wrt_x=wrt_x
        )
        back = tuple(np.argsort(order).tolist())
        log_evidence = log_evidence.reshape(moved.shape[:-1]).transpose(back)
        if gradient is not None:
            gradient = gradient.reshape(moved.shape).transpose((*back, -1))
        return log_evidence, gradient

    def pull_back(
        self, x: FloatArray, cotangent: FloatArray
    ) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Gradients of ``sum(cotangent * value(x))`` in the three parameters of each mixture.

        Parameters
        ----------
        x : ndarray of shape (..., n_features), float32 or float64
            As for :meth:`value`.
        cotangent : ndarray of shape (...)
            As x, without its last axis.

        Returns
        -------
        weights_logits, means, precisions_cholesky : ndarray
            Shaped as the parameters, with all axes of the batch of parameters, x and cotangent.
        """
        batch = self._leading_axes()
        n_leading = len(batch)
        batch = np.broadcast_shapes(batch, x.shape[:n_leading], cotangent.shape[:n_leading])
        mixtures = self._flat(batch)
        n_mixtures = len(mixtures.offset)
        n_rows = math.prod(x.shape[n_leading:-1])
        gradients = _pull_back(
            mixtures,
            _with_leading_axes(x, batch).reshape(n_mixtures, n_rows, x.shape[-1]),
            _with_leading_axes(cotangent, batch).reshape(n_mixtures, n_rows),
        )
        in_logits, in_means, in_factors = (
            gradient.reshape(batch + gradient.shape[1:]) for gradient in gradients
        )
        return in_logits, in_means, in_factors

    def _leading_axes(self) -> tuple[int, ...]:
        """Return the lengths of the batch's axes, one where all parameters are shared."""
        n_leading = self.log_weights.ndim - 1
        parameters = (self.log_weights, self.means, self.precisions_cholesky)
        return np.broadcast_shapes(*(array.shape[:n_leading] for array in parameters))

    def _flat(self, batch: tuple[int, ...]) -> MixtureBatch:
        """Return the mixtures of all axes of a batch, one after another."""
        n_leading, n_mixtures = len(batch), math.prod(batch)
        log_weights, means, P = (
            _with_leading_axes(array, batch).reshape(n_mixtures, *array.shape[n_leading:])
            for array in (self.log_weights, self.means, self.precisions_cholesky)
        )
        n_features = means.shape[-1]
        log_det = log_det_factor(self.covariance_type, P, n_features)
        if self.covariance_type == "tied":
            log_det = log_det[:, np.newaxis]
        offset = log_weights + (log_det - 0.5 * n_features * math.log(2.0 * math.pi))
        return MixtureBatch(self.covariance_type, offset, np.exp(log_weights), means, P)


def _with_leading_axes(array: Array, leading: tuple[int, ...]) -> Array:
    """Broadcast the first axes of an array."""
    return np.broadcast_to(array, leading + array.shape[len(leading) :])


def _worth_passes(mixtures: MixtureBatch, n_rows: int) -> bool:
    """Tell whether a pass for each mixture is better than array mathematics over all."""
    coordinates = n_rows * math.prod(mixtures.means.shape[1:])
    return len(mixtures.means) == 1 or coordinates >= COORDINATES_OF_A_PASS


def _passes(mixtures: MixtureBatch) -> Iterator[tuple[int, LogJoint]]:
    """Yield what the pass of each mixture is run with."""
    parts = zip(mixtures.offset, mixtures.means, mixtures.precisions_cholesky, strict=True)
    for i, (offset, means, P) in enumerate(parts):
        yield i, LogJoint.quadratic(mixtures.covariance_type, offset, means, P)


def _runner(rows: FloatArray) -> LocalRunner:
    return LocalRunner(as_row_source(rows))


def _value(
    mixtures: MixtureBatch, x: FloatArray, *, wrt_x: bool
) -> tuple[FloatArray, FloatArray | None]:
    """:meth:`MixtureFunction.value` of rows of shape (n_mixtures, n_rows, n_features)."""
    log_evidence = np.empty(x.shape[:-1], x.dtype)
    gradient = np.empty(x.shape, x.dtype) if wrt_x else None
    if x.size == 0:
        return log_evidence, gradient
    if not _worth_passes(mixtures, x.shape[1]):
        finite = np.isfinite(x).all(axis=-1)
        if not finite.all():
            raise NonFiniteRowError(int(finite.argmin()))
        of_all, in_x = mixtures.value(x, wrt_x=wrt_x)
        with np.errstate(over="ignore"):
            log_evidence[...] = of_all
            if gradient is not None:
                gradient[...] = in_x
        return log_evidence, gradient
    for i, log_joint in _passes(mixtures):
        try:
            of_rows, in_rows = log_evidence_of_rows(_runner(x[i]), log_joint, wrt_x=wrt_x)
        except NonFiniteRowError as error:
            raise NonFiniteRowError(i * x.shape[1] + error.row) from None
        log_evidence[i] = of_rows
        if gradient is not None:
            gradient[i] = in_rows
    return log_evidence, gradient


def _pull_back(
    mixtures: MixtureBatch, x: FloatArray, cotangent: FloatArray
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """:meth:`MixtureFunction.pull_back` of rows of shape (n_mixtures, n_rows, n_features)."""
    if x.size > 0 and not _worth_passes(mixtures, x.shape[1]):
        return mixtures.pull_back(x, cotangent)
    in_logits = np.zeros(mixtures.offset.shape)
    in_means = np.zeros(mixtures.means.shape)
    in_factors = np.zeros(mixtures.precisions_cholesky.shape)
    if x.size > 0:
        for i, log_joint in _passes(mixtures):
            gradient = pull_back(
                _runner(x[i]), log_joint, mixtures.weights[i], cotangent[i].astype(np.float64)
            )
            in_logits[i] = gradient.logits
            in_means[i] = gradient.means
            in_factors[i] = gradient.precisions_cholesky
    return in_logits, in_means, in_factors
