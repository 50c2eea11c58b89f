"""Log-joints of the contract as the steps of a pass: rows in, log-joint, gradient, points out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vbfast.backends.numba import loops
from vbfast.backends.numba.batch import Batch
from vbfast.backends.numba.forms import Diagonal, Dot, Euclidean, Triangular, whiten, whole_fours
from vbfast.backends.numba.memory import empty_lines
from vbfast.backends.reference.forms import evaluate
from vbfast.backends.reference.posterior import limiting_posterior
from vbfast.contract import NEAR_LIMIT, Float64Array, FloatArray, Linear, LogJoint, Quadratic

__all__ = ["Layout", "LinearModel", "Model", "lay_out_distances", "quadratic_model"]


class Layout(NamedTuple):
    """A form for kernels.

    Attributes
    ----------
    form : tuple of arrays
        As rows are evaluated with it.
    slopes : tuple of arrays
        As slopes are: the same, or where ``form`` takes rows that a factor has whitened, that of
        the rows before.
    origin : ndarray of shape (n_features,)
        Subtracted from the rows, in their dtype.
    cost : float
        Multiplications a row and component.
    near : bool
        Whether the moments of all components together lose no digits about the origin.
    """

    form: Any
    slopes: Any
    origin: FloatArray
    cost: float
    near: bool = False


class Model:
    """A log-joint laid out for kernels, which are kept on disk.

    Attributes
    ----------
    log_joint : LogJoint
    layout : Layout
    dtype, points_dtype : float32 or float64
        Of the rows, and of the points that moments are taken of.
    n_features, n_components : int
    centres : ndarray of shape (n_components, n_moments)
        Of the moments, where the points of :meth:`points` are.
    """

    def __init__(self, log_joint: LogJoint, layout: Layout) -> None:
        self.log_joint, self.layout = log_joint, layout
        self.dtype = self.points_dtype = layout.origin.dtype
        self.n_features, self.n_components = log_joint.n_features, log_joint.n_components
        self.centres = log_joint.form.centres
        if layout.origin.any():
            self.centres = self.centres - layout.origin.astype(np.float64)
        self._offset = log_joint.offset.astype(self.dtype)
        self._whitens = layout.form is not layout.slopes

    def batch(self, n_tiles: int, tile_rows: int) -> Batch:
        """Return memory for so many tiles."""
        batch = Batch(n_tiles, tile_rows, self.n_features, self.n_components, self.dtype)
        if self._whitens:
            whitened = empty_lines(batch.rows.lanes.shape, self.dtype)
            batch.evaluated = batch.rows._replace(lanes=whitened)
        return batch

    def load(self, batch: Batch, rows: FloatArray, start: int) -> None:
        """Load rows, of which the first has the index ``start``, see :meth:`Batch.load`."""
        batch.load(rows, start, self.layout.origin)
        if self._whitens:
            whiten(self.layout.slopes.factor, batch.rows, batch.evaluated.lanes)

    def fill(self, batch: Batch, first: int, last: int) -> None:
        """Evaluate the components ``first`` to ``last``."""
        out = (batch.joint, batch.row_max)
        loops.fill_log_joint(self.layout.form, batch.evaluated, self._offset, *out, first, last)

    def points(self, batch: Batch) -> FloatArray:
        """Return what moments are taken of, in lanes: here the rows."""
        return batch.rows.lanes

    def add_gradient(self, batch: Batch, first: int, last: int, gradient: FloatArray) -> None:
        """Add the slopes of some components, times responsibilities but for their factor."""
        loops.add_gradient(self.layout.slopes, batch.rows, batch.joint, first, last, gradient)

    def overflowed_posterior(self, rows: FloatArray) -> Float64Array | None:
        """Return ``q`` of rows whose log-joints are all ``-inf``; None where it is nobody's.

        None of them should be in the data: one at a time, in the reference backend's words.
        """
        possible = np.any(self.log_joint.offset > -np.inf)
        if not possible or not isinstance(self.log_joint.form, Quadratic | Linear):
            return None
        return limiting_posterior(rows.astype(np.float64), self.log_joint)


class LinearModel(Model):
    """A linear form laid out for kernels."""

    def __init__(self, log_joint: LogJoint, dtype: np.dtype[Any]) -> None:
        form = log_joint.form
        assert isinstance(form, Linear)
        D = form.n_features
        dot = Dot(_padded(form.theta.astype(dtype))[:, np.newaxis])
        super().__init__(log_joint, Layout(dot, dot, np.zeros(D, dtype), 4.0 * D))
        # The largest value of a row whose terms can be added up.
        steepest = max(1.0, float(np.abs(form.theta).max()))
        self._ordinary = float(np.finfo(dtype).max) / D / steepest

    def fill(self, batch: Batch, first: int, last: int) -> None:
        """Evaluate components, those once more whose terms overflow, or sums of some."""
        super().fill(batch, first, last)
        lanes = batch.rows.lanes
        if max(float(lanes.max()), -float(lanes.min())) < self._ordinary:
            return
        some = self.log_joint.select(np.arange(first, last))
        undefined = ~np.isfinite(batch.joint[:, first:last]).all(axis=1)
        for t, i in np.argwhere(undefined):
            row = lanes[t, : self.n_features, i].astype(np.float64)
            batch.joint[t, first:last, i] = evaluate(row[np.newaxis], some)[0]
            batch.row_max[t, i] = batch.joint[t, :last, i].max()


def quadratic_model(log_joint: LogJoint, dtype: np.dtype[Any]) -> Model:
    """Lay a quadratic form out."""
    form = log_joint.form
    assert isinstance(form, Quadratic)
    return Model(log_joint, _lay_out_quadratic(form, log_joint.offset > -np.inf, dtype))


@np.errstate(over="ignore", invalid="ignore")
def _lay_out_quadratic(
    form: Quadratic, used: npt.NDArray[np.bool_], dtype: np.dtype[Any]
) -> Layout:
    """Lay a form out, of which some components have a weight."""
    P, D = form.precision_cholesky, form.n_features
    origin = _median_point(form.centres[used], D).astype(dtype)
    centres = form.centres - origin.astype(np.float64)
    near = bool(np.all(_squared_reach(centres, form)[used] <= NEAR_LIMIT[dtype]))  # not for NaN
    if not near:
        origin, centres = np.zeros_like(origin), form.centres
    if form.factor_type in ("diag", "spherical"):
        # None of them zero or infinite.
        least = np.maximum(P.reshape(len(centres), -1), float(np.finfo(dtype).tiny))
        scales = _as_factor(np.broadcast_to(least, centres.shape), dtype)
        high, low = _two_parts(centres, dtype)
        diagonal = Diagonal(_padded(high), _padded(low * scales), _padded(scales))
        return Layout(diagonal, diagonal, origin, 4.0 * D, near)
    factor = np.triu(P.reshape(-1, *P.shape[-2:])).swapaxes(1, 2)
    high, low = _two_parts(centres, dtype)
    triangular = Triangular(_padded(high), _padded(low), _padded(_as_factor(factor, dtype)))
    if form.factor_type == "tied" and near:
        images = np.einsum("ki,ji->kj", centres, factor[0])
        whitened = Euclidean(_padded(images.astype(dtype)))
        return Layout(whitened, triangular, origin, D * D + 4.0 * D, near)
    return Layout(triangular, triangular, origin, D * D + 4.0 * D, near)


def lay_out_distances(centres: Float64Array, dtype: np.dtype[Any]) -> Layout:
    """Lay out ``-1/2 ||x_n - c_k||^2``, of centres that the dtype holds.

    The origin is zero: what is near to a centre has its digits wherever the others are.
    """
    form, n_features = Euclidean(_padded(centres.astype(dtype))), centres.shape[1]
    return Layout(form, form, np.zeros(n_features, dtype), 4.0 * n_features)


def _two_parts(centres: Float64Array, dtype: np.dtype[Any]) -> tuple[FloatArray, FloatArray]:
    """Return numbers as near as a dtype has them, and the rest."""
    high = centres.astype(dtype)
    return high, np.where(np.isfinite(high), centres - high, 0.0).astype(dtype)


def _padded(numbers: FloatArray) -> FloatArray:
    """Return numbers with zeros that make whole fours of the last axis."""
    *shape, n_features = numbers.shape
    wide = np.zeros((*shape, whole_fours(n_features)), numbers.dtype)
    wide[..., :n_features] = numbers
    return wide


def _median_point(points: Float64Array, n_features: int) -> Float64Array:
    """Return the coordinate-wise upper median of points, the origin for none."""
    if len(points) == 0:
        return np.zeros(n_features)
    middle = len(points) // 2
    return np.asarray(np.partition(points, middle, axis=0)[middle])


def _as_factor(P: Float64Array, dtype: np.dtype[Any]) -> FloatArray:
    """Return precision factors of the dtype, the largest number for those that are beyond it."""
    largest = float(np.finfo(dtype).max)
    return np.clip(P, -largest, largest).astype(dtype)


def _squared_reach(centres: Float64Array, form: Quadratic) -> Float64Array:
    """Return how far centres are from the origin, in deviations of the narrowest direction.

    Squared.
    """
    P = form.precision_cholesky
    if form.factor_type in ("diag", "spherical"):
        return np.asarray(np.square(centres * P.reshape(len(centres), -1)).max(axis=1))
    narrowest = np.square(np.triu(P)).sum(axis=-2).max(axis=-1)
    return np.asarray(np.square(centres).sum(axis=1) * narrowest)
