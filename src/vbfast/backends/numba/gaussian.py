"""The contract's log-joints, laid out for the kernels.

All positions are relative to a *shift*, a point among the means, so that float32 rows keep their
digits. Components within some hundred standard deviations of it are *near*: their moments about the
shift are accurate enough to be summed in one matrix product for all of them. The others are *far*:
they meet the rows as they are, so that no digit is lost for being far from other components.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.backends.numba import log_joint, moments, tiles
from vbfast.backends.numba.batch import Batch
from vbfast.backends.numba.compiling import group_size
from vbfast.backends.numba.gradient import RowGradient
from vbfast.backends.numba.memory import empty_lines
from vbfast.backends.reference.posterior import limiting_posterior
from vbfast.contract import (
    NEAR_LIMIT,
    Float64Array,
    FloatArray,
    LogJoint,
    Moments,
    Quadratic,
    Request,
    Statistics,
)

__all__ = ["GaussianModel", "median_point"]

# A panel of moments of a batch's rows, and a block of sums: what L2 and L1 have room for.
PANEL_BYTES = 256 << 10
LARGEST_PANEL = 256

# Squared distances from the shift, times weights, up to which sums of a batch do not overflow.
ORDINARY_SQUARE = {np.dtype(np.float64): 2.0**980, np.dtype(np.float32): 2.0**112}


@dataclass
class _RowMemory:
    features: FloatArray  # (n_groups, n_features + 2, group)
    raw: FloatArray  # (n_groups, n_features, group), for far components only
    whitened: FloatArray  # (n_groups, n_features, group), tied components only
    work: FloatArray  # (n_features + 1, group)


@dataclass
class _MomentMemory:
    rows: FloatArray  # (n_groups * group, n_features), for components whose rows are listed
    raw: FloatArray  # the same as they are, for far components
    panel: FloatArray  # (n_groups * group, LARGEST_PANEL at most)
    block: FloatArray  # (BLOCK_COMPONENTS, columns of the panel)
    mass: FloatArray  # (n_groups, 1, group)


class GaussianModel:
    """A mixture of Gaussian form, see :class:`vbfast.contract.LogJoint`.

    Parameters
    ----------
    log_joint : LogJoint
    request : Request
    dtype : float32 or float64
    labelled : bool
        Whether given responsibilities are labels.
    """

    def __init__(self, log_joint: LogJoint, request: Request, dtype: np.dtype[Any]) -> None:
        form = log_joint.form
        assert isinstance(form, Quadratic)
        K, D = form.centres.shape
        self.n_components = K
        self._n_features = D
        self._dtype = dtype
        self._group = group_size(dtype)
        self._log_joint = log_joint
        self._form = form
        self._kind = request.moments
        self._lay_out(log_joint, request, dtype)
        self._plan_moments(request)
        self.cost = 4.0 * D if form.factor_type in ("diag", "spherical") else D * D + 4.0 * D
        if self._kind == "full":
            self.cost += D * D

    def _lay_out(self, log_joint: LogJoint, request: Request, dtype: np.dtype[Any]) -> None:
        form = self._form
        P = form.precision_cholesky
        used = np.isfinite(log_joint.offset)
        with np.errstate(over="ignore", invalid="ignore"):
            self._shift = median_point(form.centres[used], self._n_features).astype(dtype)
            means = form.centres - self._shift.astype(np.float64)
            self._means = means.astype(dtype)
            self._offset = log_joint.offset.astype(dtype)
            self._near = _squared_reach(means, form) <= NEAR_LIMIT[dtype]  # not for NaN
            # Given responsibilities may be those of a component that nothing is possible under.
            self._far = ~self._near & (used | (request.assignment == "given"))
            self._any_far = bool(self._far.any())
            high = form.centres.astype(dtype)
            self._means[self._far] = high[self._far]
            low = np.where(np.isfinite(high), form.centres - high, 0.0)
            self._low = np.where(self._far[:, np.newaxis], low, 0.0).astype(dtype)
            self._origins = np.where(self._far[:, np.newaxis], 0.0, self._shift.astype(np.float64))
            self._half_precision = np.full(self.n_components, 0.5, dtype)
            self._scales = None
            if form.factor_type == "diag":
                self._scales = _as_scales(P, dtype)
            elif form.factor_type == "spherical":
                ordinary = float(np.finfo(dtype).max) ** (1 / 3)
                squares = np.square(means[used]).sum(axis=1)
                if (
                    np.all((ordinary * P > 1.0) & (ordinary > P))
                    and squares.max(initial=0.0) < ORDINARY_SQUARE[dtype]
                ):
                    self._half_precision = np.asarray(0.5 * np.square(P), dtype=dtype)
                else:  # squares of P, or of distances before they are multiplied by it, overflow
                    self._scales = self._spherical_scales()
            else:
                stack = np.triu(P.reshape(-1, *P.shape[-2:])).swapaxes(1, 2)
                self._factor = _as_factor(stack, dtype)
        # Rows times a shared factor, once, leave distances to the means times it.
        self._whitened = form.factor_type == "tied" and bool(self._near.all())
        if self._whitened:
            whitened = np.einsum("ki,ij->kj", means, np.triu(P))
            self._whitened_means = np.ascontiguousarray(whitened, dtype=dtype)

    def _plan_moments(self, request: Request) -> None:
        D = self._n_features
        left, right = _products(request.moments, D)
        self._left, self._right = left, right
        self.n_moments = len(left)
        pairs = _triangle(D) if request.moments == "pooled" else np.zeros((2, 0), np.int64)
        self._pair_left, self._pair_right = pairs
        self.n_pooled = pairs.shape[1]
        outer = request.moments in ("full", "pooled")
        n_second = {"diag": D, "spherical": 1}.get(request.moments or "", 0)
        self._second = (D * (D + 1) // 2 if outer else n_second, outer)
        all_listed = request.assignment != "posterior" or (
            request.moments == "pooled" and not self._near.all()
        )
        self._listed = np.ones(self.n_components, bool) if all_listed else ~self._near
        self._any_listed = bool(self._listed.any())
        self._any_dense = not bool(self._listed.all())
        self._one_dense = np.zeros(1, bool)

    def gradient(self) -> RowGradient:
        """Return the gradients of the log evidence in the rows."""
        P, kind = self._form.precision_cholesky, self._form.factor_type
        far, low = (self._far, self._low) if self._any_far else (None, None)
        if kind in ("full", "tied"):
            return RowGradient(kind, self._means, far, low, self._factor)
        scales = _as_scales(P.reshape(self.n_components, -1), self._dtype)
        return RowGradient(kind, self._means, far, low, scales)

    def row_memory(self, n_groups: int) -> _RowMemory:
        """Return memory for the features."""
        D, dtype = self._n_features, self._dtype
        return _RowMemory(
            features=empty_lines((n_groups, D + 2, self._group), dtype),
            raw=empty_lines((n_groups if self._any_far else 0, D, self._group), dtype),
            whitened=empty_lines((n_groups if self._whitened else 0, D, self._group), dtype),
            work=empty_lines((D + 1, self._group), dtype),
        )

    def moment_memory(self, n_groups: int) -> _MomentMemory:
        """Return memory for a panel, and for rows that are listed."""
        dtype, n_rows = self._dtype, n_groups * self._group
        columns = 0
        if self._any_dense:
            fitting = max(16, PANEL_BYTES // (n_rows * dtype.itemsize))
            vector = moments.COLUMN_BYTES // dtype.itemsize
            wanted = max(self.n_moments, self.n_pooled)
            wanted += -wanted % vector
            columns = min(LARGEST_PANEL, fitting - fitting % vector, wanted)
        return _MomentMemory(
            rows=empty_lines((n_rows, self._n_features), dtype),
            raw=empty_lines((n_rows if self._any_far else 0, self._n_features), dtype),
            panel=empty_lines((n_rows, columns), dtype),
            block=empty_lines((moments.BLOCK_COMPONENTS, columns), dtype),
            mass=empty_lines((n_groups if self.n_pooled else 0, 1, self._group), dtype),
        )

    def load(self, batch: Batch, rows: FloatArray) -> int:
        """Load rows, minus the shift, and as they are for far components."""
        memory: _RowMemory = batch.memory
        layout = tiles.row_layout(rows)
        bad = tiles.load_features(*layout, batch.n_rows, self._shift, memory.features)
        if self._any_far:
            tiles.load_raw(*layout, batch.n_rows, memory.raw)
        if bad < 0 and self._whitened:
            features = memory.features[: batch.n_groups]
            log_joint.whiten(features, self._factor, memory.whitened)
        return int(bad)

    def log_joint(self, batch: Batch, first: int, last: int) -> None:
        """Evaluate the log-joint."""
        memory: _RowMemory = batch.memory
        n_groups = batch.n_groups
        features, means = memory.features[:n_groups], self._means
        raw, far, low = None, None, None
        if self._any_far:
            raw, far, low = memory.raw[:n_groups], self._far, self._low
        scales, half_precision = self._scales, self._half_precision
        if self._form.factor_type == "spherical" and scales is None:
            largest = float(features[:, -1].max())
            if largest >= ORDINARY_SQUARE[self._dtype]:  # as for means that are so far
                scales, half_precision = self._spherical_scales(), np.full_like(half_precision, 0.5)
        terms = (half_precision, self._offset)
        out = (batch.joint, batch.row_max, first, last)
        if self._whitened:
            features, means = memory.whitened[:n_groups], self._whitened_means
        if self._whitened or self._form.factor_type in ("diag", "spherical"):
            log_joint.diagonal_log_joint(features, raw, far, means, low, scales, *terms, *out)
        else:
            log_joint.factor_log_joint(
                features, raw, far, means, low, self._factor, *terms, memory.work, *out
            )

    def _spherical_scales(self) -> FloatArray:
        """Return the inverse deviations of spherical components as those of diagonal ones."""
        P = self._form.precision_cholesky
        return _as_scales(np.tile(P[:, np.newaxis], self._n_features), self._dtype)

    def overflowed_posterior(self, rows: FloatArray) -> Float64Array | None:
        """Return ``q`` of rows whose log-joints are all ``-inf``, or None if nothing is possible.

        None of them should be in the data: one at a time, in the reference backend's words.
        """
        if not np.any(self._log_joint.offset > -np.inf):
            return None
        return limiting_posterior(rows.astype(np.float64), self._log_joint)

    def add_moments(
        self,
        batch: Batch,
        memory: _MomentMemory,
        first: int,
        last: int,
        sums: Float64Array,
        pooled: Float64Array,
    ) -> None:
        """Add moments about the shift, or about their own means for listed components."""
        features = batch.memory.features[: batch.n_groups]
        to = (*self._second, batch.n_rows, first, last, sums, pooled)
        # A product of zero and a square that overflows would be NaN: such rows are never dense.
        heaviest = max(1.0, float(batch.scale[: batch.n_groups].max()))
        largest = heaviest * float(features[:, -1].max())
        dense = self._any_dense and largest < ORDINARY_SQUARE[self._dtype]
        if dense:
            products = (self._left, self._right)
            self._add_dense(batch, memory, batch.joint, products, self._listed, first, last, sums)
            if self.n_pooled and first == 0:
                mass = memory.mass[: batch.n_groups]
                moments.total_mass(batch.joint, mass)
                pairs = (self._pair_left, self._pair_right)
                target = pooled[np.newaxis]
                self._add_dense(batch, memory, mass, pairs, self._one_dense, 0, 1, target)
        if dense and not self._any_listed:
            return
        tiles.transpose_features(features, memory.rows)
        if self._any_far:
            tiles.transpose_features(batch.memory.raw[: batch.n_groups], memory.raw)
        rows = (memory.rows, memory.raw, self._far)
        if batch.by_label:
            moments.add_labelled(*rows, batch.label, batch.scale, self._means, *to)
            return
        moments.add_listed(*rows, batch.joint, batch.scale, self._means, self._listed, *to)
        if self._any_dense and not dense:
            shift = np.zeros_like(self._means)
            moments.add_listed(*rows, batch.joint, batch.scale, shift, ~self._listed, *to)

    def _add_dense(
        self,
        batch: Batch,
        memory: _MomentMemory,
        joint: FloatArray,
        products: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
        listed: npt.NDArray[np.bool_],
        first: int,
        last: int,
        sums: Float64Array,
    ) -> None:
        features = batch.memory.features[: batch.n_groups]
        columns = memory.panel.shape[1]
        for start in range(0, len(products[0]), columns):
            width = min(columns, len(products[0]) - start)
            moments.fill_panel(features, batch.scale, *products, start, width, memory.panel)
            moments.add_dense(
                joint,
                memory.panel,
                width,
                listed,
                batch.tile_rows // self._group,
                first,
                last,
                start,
                memory.block,
                sums,
            )

    def statistics(self, sums: Float64Array, pooled: Float64Array) -> Statistics:
        """Move the moments to the components' means.

        They are about a point ``a``: the shift, or the rounded mean of a listed component. With
        ``delta = a - mean``, ``sum r (x - mean) = first + N delta``, and so on for the second.
        """
        kind, D = self._kind, self._n_features
        assert kind is not None
        centres = self._form.centres
        point = np.where(self._listed[:, np.newaxis], self._means.astype(np.float64), 0.0)
        delta = point + self._origins - centres
        weight = sums[:, 0].copy()
        about = sums[:, 1 : 1 + D]
        first = about + weight[:, np.newaxis] * delta
        raw = sums[:, 1 + D :]
        second: Float64Array | None = None
        if kind == "diag":
            second = np.maximum(0.0, raw + delta * about + first * delta)
        elif kind == "spherical":
            moved = raw[:, 0] + (delta * about + first * delta).sum(axis=1)
            second = np.maximum(0.0, moved / D)
        elif kind == "full":
            i, j = _triangle(D)
            second = np.empty((self.n_components, D, D))
            second[:, i, j] = raw + delta[:, i] * about[:, j] + first[:, i] * delta[:, j]
            second[:, j, i] = second[:, i, j]
        elif kind == "pooled":
            i, j = _triangle(D)
            moved = np.einsum("ki,kj->ij", delta, about) + np.einsum("ki,kj->ij", first, delta)
            second = np.empty((D, D))
            second[i, j] = pooled + moved[i, j]
            second[j, i] = second[i, j]
        return Statistics(kind, centres, weight, first, second)


def median_point(points: Float64Array, n_features: int) -> Float64Array:
    """Return the coordinate-wise upper median of points, the origin for none."""
    if len(points) == 0:
        return np.zeros(n_features)
    middle = len(points) // 2
    return np.asarray(np.partition(points, middle, axis=0)[middle])


def _as_factor(P: Float64Array, dtype: np.dtype[Any]) -> FloatArray:
    """Return precision factors of the dtype, the largest number for those that are beyond it."""
    largest = float(np.finfo(dtype).max)
    return np.ascontiguousarray(np.clip(P, -largest, largest), dtype=dtype)


def _as_scales(P: Float64Array, dtype: np.dtype[Any]) -> FloatArray:
    """Return inverse deviations of the dtype, none of them zero or infinite."""
    return _as_factor(np.maximum(P, float(np.finfo(dtype).tiny)), dtype)


def _squared_reach(means: Float64Array, form: Quadratic) -> Float64Array:
    """Return how far means are from the shift, in standard deviations of the narrowest direction.

    Squared; ``means`` are relative to the shift.
    """
    P = form.precision_cholesky
    if form.factor_type == "diag":
        return np.asarray(np.square(means * P).max(axis=1))
    if form.factor_type == "spherical":
        return np.asarray(np.square(means * P[:, np.newaxis]).max(axis=1))
    narrowest = np.square(np.triu(P)).sum(axis=-2).max(axis=-1)
    return np.asarray(np.square(means).sum(axis=1) * narrowest)


def _triangle(n: int) -> npt.NDArray[np.int64]:
    """Return the rows and columns of a lower triangle, row by row."""
    return np.array(np.tril_indices(n), dtype=np.int64)


def _products(
    kind: Moments | None, n_features: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return, for each moment of a component, the two features that it is the product of.

    Feature ``n_features`` is the constant one and ``n_features + 1`` the squared norm.
    """
    D = n_features
    one = np.array([[D], [D]])
    features = np.arange(D)
    first = np.array([features, np.full(D, D)])
    second = {
        "diag": np.array([features, features]),
        "spherical": np.array([[D + 1], [D]]),
        "full": _triangle(D),
    }.get(kind or "", np.zeros((2, 0)))
    if kind is None:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    left, right = np.concatenate([one, first, second], axis=1).astype(np.int64)
    return np.ascontiguousarray(left), np.ascontiguousarray(right)
