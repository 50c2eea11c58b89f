"""Log-joints of the contract as the steps of a pass: rows in, log-joint, gradient, points out."""

from __future__ import annotations

import numpy as np

from vbfast.backends.numba import loops
from vbfast.backends.numba.batch import Batch
from vbfast.backends.numba.forms import whiten
from vbfast.backends.numba.memory import empty_lines
from vbfast.backends.numba.quadratic import Layout
from vbfast.backends.reference.posterior import limiting_posterior
from vbfast.contract import Float64Array, FloatArray, LogJoint, Quadratic

__all__ = ["Model"]


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
        if not possible or not isinstance(self.log_joint.form, Quadratic):
            return None
        return limiting_posterior(rows.astype(np.float64), self.log_joint)
