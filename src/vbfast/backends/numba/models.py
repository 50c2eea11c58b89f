"""Log-joints of the contract as the steps of a pass: rows in, log-joint, gradient, points out."""

from __future__ import annotations

from typing import Any

import numpy as np

from vbfast.backends.numba import loops
from vbfast.backends.numba.batch import Batch
from vbfast.backends.numba.forms import Dot, Whitened, whiten
from vbfast.backends.numba.quadratic import Layout, lay_out_quadratic
from vbfast.backends.numba.rows import Rows, load_rows, padded, row_layout, rows_for
from vbfast.backends.reference.forms import evaluate
from vbfast.backends.reference.posterior import limiting_posterior
from vbfast.contract import Float64Array, FloatArray, Linear, LogJoint, Quadratic

__all__ = ["LinearModel", "Model", "quadratic_model"]


class Model:
    """A log-joint laid out for kernels, which are kept on disk.

    Attributes
    ----------
    log_joint : LogJoint
    dtype : float32 or float64
    n_features, n_components : int
    points_width, points_dtype
        Length, with padding, and dtype of the points that moments are taken of.
    pool : ndarray or None
        As of :class:`Layout`.
    cost : float
        Multiplications a row and component.
    """

    def __init__(self, log_joint: LogJoint, layout: Layout, cost: float) -> None:
        self.log_joint = log_joint
        self.dtype = layout.origin.dtype
        self.n_features, self.n_components = log_joint.n_features, log_joint.n_components
        self.points_dtype = self.dtype
        self.points_width = padded(self.n_features, self.dtype)
        self.pool = layout.pool
        self.cost = cost
        self._form, self._origin = layout.form, layout.origin
        self._scaled = layout.scaled
        if self._scaled is not None:
            # The largest value of a row, or of a centre, whose differences have finite squares.
            most = 0.25 * float(np.finfo(self.dtype).max) / self.n_features
            self._ordinary = 0.5 * float(np.sqrt(most))
            self._far_centres = not np.abs(layout.form.centres).max() < self._ordinary
        self._offset = log_joint.offset.astype(self.dtype)
        self._whitened = isinstance(layout.form, Whitened)

    def memory(self, n_groups: int) -> Rows:
        """Return memory for the rows of so many groups."""
        shape = (n_groups, self.n_features, self.points_width)
        return rows_for(*shape, self.dtype, whitened=self._whitened)

    def load(self, batch: Batch, rows: FloatArray) -> int:
        """Load the rows of a batch; returns the first that is not finite, or -1."""
        memory = batch.rows
        to = (self._origin, memory.lanes, memory.plain)
        bad = load_rows(*row_layout(rows), len(rows), *to)
        if bad < 0 and self._whitened:
            whiten(self._form, memory)
        batch.form = self._form
        if self._scaled is not None:
            lanes = memory.lanes
            largest = max(float(lanes.max(initial=0)), -float(lanes.min(initial=0)))
            if self._far_centres or not largest < self._ordinary:
                batch.form = self._scaled
        return int(bad)

    def fill(self, batch: Batch, first: int, last: int) -> None:
        """Evaluate the components ``first`` to ``last``."""
        out = (batch.joint, batch.row_max)
        loops.fill_log_joint(batch.form, batch.rows, self._offset, *out, first, last)

    def points(self, batch: Batch) -> FloatArray:
        """Return what moments are taken of, one after another: here the rows."""
        return batch.rows.plain

    def add_gradient(self, batch: Batch, first: int, last: int) -> None:
        """Add the slopes of some components, times responsibilities."""
        loops.add_gradient(self._form, batch.rows, batch.joint, first, last, batch.gradient)

    def write_gradient(self, batch: Batch, out: FloatArray) -> None:
        """Write the gradient of every row."""
        loops.write_gradient(self._form, batch.rows, batch.joint, batch.gradient, out)

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
        origin = np.zeros(form.n_features, dtype)
        theta = np.ascontiguousarray(form.theta, dtype=dtype)
        super().__init__(log_joint, Layout(Dot(theta), origin, origin), 4.0 * form.n_features)
        # The largest value of a row whose terms can be added up.
        steepest = max(1.0, float(np.abs(form.theta).max()))
        self._ordinary = float(np.finfo(dtype).max) / form.n_features / steepest

    def fill(self, batch: Batch, first: int, last: int) -> None:
        """Evaluate components, those once more whose terms overflow, or sums of some."""
        super().fill(batch, first, last)
        rows = batch.rows.plain[: batch.n_rows]
        if max(float(rows.max(initial=0)), -float(rows.min(initial=0))) < self._ordinary:
            return
        some = self.log_joint.select(np.arange(first, last))
        group = batch.joint.shape[2]
        for n in range(batch.n_rows):
            joint = batch.joint[n // group, :, n % group]
            if not np.isfinite(joint[first:last]).all():
                with np.errstate(over="ignore"):
                    joint[first:last] = evaluate(rows[[n], : self.n_features].astype(float), some)[
                        0
                    ]
                batch.row_max[n // group, n % group] = joint[:last].max()


def quadratic_model(log_joint: LogJoint, dtype: np.dtype[Any]) -> Model:
    """Lay a quadratic form out."""
    form = log_joint.form
    assert isinstance(form, Quadratic)
    D = form.n_features
    layout = lay_out_quadratic(form, log_joint.offset > -np.inf, dtype)
    cost = 4.0 * D if form.factor_type in ("diag", "spherical") else D * D + 4.0 * D
    return Model(log_joint, layout, cost)
