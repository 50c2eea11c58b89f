"""k-means++ (Arthur and Vassilvitskii 2007): what each candidate would leave of the distances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from vbfast.backends.checks import check_seeding_blocks
from vbfast.backends.numba.batch import Batch
from vbfast.backends.numba.compiling import group_rows, group_size, kernel, load_at, store_at
from vbfast.backends.numba.constants import STEP_COST
from vbfast.backends.numba.forms import Spherical
from vbfast.backends.numba.models import Model
from vbfast.backends.numba.quadratic import Layout
from vbfast.backends.numba.rows import address_of
from vbfast.backends.numba.threads import Task, run_tasks
from vbfast.contract import (
    Blocking,
    Float64Array,
    FloatArray,
    LogJoint,
    NonFiniteRowError,
    RowBlock,
)

__all__ = ["NumbaSeedingPass"]


@kernel
def _lower_distances(
    joint: Any,
    weights: Any,
    n_rows: Any,
    tile_rows: Any,
    closest: Any,
    lowered: Any,
    lowered_stride: Any,
    potentials: Any,
) -> None:
    """Add ``w_n min(closest_n, -joint_nl)`` to every candidate's potential.

    ``closest`` is an address, and ``lowered`` too, of rows ``lowered_stride`` bytes apart that take
    the minimum, or zero.
    """
    group = group_rows(joint)
    item = joint.itemsize
    like = joint.dtype.type(0)
    for c in range(joint.shape[1]):
        tile = 0.0
        for n in range(n_rows):
            lowest = min(load_at(closest + n * item, like), -joint[n // group, c, n % group])
            if lowered != 0:
                store_at(lowered + c * lowered_stride + n * item, lowest)
            w = weights[n] if len(weights) > 0 else 1.0
            # A distance that overflowed does not count where the weight is zero.
            if w > 0:
                tile += w * lowest
            if (n + 1) % tile_rows == 0 or n + 1 == n_rows:
                potentials[c] += tile
                tile = 0.0


def _distances(candidates: Float64Array, dtype: np.dtype[Any]) -> Model:
    """Return the log-joint ``-||x_n - c_l||^2``.

    The origin is zero: what is near to a candidate has its digits wherever the others are.
    """
    L, D = candidates.shape
    high, ones = candidates.astype(dtype), np.ones(L, dtype)
    low = (candidates - high).astype(dtype)
    limit = np.full(L, np.inf, dtype)
    form = Spherical(high, low if low.any() else None, ones[:, np.newaxis], ones, limit)
    log_joint = LogJoint.quadratic("spherical", np.zeros(L), candidates, np.ones(L))
    return Model(log_joint, Layout(form, np.zeros(D, dtype), None), 2.0 * D)


class NumbaSeedingPass:
    """A seeding pass of the contract."""

    def __init__(self, candidates: Float64Array, blocking: Blocking) -> None:
        self._blocking, self._candidates = blocking, candidates
        self._model = _distances(candidates, blocking.dtype)
        self._potentials = [np.zeros(len(candidates)) for _ in range(blocking.n_partitions)]
        tiles = STEP_COST / (2.0 * candidates.size) / blocking.tile_rows
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
        slices = zip(blocks, closest, lowered, strict=True)
        run_tasks([self._task(*each, bad) for each in slices], num_threads)
        if bad:
            raise NonFiniteRowError(min(bad))

    def _task(
        self, block: RowBlock, closest: FloatArray, lowered: FloatArray | None, bad: list[int]
    ) -> Task:
        def task(worker: int) -> Iterator[None]:  # noqa: ARG001
            model, blocking = self._model, self._blocking
            n_groups = -(-min(self._batch_rows, len(block.rows)) // group_size(blocking.dtype))
            L = len(self._candidates)
            batch = Batch(model.memory(n_groups), L, blocking.tile_rows, with_gradient=False)
            for start in range(0, len(block.rows), self._batch_rows):
                rows = slice(start, min(start + self._batch_rows, len(block.rows)))
                batch.take(block.start + start, rows.stop - start)
                row = model.load(batch, block.rows[rows])
                if row >= 0:
                    bad.append(batch.start + row)
                    return
                model.fill(batch, 0, L)
                offset = start * blocking.dtype.itemsize
                _lower_distances(
                    batch.joint,
                    np.empty(0) if block.weights is None else block.weights[rows].copy(),
                    batch.n_rows,
                    batch.tile_rows,
                    address_of(closest) + offset,
                    0 if lowered is None else address_of(lowered) + offset,
                    0 if lowered is None else lowered.strides[0],
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
