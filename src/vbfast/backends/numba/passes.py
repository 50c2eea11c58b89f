"""Passes over the rows: batches of tiles, partitions in parallel, outputs and sums.

A partition's tiles are added up in their order, whoever works on them and however many a batch
holds: the bits of a result are those of the blocking.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.backends.numba.batch import Batch, Model
from vbfast.backends.numba.blocking import LIMITS
from vbfast.backends.numba.compiling import STEP_COST
from vbfast.backends.numba.exponential import SMALLEST_EXPONENT
from vbfast.backends.numba.gradient import RowGradient
from vbfast.backends.numba.local_step import (
    NEGLIGIBLE_EXPONENT,
    find_labels,
    general_rows,
    posterior_rows,
)
from vbfast.backends.numba.moments import BLOCK_COMPONENTS
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

# Small tiles are worked on several at a time, for fewer calls from Python.
MAX_BATCH_TILES = 64

# Tiles whose local step precedes a summary step that threads share by components.
WAVE_TILES = 16


class NumbaPass:
    """A pass of the contract, over any model.

    Parameters
    ----------
    model : Model
    gradient : RowGradient or None
        Of the model, where the output is wanted.
    request : Request
    blocking : Blocking
    outputs : RowOutputs
    """

    def __init__(
        self,
        model: Model,
        gradient: RowGradient | None,
        request: Request,
        blocking: Blocking,
        outputs: RowOutputs,
    ) -> None:
        self._model = model
        self._gradient = gradient
        self._request = request
        self._blocking = blocking
        self._outputs = outputs
        self._terms = np.zeros((blocking.n_partitions, 5))
        self._sums = np.zeros((blocking.n_partitions, model.n_components, model.n_moments))
        self._pooled = np.zeros((blocking.n_partitions, model.n_pooled))
        tile_bytes = blocking.tile_rows * blocking.dtype.itemsize * model.n_components
        fitting = min(MAX_BATCH_TILES, max(1, LIMITS.tile_bytes // 2 // tile_bytes))
        tiles = 1 if blocking.split_components else fitting
        longest = max(np.diff(blocking.bounds).tolist())
        self._batch_rows = min(tiles, -(-longest // blocking.tile_rows)) * blocking.tile_rows
        self._step = _whole_blocks(STEP_COST / (self._batch_rows * model.cost))
        self._batches: dict[int, Batch] = {}
        self._moment_memory: dict[int, Any] = {}

    def run(self, blocks: Sequence[RowBlock], num_threads: int) -> None:
        """Process blocks of distinct partitions, in parallel."""
        if self._request.assignment == "given" and any(block.resp is None for block in blocks):
            raise ValueError("a 'given' pass needs RowBlock.resp")
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
            blocking = self._blocking
            self._batches[number] = Batch(
                self._model, self._gradient, blocking.dtype, self._batch_rows, blocking.tile_rows
            )
        return self._batches[number]

    def _partition_task(self, block: RowBlock, bad: list[int]) -> Task:
        terms, sums, pooled = self._partition(block)

        def task(worker: int) -> Iterator[None]:
            batch = self._batch(worker)
            for start in range(0, len(block.rows), self._batch_rows):
                row = yield from self._local_step(batch, block, start, terms)
                if row >= 0:
                    bad.append(row)
                    return
                everything = range(self._model.n_components)
                yield from self._summary_step(batch, worker, everything, sums, pooled)

        return task

    def _run_waves(self, block: RowBlock, num_threads: int) -> None:
        """Take waves of tiles of a block: threads share first the tiles, then the components.

        A component's tiles are added up in their order.
        """
        terms, sums, pooled = self._partition(block)
        wave_rows = WAVE_TILES * self._batch_rows
        components = self._component_ranges()
        for wave in range(0, len(block.rows), wave_rows):
            starts = range(wave, min(wave + wave_rows, len(block.rows)), self._batch_rows)
            batches = [self._batch(number) for number in range(len(starts))]
            tile_terms = np.zeros((len(starts), 5))
            bad: list[int] = []
            run_tasks(
                [
                    self._tile_task(block, *tile, bad)
                    for tile in zip(starts, batches, tile_terms, strict=True)
                ],
                num_threads,
            )
            if bad:
                raise NonFiniteRowError(min(bad))
            for part in tile_terms:
                terms += part
            run_tasks(
                [self._components_task(batches, some, sums, pooled) for some in components],
                num_threads,
            )

    def _component_ranges(self) -> list[range]:
        # Moments that all components share stay with one task.
        K = self._model.n_components
        step = K if self._model.n_pooled else _whole_blocks(K / WAVE_TILES)
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
        self,
        batches: Sequence[Batch],
        components: range,
        sums: Float64Array,
        pooled: Float64Array,
    ) -> Task:
        def task(worker: int) -> Iterator[None]:
            for batch in batches:
                yield from self._summary_step(batch, worker, components, sums, pooled)

        return task

    def _partition(self, block: RowBlock) -> tuple[Float64Array, Float64Array, Float64Array]:
        p = block.partition
        return self._terms[p], self._sums[p], self._pooled[p]

    def _local_step(
        self, batch: Batch, block: RowBlock, start: int, terms: Float64Array
    ) -> Generator[None, None, int]:
        """Fill a batch from row ``start`` of a block; returns a row that is not finite, or -1."""
        batch.take(block.start + start, min(self._batch_rows, len(block.rows) - start))
        rows = slice(start, start + batch.n_rows)
        row = self._model.load(batch, block.rows[rows])
        if row >= 0:
            return block.start + start + row
        for first in range(0, self._model.n_components, self._step):
            last = min(first + self._step, self._model.n_components)
            self._model.log_joint(batch, first, last)
            yield
        self._assign(batch, block, rows, terms)
        yield
        if self._gradient is not None and self._outputs.gradient is not None:
            out = self._outputs.gradient[block.start + rows.start : block.start + rows.stop]
            yield from self._gradient.fill(batch, batch.gradient_memory, self._step, out)
        return -1

    def _assign(self, batch: Batch, block: RowBlock, rows: slice, terms: Float64Array) -> None:
        """Turn the log-joint into responsibilities, and fill the outputs."""
        request, outputs, dtype = self._request, self._outputs, self._blocking.dtype
        at = slice(block.start + rows.start, block.start + rows.stop)
        none = np.empty(0, dtype)
        log_evidence, entropy, expected = (
            none if output is None else output[at]
            for output in (outputs.log_evidence, outputs.entropy, outputs.expected_log_joint)
        )
        resp = np.empty((0, batch.joint.shape[1]), dtype) if outputs.resp is None else outputs.resp
        filled = (log_evidence, resp[at], entropy, expected, terms)
        weights = np.empty(0) if block.weights is None else _writeable(block.weights[rows])
        if outputs.labels is not None or request.assignment == "hard":
            find_labels(batch.joint, batch.row_max, batch.n_rows, batch.label)
            if outputs.labels is not None:
                outputs.labels[at] = batch.label
        if outputs.log_joint is not None:
            by_row = batch.joint.swapaxes(1, 2).reshape(-1, batch.joint.shape[1])
            outputs.log_joint[at] = by_row[: batch.n_rows]
        overflowed = np.flatnonzero(batch.row_max.ravel()[: batch.n_rows] == -np.inf)
        wanted = request.assignment != "given" or outputs.labels is not None
        if len(overflowed) > 0 and wanted:
            self._assign_overflowed(batch, block.rows[rows], overflowed)
            if outputs.labels is not None:
                outputs.labels[at] = batch.label
        if request.assignment == "posterior":
            smallest = SMALLEST_EXPONENT[dtype]
            posterior_rows(
                batch.joint,
                batch.row_max,
                batch.scale,
                weights,
                batch.n_rows,
                batch.tile_rows,
                dtype.type(NEGLIGIBLE_EXPONENT if outputs.resp is None else smallest),
                request.entropy
                or outputs.entropy is not None
                or outputs.expected_log_joint is not None,
                *filled,
                batch.lowest,
            )
            return
        given = np.empty((0, batch.joint.shape[1]), dtype)
        if block.resp is not None and block.resp.ndim == 2:
            given = _writeable(block.resp[rows])
        elif block.resp is not None:
            batch.label[:] = block.resp[rows]
        batch.by_label = len(given) == 0
        general_rows(
            batch.joint,
            batch.row_max,
            batch.scale,
            weights,
            given,
            batch.label,
            batch.n_rows,
            batch.tile_rows,
            request.entropy or outputs.log_evidence is not None,
            *filled,
        )

    def _assign_overflowed(
        self, batch: Batch, rows: FloatArray, overflowed: npt.NDArray[np.intp]
    ) -> None:
        """Put what is left of the log-joint into rows whose maximum stays ``-inf``."""
        q = self._model.overflowed_posterior(rows[overflowed])
        if q is None:
            return
        with np.errstate(divide="ignore"):
            joint = np.log(q).astype(batch.joint.dtype)
        group = batch.joint.shape[2]
        batch.joint[overflowed // group, :, overflowed % group] = joint
        batch.label[overflowed] = np.argmax(q, axis=1)

    def _summary_step(
        self,
        batch: Batch,
        worker: int,
        components: range,
        sums: Float64Array,
        pooled: Float64Array,
    ) -> Iterator[None]:
        if self._request.moments is None:
            return
        if worker not in self._moment_memory:
            self._moment_memory[worker] = self._model.moment_memory(batch.capacity)
        memory = self._moment_memory[worker]
        for first in range(components.start, components.stop, self._step):
            last = min(first + self._step, components.stop)
            self._model.add_moments(batch, memory, first, last, sums, pooled)
            yield

    def finish(self) -> PassResult:
        """Add the partitions up in their order."""
        request = self._request
        weight, log_evidence, expected, entropy, kl = _merged(self._terms).tolist()
        statistics = None
        if request.moments is not None:
            statistics = self._model.statistics(_merged(self._sums), _merged(self._pooled))
        nan = float("nan")
        posterior = request.assignment == "posterior"
        return PassResult(
            total_weight=weight,
            log_evidence=log_evidence if posterior or request.entropy else nan,
            expected_log_joint=nan if posterior and not request.entropy else expected,
            entropy=entropy if request.entropy else nan,
            kl=kl if request.entropy else nan,
            statistics=statistics,
            lowest_log_evidence=self._lowest_log_evidence() if posterior else nan,
            dtype=self._blocking.dtype,
        )

    def _lowest_log_evidence(self) -> float:
        lowest = [float(batch.lowest[0]) for batch in self._batches.values()]
        return min(lowest, default=float("inf"))


def _merged(partitions: Float64Array) -> Float64Array:
    total: Float64Array = partitions[0]
    for partition in partitions[1:]:
        total += partition
    return total


def _whole_blocks(n_components: float) -> int:
    """Round a number of components down to whole blocks of the dense moments, at least one."""
    return max(1, int(n_components) // BLOCK_COMPONENTS) * BLOCK_COMPONENTS


def _writeable(array: Any) -> Any:
    """Return the array, or a copy: what must not be written to is a type of its own to numba."""
    return array if array.flags.writeable else array.copy()
