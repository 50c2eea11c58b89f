"""Some tiles of rows on their way through a pass, and what a model of their log-joint offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from vbfast.backends.numba.compiling import group_size
from vbfast.backends.numba.memory import empty_lines
from vbfast.contract import Float64Array, FloatArray, Statistics

if TYPE_CHECKING:
    from vbfast.backends.numba.gradient import RowGradient

__all__ = ["Batch", "Model"]


class Batch:
    """Memory of one thread for a few tiles, cut to the rows that are being worked on.

    Attributes
    ----------
    capacity : int
        Groups that there is room for, of :func:`group_size` rows each.
    start : int
        Index of the first row in the whole data.
    n_rows, n_groups : int
        Rows, and groups of rows, the last of which may not be full.
    tile_rows : int
    joint : ndarray of shape (n_groups, n_components, group)
        Log-joint, then responsibilities.
    row_max, scale : ndarray of shape (n_groups, group)
        Largest log-joint of each row; what its responsibilities are multiplied by.
    label : ndarray of shape (n_rows,), int64
    by_label : bool
        Whether a row's mass is on its label; ``joint`` has no responsibilities then.
    lowest : ndarray of shape (1,), float64
        The least log evidence of all rows so far that have a posterior and positive weight.
    memory : object
        What :meth:`Model.row_memory` returned.
    gradient_memory : object
        What :meth:`RowGradient.memory` returned, where the gradient is wanted.
    """

    def __init__(
        self,
        model: Model,
        gradient: RowGradient | None,
        dtype: np.dtype[Any],
        capacity: int,
        tile_rows: int,
    ) -> None:
        self._group = group_size(dtype)
        n_groups = -(-capacity // self._group)
        self.capacity = n_groups
        self.tile_rows = tile_rows
        self.by_label = False
        self.lowest = np.array([np.inf])
        self.memory = model.row_memory(n_groups)
        self.gradient_memory: Any = None if gradient is None else gradient.memory(n_groups)
        self._joint = empty_lines((n_groups, model.n_components, self._group), dtype)
        self._row_max = empty_lines((n_groups, self._group), dtype)
        self._scale = empty_lines((n_groups, self._group), dtype)
        self._label = np.empty(n_groups * self._group, np.int64)
        self.take(0, capacity)

    def take(self, start: int, n_rows: int) -> None:
        """Cut the arrays to so many rows, from row ``start`` of the whole data."""
        self.start = start
        self.n_rows = n_rows
        self.n_groups = -(-n_rows // self._group)
        self.joint: FloatArray = self._joint[: self.n_groups]
        self.row_max: FloatArray = self._row_max[: self.n_groups]
        self.scale: FloatArray = self._scale[: self.n_groups]
        self.label: npt.NDArray[np.int64] = self._label[:n_rows]
        self.row_max.fill(-np.inf)


class Model(Protocol):
    """A log-joint and its sufficient statistics, tied to what a pass is asked for."""

    n_components: int
    n_moments: int
    n_pooled: int
    cost: float

    def row_memory(self, n_groups: int) -> Any:
        """Return memory for the rows of a batch of at most so many groups."""

    def moment_memory(self, n_groups: int) -> Any:
        """Return memory that a thread needs to add up the moments of such batches."""

    def load(self, batch: Batch, rows: FloatArray) -> int:
        """Load ``batch.n_rows`` rows; returns the first that is not finite, or -1."""

    def log_joint(self, batch: Batch, first: int, last: int) -> None:
        """Fill the components ``first`` to ``last`` of ``batch.joint``; raise ``row_max``."""

    def overflowed_posterior(self, rows: FloatArray) -> Float64Array | None:
        """Return ``q`` of rows whose log-joints are all ``-inf``; None where it is nobody's."""

    def add_moments(
        self,
        batch: Batch,
        memory: Any,
        first: int,
        last: int,
        sums: Float64Array,
        pooled: Float64Array,
    ) -> None:
        """Add the moments of some components to ``sums`` (n_components, n_moments).

        ``memory`` is what :meth:`moment_memory` returned; threads may share the batch. Moments that
        all components share go to ``pooled`` (n_pooled,), together with component 0.
        """

    def statistics(self, sums: Float64Array, pooled: Float64Array) -> Statistics:
        """Turn the sums of all rows into the contract's statistics."""
