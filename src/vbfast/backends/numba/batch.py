"""Some tiles of rows on their way through a pass, and the batches that blocks are taken in.

A feature's values in the rows of a tile lie one after another, in *lanes*: a loop over them is
vector code. Rows beyond the last repeat it, and have no weight. A partition's tiles are added up in
their order, whoever works on them and however many a batch holds: the bits of a result are those of
the blocking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from vbfast.backends.numba.blocking import LIMITS, MAX_BATCH_TILES, STEP_COST
from vbfast.backends.numba.forms import Rows, whole_fours
from vbfast.backends.numba.memory import empty_lines
from vbfast.backends.numba.threads import Task, run_tasks
from vbfast.contract import Blocking, Float64Array, FloatArray, NonFiniteRowError, RowBlock

__all__ = ["Batch", "Batches", "by_row"]


def by_row(lanes: FloatArray) -> FloatArray:
    """Return a copy of numbers in lanes, shape (n_tiles, n, tile_rows), one row after another."""
    return lanes.swapaxes(1, 2).reshape(-1, lanes.shape[1])


class Batch:
    """Memory of one thread for some tiles of rows, each array for as many."""

    def __init__(self, model: Any, n_tiles: int, tile_rows: int) -> None:
        dtype, of_rows = model.dtype, (n_tiles, tile_rows)
        lanes = n_tiles, whole_fours(model.n_features), tile_rows
        self.rows = Rows(*(empty_lines(shape, dtype) for shape in (lanes, lanes[1:], lanes[2:])))
        for array in self.rows:
            array.fill(0)
        # What the form is evaluated with: the rows, unless a model puts others here.
        self.evaluated: Any = self.rows
        if model.layout.whitened is not None:
            self.evaluated = self.rows._replace(lanes=empty_lines(lanes, dtype))
        self.start, self.n_rows = 0, 0  # the first row's index in the whole data, and how many
        # Log-joint, then responsibilities but for a factor.
        self.joint: FloatArray = empty_lines((n_tiles, model.n_components, tile_rows), dtype)
        # Each row's largest log-joint, and its first component that has it.
        self.row_max: FloatArray = empty_lines(of_rows, dtype)
        self.label = np.zeros(of_rows, np.int64)
        self.scale: FloatArray = empty_lines(of_rows, dtype)  # that factor, then times the weight
        # One, log evidence, expected log-joint, entropy and KL of each row.
        self.terms: Float64Array = np.zeros((5, *of_rows))
        self.terms[0] = 1.0

    def of_rows(self, lanes: Any) -> Any:
        """Return what is of this batch's rows in an array of shape (..., n_tiles, tile_rows)."""
        return lanes.reshape(*lanes.shape[:-2], -1)[..., : self.n_rows]


class Batches:
    """The batches of a pass, a few tiles each, for fewer calls from Python.

    Parameters
    ----------
    model : Model
    blocking : Blocking
    moments_cost : float
        Multiplications a row and component beside those of the log-joint.
    """

    def __init__(self, model: Any, blocking: Blocking, moments_cost: float = 0.0) -> None:
        self._model, self._tile_rows = model, blocking.tile_rows
        tile_bytes = self._tile_rows * blocking.dtype.itemsize * model.n_components
        fitting = min(MAX_BATCH_TILES, max(1, LIMITS.tile_bytes // 2 // tile_bytes))
        self._rows = fitting * self._tile_rows
        # Between two looks for signals.
        cost = model.layout.cost + moments_cost
        self._components = max(1, int(STEP_COST / (self._rows * cost)))
        self._memory: dict[tuple[int, int], Batch] = {}

    def run(self, visits: Sequence[Task], num_threads: int) -> None:
        """Run a task for every block, see :func:`run_tasks`, each in a partition of its own.

        Raises
        ------
        NonFiniteRowError
            For the first row of all that is not finite.
        """
        bad: list[int] = []

        def guarded(visit: Task, worker: int) -> Iterator[None]:
            try:
                with np.errstate(over="ignore", invalid="ignore"):
                    yield from visit(worker)
            except NonFiniteRowError as error:
                bad.append(error.row)

        run_tasks([partial(guarded, visit) for visit in visits], num_threads)
        if bad:
            raise NonFiniteRowError(min(bad))

    def of(self, block: RowBlock, worker: int) -> Iterator[tuple[Batch, slice]]:
        """Yield loaded batches, and which rows of the block they are."""
        for start in range(0, len(block.rows), self._rows):
            rows = slice(start, min(start + self._rows, len(block.rows)))
            memory = worker, -(-(rows.stop - start) // self._tile_rows)
            if memory not in self._memory:
                self._memory[memory] = Batch(self._model, memory[1], self._tile_rows)
            batch = self._memory[memory]
            batch.start, batch.n_rows = block.start + start, rows.stop - start
            bad = self._model.load(batch, block.rows[rows])
            if bad >= 0:
                raise NonFiniteRowError(batch.start + bad)
            yield batch, rows

    def each_step(self, work: Callable[[int, int], None]) -> Iterator[None]:
        """Do some work for all components, those from a first to a last at a time."""
        K = self._model.n_components
        for first in range(0, K, self._components):
            work(first, min(first + self._components, K))
            yield
