"""k-means++ (Arthur and Vassilvitskii 2007): what each candidate would leave of the distances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from vbfast.backends.numba.compiling import (
    STEP_COST,
    group_rows,
    group_size,
    kernel,
    load_at,
    store_at,
)
from vbfast.backends.numba.log_joint import difference
from vbfast.backends.numba.memory import empty_lines
from vbfast.backends.numba.threads import Task, run_tasks
from vbfast.backends.numba.tiles import load_features, row_layout
from vbfast.contract import Blocking, Float64Array, FloatArray, NonFiniteRowError, RowBlock

__all__ = ["NumbaSeedingPass", "lower_distances"]


@kernel
def lower_distances(
    features: Any,
    candidates: Any,
    low: Any,
    weights: Any,
    n_rows: Any,
    tile_rows: Any,
    closest: Any,
    lowered: Any,
    lowered_stride: Any,
    distance: Any,
    potentials: Any,
) -> None:
    """Add ``w_n min(closest_n, ||x_n - c_l||^2)`` to every candidate's potential.

    Candidates have two parts, the second of which is what rounding took of the first, or None where
    that is nothing, as it is for rows. ``closest`` is an address, and ``lowered`` too, of rows
    ``lowered_stride`` bytes apart that take the minimum, or zero. ``distance`` of shape (group,) is
    memory to work in.
    """
    group = group_rows(features)
    n_candidates, n_features = candidates.shape
    item = distance.itemsize
    like = distance[0]
    for c in range(n_candidates):
        tile = 0.0
        for g in range(len(features)):
            for i in range(group):
                distance[i] = 0
            for d in range(n_features):
                centre = candidates[c, d]
                for i in range(group):
                    t = difference(centre, features[g, d, i], low, c, d)
                    distance[i] += t * t
            for i in range(group):
                n = g * group + i
                if n < n_rows:
                    lowest = min(load_at(closest + n * item, like), distance[i])
                    if lowered != 0:
                        store_at(lowered + c * lowered_stride + n * item, lowest)
                    w = weights[n] if len(weights) > 0 else 1.0
                    # A distance that overflowed does not count where the weight is zero.
                    if w > 0:
                        tile += w * lowest
                    if (n + 1) % tile_rows == 0 or n + 1 == n_rows:
                        potentials[c] += tile
                        tile = 0.0


class NumbaSeedingPass:
    """A seeding pass of the contract."""

    def __init__(self, candidates: Float64Array, blocking: Blocking) -> None:
        n_candidates, n_features = candidates.shape
        self._blocking = blocking
        # No shift: what is near to a candidate has its digits wherever the others are.
        self._shift = np.zeros(n_features, blocking.dtype)
        self._candidates = candidates.astype(blocking.dtype)
        low = (candidates - self._candidates).astype(blocking.dtype)
        self._low = low if low.any() else None
        self._potentials = np.zeros((blocking.n_partitions, n_candidates))
        rows_of_step = STEP_COST / (2.0 * n_candidates * n_features)
        self._batch_rows = (
            max(1, min(16, int(rows_of_step) // blocking.tile_rows)) * blocking.tile_rows
        )

    def run(
        self,
        blocks: Sequence[RowBlock],
        closest: Sequence[FloatArray],
        lowered: Sequence[FloatArray | None],
        num_threads: int,
    ) -> None:
        """Process blocks, each with its slices of ``closest`` and ``lowered``."""
        bad: list[int] = []
        run_tasks(
            [self._task(*slices, bad) for slices in zip(blocks, closest, lowered, strict=True)],
            num_threads,
        )
        if bad:
            raise NonFiniteRowError(min(bad))

    def _task(
        self, block: RowBlock, closest: FloatArray, lowered: FloatArray | None, bad: list[int]
    ) -> Task:
        def task(worker: int) -> Iterator[None]:  # noqa: ARG001
            dtype = self._blocking.dtype
            group = group_size(dtype)
            n_groups = -(-min(self._batch_rows, len(block.rows)) // group)
            features = empty_lines((n_groups, len(self._shift) + 2, group), dtype)
            distance = empty_lines((group,), dtype)
            for start in range(0, len(block.rows), self._batch_rows):
                n_rows = min(self._batch_rows, len(block.rows) - start)
                rows = slice(start, start + n_rows)
                row = load_features(*row_layout(block.rows[rows]), n_rows, self._shift, features)
                if row >= 0:
                    bad.append(block.start + start + int(row))
                    return
                lower_distances(
                    features[: -(-n_rows // group)],
                    self._candidates,
                    self._low,
                    np.empty(0) if block.weights is None else block.weights[rows].copy(),
                    n_rows,
                    self._blocking.tile_rows,
                    _address(closest) + start * dtype.itemsize,
                    0 if lowered is None else _address(lowered) + start * dtype.itemsize,
                    0 if lowered is None else lowered.strides[0],
                    distance,
                    self._potentials[block.partition],
                )
                yield

        return task

    def finish(self) -> Float64Array:
        """Add the partitions up in their order."""
        total = np.zeros(self._potentials.shape[1])
        for partition in self._potentials:
            total += partition
        return total


def _address(array: FloatArray) -> int:
    return int(array.__array_interface__["data"][0])
