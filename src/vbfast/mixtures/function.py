"""The mixture's log evidence as a function of arrays, for those who differentiate it.

Takes arrays that :func:`vbfast.mixtures.arguments.mixture_arguments` made fit each other, and
checks their numbers. Factors may have anything below their diagonal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    Request,
    RowOutputs,
)
from vbfast.families.covariances import log_det_factor
from vbfast.mixtures.batch import MixtureBatch
from vbfast.mixtures.gradient import pull_back
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner

__all__ = ["MixtureFunction", "row_outputs"]

Array = npt.NDArray[Any]
Gradients = tuple[Float64Array, Float64Array, Float64Array]

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
        n_leading = len(batch)
        x = _with_leading_axes(x, np.broadcast_shapes(batch, x.shape[:n_leading]))
        # Along axes of the batch that no parameter has lie more rows of the same mixture.
        own = [axis for axis in range(n_leading) if batch[axis] != 1]
        order = (*own, *(axis for axis in range(x.ndim - 1) if axis not in own))
        moved = x.transpose((*order, -1))
        mixtures = self._flat(batch)
        n_rows = math.prod(moved.shape[len(own) : -1])
        rows = moved.reshape(len(mixtures.offset), n_rows, x.shape[-1])
        outputs = row_outputs(rows, wrt_x=wrt_x)
        _value(mixtures, rows, outputs)
        back = tuple(np.argsort(order).tolist())
        assert outputs.log_evidence is not None
        log_evidence = outputs.log_evidence.reshape(moved.shape[:-1]).transpose(back)
        if outputs.gradient is None:
            return log_evidence, None
        return log_evidence, outputs.gradient.reshape(moved.shape).transpose((*back, -1))

    def pull_back(
        self, x: FloatArray, cotangent: FloatArray, *, outputs: RowOutputs | None = None
    ) -> Gradients:
        """Gradients of ``sum(cotangent * value(x))`` in the three parameters of each mixture.

        Parameters
        ----------
        x : ndarray of shape (..., n_features), float32 or float64
            As for :meth:`value`.
        cotangent : ndarray of shape (...)
            As x, without its last axis.
        outputs : RowOutputs, optional
            What :meth:`value` returns and where to write it, at the cost of no other pass; C order,
            with all axes of the batch.

        Returns
        -------
        weights_logits, means, precisions_cholesky : ndarray
            Shaped as the parameters, with all axes of the batch of parameters, x and cotangent.

        Raises
        ------
        ValueError
            If a row is not finite.
        """
        batch = self._leading_axes()
        n_leading = len(batch)
        batch = np.broadcast_shapes(batch, x.shape[:n_leading], cotangent.shape[:n_leading])
        mixtures = self._flat(batch)
        shape = (len(mixtures.offset), math.prod(x.shape[n_leading:-1]))
        if outputs is not None:
            n_axes = x.ndim - 1
            outputs = _map(outputs, lambda array: array.reshape(shape + array.shape[n_axes:]))
        gradients = _pull_back(
            mixtures,
            _with_leading_axes(x, batch).reshape(*shape, x.shape[-1]),
            _with_leading_axes(cotangent, batch).reshape(shape),
            outputs,
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


def _together(mixtures: MixtureBatch, x: FloatArray) -> bool:
    """Tell whether array mathematics over all mixtures is better than a pass for each."""
    coordinates = x.shape[1] * math.prod(mixtures.means.shape[1:])
    return len(x) > 1 and 0 < coordinates < COORDINATES_OF_A_PASS


def _passes(mixtures: MixtureBatch, x: FloatArray) -> Iterator[tuple[int, LocalRunner, LogJoint]]:
    """Yield the rows of each mixture, and what a pass over them is run with."""
    if x.size == 0:
        return
    parts = zip(x, mixtures.offset, mixtures.means, mixtures.precisions_cholesky, strict=True)
    for i, (rows, offset, means, P) in enumerate(parts):
        log_joint = LogJoint.quadratic(mixtures.covariance_type, offset, means, P)
        yield i, LocalRunner(as_row_source(rows)), log_joint


def row_outputs(x: FloatArray, *, wrt_x: bool) -> RowOutputs:
    """Return arrays for the log evidence of each row and, on request, its gradient there."""
    return RowOutputs(
        log_evidence=np.empty(x.shape[:-1], x.dtype),
        gradient=np.empty(x.shape, x.dtype) if wrt_x else None,
    )


def _map(outputs: RowOutputs, function: Callable[[FloatArray], FloatArray]) -> RowOutputs:
    """Return views of the arrays to be filled."""
    log_evidence, gradient = (
        None if array is None else function(array)
        for array in (outputs.log_evidence, outputs.gradient)
    )
    return RowOutputs(log_evidence=log_evidence, gradient=gradient)


def _of_mixture(outputs: RowOutputs, i: int) -> RowOutputs:
    return _map(outputs, lambda array: array[i])


@contextmanager
def _rows_of_x(first: int = 0) -> Iterator[None]:
    """Say of which argument a row is that is not finite, and count it from the first of all."""
    try:
        yield
    except NonFiniteRowError as error:
        row = NonFiniteRowError(first + error.row)
        raise ValueError(f"x must be finite: {row}") from None


def _check_finite(x: FloatArray) -> None:
    finite = np.isfinite(x).all(axis=-1)
    if not finite.all():
        with _rows_of_x():
            raise NonFiniteRowError(int(finite.argmin()))


def _value(mixtures: MixtureBatch, x: FloatArray, outputs: RowOutputs) -> None:
    """Evaluate rows of shape (n_mixtures, n_rows, n_features)."""
    if _together(mixtures, x):
        _check_finite(x)
        mixtures.value(x, outputs)
        return
    for i, runner, log_joint in _passes(mixtures, x):
        with _rows_of_x(i * x.shape[1]):
            runner.run(log_joint, Request(), outputs=_of_mixture(outputs, i))


def _pull_back(
    mixtures: MixtureBatch, x: FloatArray, cotangent: FloatArray, outputs: RowOutputs | None
) -> Gradients:
    """Differentiate at rows of shape (n_mixtures, n_rows, n_features)."""
    if _together(mixtures, x):
        _check_finite(x)
        return mixtures.pull_back(x, cotangent, outputs)
    in_logits = np.zeros(mixtures.offset.shape)
    in_means = np.zeros(mixtures.means.shape)
    in_factors = np.zeros(mixtures.precisions_cholesky.shape)
    for i, runner, log_joint in _passes(mixtures, x):
        with _rows_of_x(i * x.shape[1]):
            gradient = pull_back(
                runner,
                log_joint,
                mixtures.weights[i],
                cotangent[i].astype(np.float64),
                outputs=None if outputs is None else _of_mixture(outputs, i),
            )
        in_logits[i] = gradient.logits
        in_means[i] = gradient.means
        in_factors[i] = gradient.precisions_cholesky
    return in_logits, in_means, in_factors
