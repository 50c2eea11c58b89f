"""Gradient of the log evidence in the rows, sum_k q_nk P_k P_k^T (mu_k - x_n), lanes across rows.

Each component is centred, whitened again and multiplied back, so that no digits are lost wherever
it lies; components whose responsibilities are zero in a whole group of rows are left out. With a
shared factor the responsibilities meet the differences first, and the factor the rows once.

Layout of ``gradient``: (n_groups, n_features, group), sums with unnormalised responsibilities.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.backends.numba import moments
from vbfast.backends.numba.batch import Batch
from vbfast.backends.numba.compiling import group_rows, group_size, kernel
from vbfast.backends.numba.log_joint import apply_column, difference, rows_for
from vbfast.backends.numba.memory import empty_lines
from vbfast.contract import CovarianceType, FloatArray

__all__ = ["RowGradient"]


@kernel
def _is_responsible(joint: Any, g: Any, k: Any) -> Any:
    largest = joint[g, k, 0]
    for i in range(1, group_rows(joint)):
        largest = max(largest, joint[g, k, i])
    return largest > 0


@kernel
def _scaled_sums(
    features: Any,
    raw: Any,
    far: Any,
    joint: Any,
    means: Any,
    low: Any,
    scales: Any,
    first: Any,
    last: Any,
    gradient: Any,
) -> None:
    """Add with ``scales`` of shape (n_components, n_features), or one for all features."""
    group = group_rows(features)
    zero = means.dtype.type(0)
    for g in range(len(joint)):
        for k in range(first, last):
            if not _is_responsible(joint, g, k):
                continue
            x = rows_for(features, raw, far, k)
            for d in range(means.shape[1]):
                mean, scale = means[k, d], scales[k, min(d, scales.shape[1] - 1)]
                for i in range(group):
                    # Without a responsibility the difference may be infinite.
                    away = difference(mean, x[g, d, i], low, k, d)
                    slope = joint[g, k, i] * (away * scale * scale)
                    gradient[g, d, i] += slope if joint[g, k, i] > zero else zero


@kernel
def _add_rows_of_factor(whitened: Any, factor: Any, kf: Any, gradient: Any) -> None:
    """Add ``sum_j P_dj y_j`` to every ``gradient_d``; ``factor`` has the transposes ``P^T``."""
    group = group_rows(whitened)
    n_features = factor.shape[1]
    for d in range(n_features):
        whole = d + (n_features - d) // 4 * 4
        for j in range(d, whole, 4):
            p0, p1 = factor[kf, j, d], factor[kf, j + 1, d]
            p2, p3 = factor[kf, j + 2, d], factor[kf, j + 3, d]
            for i in range(group):
                gradient[d, i] += (whitened[j, i] * p0 + whitened[j + 1, i] * p1) + (
                    whitened[j + 2, i] * p2 + whitened[j + 3, i] * p3
                )
        for j in range(whole, n_features):
            p0 = factor[kf, j, d]
            for i in range(group):
                gradient[d, i] += whitened[j, i] * p0


@kernel
def _factor_sums(
    features: Any,
    raw: Any,
    far: Any,
    joint: Any,
    means: Any,
    low: Any,
    factor: Any,
    first: Any,
    last: Any,
    centred: Any,
    whitened: Any,
    gradient: Any,
) -> None:
    """Add with a lower triangular ``P^T`` of each component."""
    group = group_rows(features)
    n_features = means.shape[1]
    zero = means.dtype.type(0)
    for g in range(len(joint)):
        for k in range(first, last):
            if not _is_responsible(joint, g, k):
                continue
            x = rows_for(features, raw, far, k)
            for d in range(n_features):
                mean = means[k, d]
                for i in range(group):
                    centred[d, i] = difference(mean, x[g, d, i], low, k, d)
            for j in range(n_features):
                apply_column(centred, factor, k, j, whitened[j])
                for i in range(group):
                    value = joint[g, k, i] * whitened[j, i]
                    whitened[j, i] = value if joint[g, k, i] > zero else zero
            _add_rows_of_factor(whitened, factor, k, gradient[g])


@kernel
def _multiply_by_shared(factor: Any, centred: Any, whitened: Any, gradient: Any) -> None:
    """Multiply by ``P P^T``, the same for all components; ``factor`` of shape (1, D, D)."""
    for g in range(len(gradient)):
        centred[:] = gradient[g]
        for j in range(factor.shape[1]):
            apply_column(centred, factor, 0, j, whitened[j])
        gradient[g] = 0
        _add_rows_of_factor(whitened, factor, 0, gradient[g])


@kernel
def _write(gradient: Any, mass: Any, n_rows: Any, out: Any) -> None:
    """Divide by the mass of the responsibilities; a row without any has gradient zero."""
    group = group_rows(gradient)
    for n in range(n_rows):
        g, i = n // group, n % group
        for d in range(out.shape[1]):
            out[n, d] = gradient[g, d, i] / mass[g, 0, i] if mass[g, 0, i] > 0 else 0


@dataclass
class _Memory:
    gradient: FloatArray  # (n_groups, n_features, group)
    mass: FloatArray  # (n_groups, 1, group)
    centred: FloatArray  # (n_features, group)
    whitened: FloatArray  # (n_features, group)


class RowGradient:
    """The gradients of a Gaussian model, for its batches.

    Parameters
    ----------
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    means : ndarray of shape (n_components, n_features)
        About the shift of the features, of their dtype; those of far components are not.
    far, low
        As in :mod:`vbfast.backends.numba.log_joint`.
    precision : ndarray
        ``P^T`` of shape (n_components or 1, n_features, n_features) for 'full' and 'tied', else the
        scales, of shape (n_components, n_features or 1).
    """

    def __init__(
        self,
        covariance_type: CovarianceType,
        means: FloatArray,
        far: npt.NDArray[np.bool_] | None,
        low: FloatArray | None,
        precision: FloatArray,
    ) -> None:
        self._covariance_type = covariance_type
        self._means = means
        self._far = far
        self._low = low
        self._precision = precision
        self._ones = np.ones((len(means), 1), means.dtype)

    def memory(self, n_groups: int) -> _Memory:
        """Return memory for a batch of at most so many groups."""
        dtype, D = self._means.dtype, self._means.shape[1]
        group = group_size(dtype)
        return _Memory(
            gradient=empty_lines((n_groups, D, group), dtype),
            mass=empty_lines((n_groups, 1, group), dtype),
            centred=empty_lines((D, group), dtype),
            whitened=empty_lines((D, group), dtype),
        )

    def fill(
        self, batch: Batch, memory: _Memory, n_components: int, out: FloatArray
    ) -> Iterator[None]:
        """Fill ``out`` of shape (n_rows, n_features), some components at a time.

        ``batch.joint`` has the responsibilities of a posterior pass.
        """
        gradient = memory.gradient[: batch.n_groups]
        gradient.fill(0)
        for first in range(0, len(self._means), n_components):
            self._add(batch, memory, gradient, first, min(first + n_components, len(self._means)))
            yield
        if self._covariance_type == "tied":
            _multiply_by_shared(self._precision, memory.centred, memory.whitened, gradient)
        mass = memory.mass[: batch.n_groups]
        moments.total_mass(batch.joint, mass)
        _write(gradient, mass, batch.n_rows, out)

    def _add(
        self, batch: Batch, memory: _Memory, gradient: FloatArray, first: int, last: int
    ) -> None:
        features = batch.memory.features[: batch.n_groups]
        raw = None if self._far is None else batch.memory.raw[: batch.n_groups]
        model = (features, raw, self._far, batch.joint, self._means, self._low)
        if self._covariance_type == "full":
            work = (memory.centred, memory.whitened)
            _factor_sums(*model, self._precision, first, last, *work, gradient)
        else:
            tied = self._covariance_type == "tied"
            scales = self._ones if tied else self._precision
            _scaled_sums(*model, scales, first, last, gradient)
