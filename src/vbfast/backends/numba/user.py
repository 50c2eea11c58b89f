"""A user's two functions in the loops of a pass.

They are compiled once a function and dtype, in every process again: a cache on disk could not tell
one from another.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from vbfast.backends.numba import loops
from vbfast.backends.numba.batch import Batch, by_row
from vbfast.backends.numba.blocking import FUNCTION_COST
from vbfast.backends.numba.compiling import compiled
from vbfast.backends.numba.forms import User, UserRows
from vbfast.backends.numba.models import Layout, Model
from vbfast.contract import FloatArray, LogJoint, UserFunction
from vbfast.user_functions import guarded, read_only

__all__ = ["UserModel"]


@functools.lru_cache(maxsize=64)
def _loop_for(loop: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:  # noqa: ARG001
    """Compile a loop that calls a user's function."""
    return compiled(loop)


def _fill_points(function: Any, rows: Any, scale: Any, statistics: Any, points: Any) -> None:
    for g in range(scale.shape[0]):
        for i in range(scale.shape[1]):
            # A row that counts nowhere may have statistics that are not finite.
            statistics[:] = 0
            if scale[g, i] != 0:
                function(rows[g * scale.shape[1] + i], statistics)
            points[g, :, i] = statistics


class UserModel(Model):
    """A log-joint whose form is a user's function; moments are those of the user's statistics."""

    def __init__(self, log_joint: LogJoint, dtype: np.dtype[Any]) -> None:
        form = log_joint.form
        assert isinstance(form, UserFunction)
        self._user = form
        self._theta = read_only(np.empty((0, 0)) if form.theta is None else form.theta)
        user = User(form.log_density, self._theta)
        cost = FUNCTION_COST * form.row_length
        super().__init__(log_joint, Layout(user, np.zeros(form.n_features, dtype), cost))
        self.points_dtype = np.dtype(np.float64)

    def load(self, batch: Batch, rows: FloatArray) -> int:
        """Load rows, and one after another as the functions take them."""
        bad = super().load(batch, rows)
        plain = by_row(batch.rows.lanes[:, : self.n_features])
        batch.evaluated = UserRows(read_only(plain), np.full(2, -1))
        return bad

    def fill(self, batch: Batch, first: int, last: int) -> None:
        """Evaluate the components ``first`` to ``last``; raises as :func:`guarded`.

        Also a ``ValueError`` if the density of a row is NaN or infinite.
        """
        log_density, rows = self._user.log_density, batch.evaluated
        loop: Any = loops.fill_log_joint
        fill, out = _loop_for(loop.py_func, log_density), (batch.joint, batch.row_max)
        lengths = {"x": self.n_features, "theta": self._theta.shape[1]}
        with guarded("log_density", log_density, self.dtype, **lengths):
            fill(self.layout.form, rows, self._offset, *out, first, last)
        if rows.fault[0] >= 0:
            row, component = min(int(rows.fault[0]), batch.n_rows - 1), int(rows.fault[1])
            x = rows.plain[row]
            name = getattr(log_density, "__name__", "log_density")
            raise ValueError(
                f"the family's log_density ({name}) returned "
                f"{log_density(x, self._theta[component])} for row {batch.start + row}, x = {x}, "
                f"under component {component}; it must return a finite number, or -inf where x is "
                "impossible"
            )

    def points(self, batch: Batch) -> FloatArray:
        """Return the statistics of the rows that count; raises as :func:`guarded`."""
        statistics, n_statistics = self._user.sufficient_statistics, self._user.n_statistics
        n_tiles, tile_rows = batch.scale.shape
        points, of_row = np.empty((n_tiles, n_statistics, tile_rows)), np.zeros(n_statistics)
        rows, fill = batch.evaluated.plain, _loop_for(_fill_points, statistics)
        lengths = {"x": self.n_features, "out": n_statistics}
        with guarded("sufficient_statistics", statistics, self.dtype, **lengths):
            fill(statistics, rows, batch.scale, of_row, points)
        return points
