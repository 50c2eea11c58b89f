"""k-means++ (Arthur and Vassilvitskii 2007): what each candidate would leave of the distances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from vbfast.backends.checks import check_seeding_blocks
from vbfast.backends.numba.compiling import group_rows, group_size, kernel, load_at, store_at
from vbfast.backends.numba.constants import STEP_COST
from vbfast.backends.numba.forms import Diagonal, evaluate
from vbfast.backends.numba.memory import empty_lines
from vbfast.backends.numba.rows import address_of, load_rows, padded, row_layout, rows_for
from vbfast.backends.numba.threads import Task, run_tasks
from vbfast.contract import Blocking, Float64Array, FloatArray, NonFiniteRowError, RowBlock

__all__ = ["NumbaSeedingPass"]


@kernel
def _lower_distances(
    form: Any,
    rows: Any,
    weights: Any,
    n_rows: Any,
    tile_rows: Any,
    closest: Any,
    lowered: Any,
    lowered_stride: Any,
    distances: Any,
    potentials: Any,
) -> None:
    """Add ``w_n min(closest_n, ||x_n - c_l||^2)`` to every candidate's potential.

    ``closest`` is an address, and ``lowered`` too, of rows ``lowered_stride`` bytes apart that take
    the minimum, or zero. ``distances`` of shape (n_groups, n_candidates, group) is memory.
    """
    group = group_rows(distances)
    item = distances.itemsize
    like = distances.dtype.type(0)
    for c in range(distances.shape[1]):
        tile = 0.0
        for g in range(len(distances)):
            evaluate(form, rows, g, c, distances)
            for i in range(group):
                n = g * group + i
                if n < n_rows:
                    lowest = min(load_at(closest + n * item, like), distances[g, c, i])
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
        L, D = candidates.shape
        dtype = blocking.dtype
        self._blocking, self._candidates = blocking, candidates
        # The origin is zero: what is near to a candidate has its digits wherever the others are.
        self._origin = np.zeros(D, dtype)
        high = candidates.astype(dtype)
        low = (candidates - high).astype(dtype)
        self._form = Diagonal(high, low if low.any() else None, None, np.ones(L, dtype))
        self._potentials = [np.zeros(L) for _ in range(blocking.n_partitions)]
        tiles = STEP_COST / (2.0 * L * D) / blocking.tile_rows
        self._batch_rows = max(1, min(16, int(tiles))) * blocking.tile_rows

    def run(
        self,
        blocks: Sequence[RowBlock],
        closest: Sequence[FloatArray],
        lowered: Sequence[FloatArray | None],
        num_threads: int,
    ) -> None:
        """Process blocks, each with its slices of ``closest`` and ``lowered``."""
        check_seeding_blocks(blocks, closest, lowered, self._blocking, self._candidates)
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
            dtype, (L, D) = self._blocking.dtype, self._candidates.shape
            group = group_size(dtype)
            n_groups = -(-min(self._batch_rows, len(block.rows)) // group)
            memory = rows_for(n_groups, D, padded(D, dtype), dtype, whitened=False)
            distances = empty_lines((n_groups, L, group), dtype)
            for start in range(0, len(block.rows), self._batch_rows):
                rows = block.rows[start : start + self._batch_rows]
                to = (self._origin, memory.lanes, memory.plain)
                row = load_rows(*row_layout(rows), len(rows), *to)
                if row >= 0:
                    bad.append(block.start + start + int(row))
                    return
                weights = np.empty(0)
                if block.weights is not None:
                    weights = block.weights[start : start + len(rows)].copy()
                offset = start * dtype.itemsize
                _lower_distances(
                    self._form,
                    memory,
                    weights,
                    len(rows),
                    self._blocking.tile_rows,
                    address_of(closest) + offset,
                    0 if lowered is None else address_of(lowered) + offset,
                    0 if lowered is None else lowered.strides[0],
                    distances[: -(-len(rows) // group)],
                    self._potentials[block.partition],
                )
                yield

        return task

    def finish(self) -> Float64Array:
        """Add the partitions up in their order."""
        total = np.zeros(len(self._candidates))
        for partition in self._potentials:
            total += partition
        return total
