"""k-means++ (Arthur and Vassilvitskii 2007): what each candidate would leave of the distances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from vbfast.backends.checks import check_seeding_blocks
from vbfast.backends.numba.batch import Batches, by_row
from vbfast.backends.numba.models import Model, lay_out_distances
from vbfast.contract import Blocking, Float64Array, FloatArray, LogJoint, RowBlock

__all__ = ["NumbaSeedingPass"]


class NumbaSeedingPass:
    """A seeding pass of the contract."""

    def __init__(self, candidates: Float64Array, blocking: Blocking) -> None:
        self._blocking, self._candidates = blocking, candidates
        ones = np.ones(len(candidates))
        distances = LogJoint.quadratic("spherical", np.zeros_like(ones), candidates, ones)
        self._model = Model(distances, lay_out_distances(candidates, blocking.dtype))
        self._batches = Batches(self._model, blocking)
        self._potentials = np.zeros((blocking.n_partitions, len(candidates)))

    def run(
        self,
        blocks: Sequence[RowBlock],
        closest: Sequence[FloatArray],
        lowered: Sequence[FloatArray | None],
        num_threads: int,
    ) -> None:
        """Process blocks, each with its slices of ``closest`` and ``lowered``."""
        check_seeding_blocks(blocks, closest, lowered, self._blocking, self._candidates)

        slices = zip(blocks, closest, lowered, strict=True)
        self._batches.run([partial(self._visit, *each) for each in slices], num_threads)

    def _visit(
        self, block: RowBlock, closest: FloatArray, lowered: FloatArray | None, worker: int
    ) -> Iterator[None]:
        for batch, rows in self._batches.of(block, worker):
            for components in self._batches.steps():
                self._model.fill(batch, *components)
                yield
            distances = -2 * by_row(batch.joint)[: batch.n_rows]
            lowest = np.minimum(distances, closest[rows, np.newaxis])
            if lowered is not None:
                lowered[:, rows] = lowest.T
            weights = np.ones(batch.n_rows) if block.weights is None else block.weights[rows]
            # A distance that overflowed does not count where the weight is zero.
            counted = np.where(weights > 0, weights * lowest.T, 0.0)
            tiles = np.arange(0, batch.n_rows, self._blocking.tile_rows)
            for tile in np.add.reduceat(counted, tiles, axis=1).T:
                self._potentials[block.partition] += tile

    def finish(self) -> Float64Array:
        """Add the partitions up in their order."""
        return np.asarray(np.add.reduce(self._potentials))
