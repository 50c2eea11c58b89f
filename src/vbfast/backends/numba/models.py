"""Log-joints of the contract as the steps of a pass: rows in, log-joint, gradient, points out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vbfast.backends.numba import loops
from vbfast.backends.numba.batch import Batch
from vbfast.backends.numba.forms import Diagonal, Dot, Euclidean, Triangular, whiten, whole_fours
from vbfast.backends.reference.forms import evaluate
from vbfast.backends.reference.posterior import limiting_posterior
from vbfast.contract import NEAR_LIMIT, Float64Array, FloatArray, Linear, LogJoint, Quadratic

__all__ = ["Layout", "LinearModel", "Model", "distances_model", "quadratic_model"]


class Layout(NamedTuple):
    """A form for kernels."""

    form: Any
    origin: FloatArray  # subtracted from the rows, in their dtype
    cost: float  # multiplications a row and component
    near: bool = False  # the moments of all components together lose no digits about the origin
    # Of rows that the one factor of ``form`` has whitened: what they are evaluated with, if any.
    whitened: Any = None


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

    def load(self, batch: Batch, rows: FloatArray) -> int:
        """Fill lanes with rows minus the origin; returns the first that is not finite, or -1."""
        batch.row_max.fill(-np.inf)
        # Of one type for numba, whatever the strides are and whether it may be written to.
        plain = np.require(rows, requirements=["C", "W"])
        bad: int = loops.load_rows(plain, self.layout.origin, batch.rows.lanes)
        if self.layout.whitened is not None:
            whiten(self.layout.form.factor, batch.rows, batch.evaluated.lanes)
        return bad

    def fill(self, batch: Batch, first: int, last: int) -> None:
        """Evaluate the components ``first`` to ``last``."""
        form = self.layout.form if self.layout.whitened is None else self.layout.whitened
        out = (batch.joint, batch.row_max)
        loops.fill_log_joint(form, batch.evaluated, self._offset, *out, first, last)

    def points(self, batch: Batch) -> FloatArray:
        """Return what moments are taken of, in lanes: here the rows."""
        return batch.rows.lanes

    def add_gradient(self, batch: Batch, gradient: FloatArray, first: int, last: int) -> None:
        """Add the slopes of some components, times responsibilities but for their factor."""
        loops.add_gradient(self.layout.form, batch.rows, batch.joint, first, last, gradient)

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
        form, D = log_joint.form, log_joint.n_features
        assert isinstance(form, Linear)
        dot = Dot(_padded(form.theta.astype(dtype))[:, np.newaxis])
        super().__init__(log_joint, Layout(dot, np.zeros(D, dtype), 4.0 * D))
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


def distances_model(centres: Float64Array, dtype: np.dtype[Any]) -> Model:
    """Lay out ``-1/2 ||x_n - c_k||^2``, of centres that the dtype holds.

    The origin is zero: what is near to a centre has its digits wherever the others are.
    """
    (K, D), form = centres.shape, Euclidean(_padded(centres.astype(dtype)))
    log_joint = LogJoint.quadratic("spherical", np.zeros(K), centres, np.ones(K))
    return Model(log_joint, Layout(form, np.zeros(D, dtype), 4.0 * D))


@np.errstate(over="ignore", invalid="ignore")
def quadratic_model(log_joint: LogJoint, dtype: np.dtype[Any]) -> Model:
    """Lay a quadratic form out, about a point amid the centres of components with a weight."""
    form, used = log_joint.form, log_joint.offset > -np.inf
    assert isinstance(form, Quadratic)
    P, D = form.precision_cholesky, form.n_features
    points = form.centres[used] if used.any() else np.zeros((1, D))
    middle = len(points) // 2  # the upper median of each coordinate
    origin = np.partition(points, middle, axis=0)[middle].astype(dtype)
    centres = form.centres - origin.astype(np.float64)
    near = bool(np.all(_squared_reach(centres, form)[used] <= NEAR_LIMIT[dtype]))  # not for NaN
    if not near:
        origin, centres = np.zeros_like(origin), form.centres
    # Two parts of numbers: as near as the dtype has them, and the rest.
    high = centres.astype(dtype)
    low = np.where(np.isfinite(high), centres - high, 0.0).astype(dtype)
    largest = float(np.finfo(dtype).max)
    if form.factor_type in ("diag", "spherical"):
        # None of them zero or infinite.
        scales = np.clip(P.reshape(len(P), -1), float(np.finfo(dtype).tiny), largest).astype(dtype)
        scales = np.broadcast_to(scales, centres.shape)
        diagonal = Diagonal(_padded(high), _padded(low * scales), _padded(scales))
        return Model(log_joint, Layout(diagonal, origin, 4.0 * D, near))
    factor = np.triu(P.reshape(-1, *P.shape[-2:])).swapaxes(1, 2)
    rounded = np.clip(factor, -largest, largest).astype(dtype)
    triangular = Triangular(_padded(high), _padded(low), _padded(rounded))
    layout = Layout(triangular, origin, D * D + 4.0 * D, near)
    if form.factor_type == "tied" and near:
        images = np.einsum("ki,ji->kj", centres, factor[0])
        layout = layout._replace(whitened=Euclidean(_padded(images.astype(dtype))))
    return Model(log_joint, layout)


def _padded(numbers: FloatArray) -> FloatArray:
    """Return numbers with zeros that make whole fours of the last axis."""
    *shape, n_features = numbers.shape
    wide = np.zeros((*shape, whole_fours(n_features)), numbers.dtype)
    wide[..., :n_features] = numbers
    return wide


def _squared_reach(centres: Float64Array, form: Quadratic) -> Float64Array:
    """Return how far centres are from the origin, squared: in narrowest deviations."""
    P = form.precision_cholesky
    if form.factor_type in ("diag", "spherical"):
        return np.asarray(np.square(centres * P.reshape(len(centres), -1)).max(axis=1))
    narrowest = np.square(np.triu(P)).sum(axis=-2).max(axis=-1)
    return np.asarray(np.square(centres).sum(axis=1) * narrowest)
