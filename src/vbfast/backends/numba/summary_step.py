"""What a pass sums up: the moments of its batches, and the contract's statistics from the sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from vbfast.backends.numba.batch import Batch
from vbfast.backends.numba.compiling import group_size
from vbfast.backends.numba.constants import BLOCK_BYTES, BLOCK_COMPONENTS
from vbfast.backends.numba.memory import empty_lines, side_by_side
from vbfast.backends.numba.models import Model
from vbfast.backends.numba.moments import First, Products, Squares, Sums, add_moments, total_mass
from vbfast.contract import Float64Array, FloatArray, Moments, Request, Statistics

__all__ = ["SummaryStep"]

# What is summed of each component.
_KINDS: dict[Moments, Callable[..., Any]] = {
    "first": First,
    "diag": Squares,
    "spherical": Squares,
    "pooled": Products,
    "full": Products,
}


class _Memory(NamedTuple):
    block: Sums
    work: FloatArray  # (8, width)
    mass: FloatArray  # (n_groups, 1, group), of pooled moments


class SummaryStep:
    """The moments that a request asks for, of a model's points.

    Attributes
    ----------
    cost : float
        Multiplications a row and component beside those of the log-joint.
    splits : bool
        Whether threads may share the components.
    """

    def __init__(self, model: Model, request: Request) -> None:
        assert request.moments is not None
        self._model, self._moments = model, request.moments
        self._centres = model.log_joint.form.centres
        K, D = self._centres.shape
        self._kind = _KINDS[request.moments]
        lines: dict[Any, int] = {First: 0, Squares: 1, Products: D}
        n_shares = 1 if request.moments in ("first", "pooled") else K
        self._second_shape = (n_shares, lines[self._kind], model.points_width)
        largest = float(np.finfo(model.points_dtype).max)
        self._rounded = self._padded(np.clip(self._centres, -largest, largest))
        # Pooled posterior moments are summed once for all, where there is a point for it.
        self._pool: FloatArray | None = None
        if (request.moments, request.assignment) == ("pooled", "posterior"):
            self._pool = None if model.pool is None else self._padded(model.pool[np.newaxis])
        self.cost = float(D * D) if request.moments == "full" else 0.0
        self.splits = request.moments != "pooled"

    def _padded(self, points: Float64Array | FloatArray) -> FloatArray:
        wide = empty_lines((len(points), self._model.points_width), self._model.points_dtype)
        wide.fill(0)
        wide[:, : points.shape[1]] = points
        return wide

    def no_sums(self) -> Sums:
        """Return sums over no rows, in float64."""
        return Sums(
            np.zeros(len(self._rounded)),
            np.zeros(self._rounded.shape),
            np.zeros(self._second_shape),
        )

    def memory(self, n_groups: int) -> _Memory:
        """Return memory that a thread needs for batches of so many groups."""
        dtype, (_, n_second, width) = self._model.points_dtype, self._second_shape
        component_bytes = (1 + n_second) * width * dtype.itemsize
        n = min(BLOCK_COMPONENTS, max(1, BLOCK_BYTES // component_bytes))
        n_pooled = 0 if self._pool is None else n_groups
        group = group_size(self._model.dtype)
        return _Memory(
            Sums(*side_by_side([(n,), (n, width), (n, n_second, width)], dtype)),
            empty_lines((8, width), dtype),
            empty_lines((n_pooled, 1, group), self._model.dtype),
        )

    def add(self, batch: Batch, memory: _Memory, first: int, last: int, sums: Sums) -> None:
        """Add the moments of some components; what all share, together with component 0."""
        points, block, kind = self._model.points(batch), memory.block, self._kind
        if self._pool is not None:
            if first == 0:
                mass = memory.mass[: len(batch.joint)]
                total_mass(batch.joint, mass)
                pooled = Sums(np.zeros(1), np.zeros(self._pool.shape), sums.second)
                about = Products(self._pool, memory.work)
                add_moments(
                    about, points, mass, batch.scale, batch.tile_groups, 0, 1, block, pooled
                )
            kind = First
            block, sums = (each._replace(second=each.second[:, :0]) for each in (block, sums))
        add_moments(
            kind(self._rounded, memory.work),
            points,
            batch.joint,
            batch.scale,
            batch.tile_groups,
            first,
            last,
            block,
            sums,
        )

    def statistics(self, sums: Sums) -> Statistics:
        """Return the contract's statistics, about its centres."""
        (_, D), moments = self._centres.shape, self._moments
        rounded = self._rounded[:, :D].astype(np.float64)
        second = self._second(sums.second)
        result = Statistics(moments, rounded, sums.weight, sums.first[:, :D].copy(), second)
        if self._pool is not None:
            step = rounded - self._pool[:, :D]
            first = result.first + result.weight[:, np.newaxis] * step
            result = replace(result, second=replace(result, first=first).second_about(step))
        if not np.array_equal(rounded, self._centres):
            result = result.about(self._centres)
        if moments in ("diag", "spherical") and result.second is not None:
            result = replace(result, second=np.maximum(result.second, 0.0))
        return replace(result, centres=self._centres)

    def _second(self, sums: Float64Array) -> Float64Array | None:
        D = self._centres.shape[1]
        if self._kind is First:
            return None
        if self._kind is Squares:
            squares = sums[:, 0, :D].copy()
            return squares if self._moments == "diag" else squares.mean(axis=1)
        lower = np.tril(sums[:, :, :D])
        whole = lower + np.tril(lower, -1).swapaxes(1, 2)
        return whole[0] if self._moments == "pooled" else whole
