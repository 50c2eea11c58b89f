"""Passes over the rows: batches of tiles, partitions in parallel, outputs and sums.

A partition's tiles are added up in their order, whoever works on them and however many a batch
holds: the bits of a result are those of the blocking.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.backends.checks import check_blocks, check_outputs
from vbfast.backends.numba.batch import Batch
from vbfast.backends.numba.compiling import group_size
from vbfast.backends.numba.constants import (
    BLOCK_COMPONENTS,
    LIMITS,
    MAX_BATCH_TILES,
    NEGLIGIBLE_EXPONENT,
    STEP_COST,
    WAVE_TILES,
)
from vbfast.backends.numba.exponential import SMALLEST_EXPONENT
from vbfast.backends.numba.local_step import find_labels, general_rows, posterior_rows
from vbfast.backends.numba.models import Model
from vbfast.backends.numba.moments import Sums
from vbfast.backends.numba.summary_step import SummaryStep
from vbfast.backends.numba.threads import Task, run_tasks
from vbfast.contract import (
    Blocking,
    Float64Array,
    FloatArray,
    NonFiniteRowError,
    PassResult,
    Request,
    RowBlock,
    RowOutputs,
)

__all__ = ["NumbaPass"]


class NumbaPass:
    """A pass of the contract, over any model."""

    def __init__(
        self, model: Model, request: Request, blocking: Blocking, outputs: RowOutputs
    ) -> None:
        K, D = model.n_components, model.n_features
        check_outputs(outputs, blocking, K, D)
        self._model, self._request = model, request
        self._blocking, self._outputs = blocking, outputs
        self._summary = None if request.moments is None else SummaryStep(model, request)
        self._terms = [np.zeros(5) for _ in range(blocking.n_partitions)]
        self._sums: list[Sums | None] = [
            None if self._summary is None else self._summary.no_sums() for _ in self._terms
        ]
        self._set_sizes()
        self._batches: dict[int, Batch] = {}
        self._moment_memory: dict[int, Any] = {}

    def _set_sizes(self) -> None:
        """Fix the rows of a batch, and the components between two looks for signals."""
        blocking, K = self._blocking, self._model.n_components
        tile_bytes = blocking.tile_rows * blocking.dtype.itemsize * K
        fitting = min(MAX_BATCH_TILES, max(1, LIMITS.tile_bytes // 2 // tile_bytes))
        tiles = 1 if blocking.split_components else fitting
        longest = max(np.diff(blocking.bounds).tolist())
        self._batch_rows = min(tiles, -(-longest // blocking.tile_rows)) * blocking.tile_rows
        cost = self._model.cost + (0.0 if self._summary is None else self._summary.cost)
        self._step = _whole_blocks(STEP_COST / (self._batch_rows * cost))

    def run(self, blocks: Sequence[RowBlock], num_threads: int) -> None:
        """Process blocks of distinct partitions, in parallel."""
        model = self._model
        check_blocks(blocks, self._blocking, model.n_components, model.n_features, self._request)
        if self._blocking.split_components:
            for block in blocks:
                self._run_waves(block, num_threads)
            return
        bad: list[int] = []
        run_tasks([self._partition_task(block, bad) for block in blocks], num_threads)
        if bad:
            raise NonFiniteRowError(min(bad))

    def _batch(self, number: int) -> Batch:
        """Return the memory of a thread, or of a tile of a wave."""
        if number not in self._batches:
            n_groups = self._batch_rows // group_size(self._blocking.dtype)
            self._batches[number] = Batch(
                self._model.memory(n_groups),
                self._model.n_components,
                self._blocking.tile_rows,
                with_gradient=self._outputs.gradient is not None,
            )
        return self._batches[number]

    def _partition_task(self, block: RowBlock, bad: list[int]) -> Task:
        terms, sums = self._terms[block.partition], self._sums[block.partition]

        def task(worker: int) -> Iterator[None]:
            batch = self._batch(worker)
            for start in range(0, len(block.rows), self._batch_rows):
                row = yield from self._local_step(batch, block, start, terms)
                if row >= 0:
                    bad.append(row)
                    return
                everything = range(self._model.n_components)
                yield from self._summary_step(batch, worker, everything, sums)

        return task

    def _run_waves(self, block: RowBlock, num_threads: int) -> None:
        """Take waves of tiles of a block: threads share first the tiles, then the components.

        A component's tiles are added up in their order.
        """
        wave_rows = WAVE_TILES * self._batch_rows
        for wave in range(0, len(block.rows), wave_rows):
            starts = range(wave, min(wave + wave_rows, len(block.rows)), self._batch_rows)
            batches = [self._batch(number) for number in range(len(starts))]
            terms = [np.zeros(5) for _ in starts]
            bad: list[int] = []
            tiles = zip(starts, batches, terms, strict=True)
            run_tasks([self._tile_task(block, *tile, bad) for tile in tiles], num_threads)
            if bad:
                raise NonFiniteRowError(min(bad))
            for part in terms:
                self._terms[block.partition] += part
            sums = self._sums[block.partition]
            run_tasks(
                [self._components_task(batches, some, sums) for some in self._shares()],
                num_threads,
            )

    def _shares(self) -> list[range]:
        """Return the components of each task of a summary step."""
        K = self._model.n_components
        splits = self._summary is not None and self._summary.splits
        step = _whole_blocks(K / WAVE_TILES) if splits else K
        return [range(first, min(first + step, K)) for first in range(0, K, step)]

    def _tile_task(
        self, block: RowBlock, start: int, batch: Batch, terms: Float64Array, bad: list[int]
    ) -> Task:
        def task(worker: int) -> Iterator[None]:  # noqa: ARG001
            row = yield from self._local_step(batch, block, start, terms)
            if row >= 0:
                bad.append(row)

        return task

    def _components_task(
        self, batches: Sequence[Batch], components: range, sums: Sums | None
    ) -> Task:
        def task(worker: int) -> Iterator[None]:
            for batch in batches:
                yield from self._summary_step(batch, worker, components, sums)

        return task

    def _local_step(
        self, batch: Batch, block: RowBlock, start: int, terms: Float64Array
    ) -> Generator[None, None, int]:
        """Fill a batch from row ``start`` of a block; returns a row that is not finite, or -1."""
        batch.take(block.start + start, min(self._batch_rows, len(block.rows) - start))
        rows = slice(start, start + batch.n_rows)
        row = self._model.load(batch, block.rows[rows])
        if row >= 0:
            return batch.start + row
        for first, last in self._steps(range(self._model.n_components)):
            self._model.fill(batch, first, last)
            yield
        self._assign(batch, block, rows, terms)
        yield
        if self._outputs.gradient is not None:
            for first, last in self._steps(range(self._model.n_components)):
                self._model.add_gradient(batch, first, last)
                yield
            self._model.write_gradient(batch, self._outputs.gradient[batch.whole])
        return -1

    def _summary_step(
        self, batch: Batch, worker: int, components: range, sums: Sums | None
    ) -> Iterator[None]:
        if self._summary is None or sums is None:
            return
        if worker not in self._moment_memory:
            n_groups = self._batch_rows // group_size(self._blocking.dtype)
            self._moment_memory[worker] = self._summary.memory(n_groups)
        for first, last in self._steps(components):
            self._summary.add(batch, self._moment_memory[worker], first, last, sums)
            yield

    def _steps(self, components: range) -> Iterator[tuple[int, int]]:
        for first in range(components.start, components.stop, self._step):
            yield first, min(first + self._step, components.stop)

    def _assign(self, batch: Batch, block: RowBlock, rows: slice, terms: Float64Array) -> None:
        """Turn the log-joint into responsibilities, and fill the outputs."""
        request, outputs, dtype = self._request, self._outputs, self._blocking.dtype
        K, at = self._model.n_components, batch.whole
        resp = np.empty((0, K), dtype) if outputs.resp is None else outputs.resp[at]
        log_evidence, entropy, expected = (
            np.empty(0, dtype) if output is None else output[at]
            for output in (outputs.log_evidence, outputs.entropy, outputs.expected_log_joint)
        )
        filled = (log_evidence, resp, entropy, expected, terms)
        weights = np.empty(0) if block.weights is None else _writeable(block.weights[rows])
        if outputs.log_joint is not None:
            by_row = batch.joint.swapaxes(1, 2).reshape(-1, K)
            outputs.log_joint[at] = by_row[: batch.n_rows]
        self._assign_labels(batch, block.rows[rows])
        of_rows = (batch.joint, batch.row_max, batch.scale, weights)
        if request.assignment == "posterior":
            smallest = SMALLEST_EXPONENT[dtype] if len(resp) > 0 else NEGLIGIBLE_EXPONENT
            wanted = request.entropy or len(entropy) > 0 or len(expected) > 0
            posterior_rows(
                *of_rows,
                batch.n_rows,
                batch.tile_rows,
                dtype.type(smallest),
                wanted,
                *filled,
                batch.lowest,
            )
            return
        given = np.empty((0, K), dtype)
        if block.resp is not None and block.resp.ndim == 2:
            given = _writeable(block.resp[rows])
        elif block.resp is not None:
            batch.label[:] = block.resp[rows]
        wanted = request.entropy or len(log_evidence) > 0
        general_rows(*of_rows, given, batch.label, batch.n_rows, batch.tile_rows, wanted, *filled)

    def _assign_labels(self, batch: Batch, rows: FloatArray) -> None:
        """Find what rows are most likely of, also of those whose maximum stays ``-inf``."""
        wanted = self._outputs.labels is not None
        if wanted or self._request.assignment == "hard":
            find_labels(batch.joint, batch.row_max, batch.n_rows, batch.label)
        overflowed = np.flatnonzero(batch.row_max.ravel()[: batch.n_rows] == -np.inf)
        if len(overflowed) > 0 and (wanted or self._request.assignment != "given"):
            self._assign_overflowed(batch, rows, overflowed)
        if self._outputs.labels is not None:
            self._outputs.labels[batch.whole] = batch.label

    def _assign_overflowed(
        self, batch: Batch, rows: FloatArray, overflowed: npt.NDArray[np.intp]
    ) -> None:
        """Put what is left of the log-joint into rows whose maximum stays ``-inf``."""
        q = self._model.overflowed_posterior(rows[overflowed])
        if q is None:
            return
        with np.errstate(divide="ignore"):
            joint = np.log(q)
        group = batch.joint.shape[2]
        batch.joint[overflowed // group, :, overflowed % group] = joint
        batch.label[overflowed] = np.argmax(q, axis=1)

    def finish(self) -> PassResult:
        """Add the partitions up in their order."""
        request, nan = self._request, float("nan")
        weight, log_evidence, expected, entropy, kl = _merged(self._terms).tolist()
        statistics = None
        if self._summary is not None:
            parts = zip(*(sums for sums in self._sums if sums is not None), strict=True)
            statistics = self._summary.statistics(Sums(*(_merged(part) for part in parts)))
        posterior = request.assignment == "posterior"
        lowest = [float(batch.lowest[0]) for batch in self._batches.values()]
        return PassResult(
            total_weight=weight,
            log_evidence=log_evidence if posterior or request.entropy else nan,
            expected_log_joint=nan if posterior and not request.entropy else expected,
            entropy=entropy if request.entropy else nan,
            kl=kl if request.entropy else nan,
            statistics=statistics,
            lowest_log_evidence=min(lowest, default=float("inf")) if posterior else nan,
            dtype=self._blocking.dtype,
        )


def _merged(partitions: Sequence[Float64Array]) -> Float64Array:
    total = partitions[0]
    for partition in partitions[1:]:
        total += partition
    return total


def _whole_blocks(n_components: float) -> int:
    """Round a number of components down to whole blocks of the moments, at least one."""
    return max(1, int(n_components) // BLOCK_COMPONENTS) * BLOCK_COMPONENTS


def _writeable(array: Any) -> Any:
    """Return the array, or a copy: what must not be written to is a type of its own to numba."""
    return array if array.flags.writeable else array.copy()
