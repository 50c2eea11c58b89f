"""Truncated passes over rows that come in chunks, each of which keeps what its rows do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.contract import (
    Cells,
    Components,
    Float64Array,
    FloatArray,
    LogJoint,
    PassResult,
    Request,
    RowOutputs,
    Search,
)
from vbfast.passes.base_runner import BaseRunner
from vbfast.passes.chunk_runner import ChunkRunner
from vbfast.passes.row_search import BestOfRows, FirstSearch, RowsSearch, Searched
from vbfast.passes.runner import LocalRunner
from vbfast.passes.searching import RowNumbers, Searching, rows_of_best
from vbfast.passes.tasks import RowsRunner
from vbfast.passes.truncation import Truncation

__all__ = ["TruncatedChunkRunner"]


class TruncatedChunkRunner(Searching):
    """Runs passes of iterations with truncated posteriors over the groups of another runner.

    Each group of chunks is searched by itself, and what it sums and teaches is merged with that of
    the others in the fixed tree of :func:`vbfast.merge`. What its rows keep stays where the other
    runner has it. All other passes are that one's.

    Parameters
    ----------
    chunks : ChunkRunner
    truncation : Truncation

    Raises
    ------
    NotImplementedError
        If the backend has no truncated passes.
    """

    def __init__(self, chunks: ChunkRunner, truncation: Truncation) -> None:
        super().__init__(chunks.source, chunks.sample_weight, backend=chunks.backend_name)
        self._chunks = chunks
        self._go_by(truncation)

    def _forget(self) -> None:
        self._kept: list[Any] | None = None
        self._n_found = 0

    def _copied(self) -> Components | None:
        if self._kept is None:
            return None
        return np.concatenate(self._chunks.of_kept(np.copy, self._kept))

    def _take_over(self, kept: Components) -> None:
        self._kept, self._n_found = list(self._chunks.split(kept)), kept.shape[1]

    def _width(self) -> int:
        return self._n_found

    def _find_first(
        self, log_joint: LogJoint, n_kept: int, some: Components, cells: Cells | None
    ) -> None:
        kept = self._chunks.first_kept(n_kept, self.truncation.state)
        _, self._kept = self._chunks.renew(FirstSearch(log_joint, n_kept, some, cells), kept)
        self._n_found = n_kept

    def _search(
        self,
        log_joint: LogJoint,
        request: Request,
        search: Search,
        about: Float64Array | None = None,
    ) -> Searched:
        assert self._kept is not None
        task = RowsSearch(log_joint, request, search, about)
        searched, self._kept = self._chunks.renew(task, self._kept)
        return searched

    def _rows_of(self, components: npt.NDArray[np.intp]) -> tuple[RowNumbers, Components]:
        assert self._kept is not None
        found = self._chunks.of_kept(partial(rows_of_best, np.unique(components)), self._kept)
        numbers = self._chunks.split(np.arange(self.n_samples))
        rows = [of[places] for of, (places, _) in zip(numbers, found, strict=True)]
        return np.concatenate(rows), np.concatenate([best for _, best in found])

    def best_components(self, log_joint: LogJoint) -> tuple[npt.NDArray[Any], FloatArray]:
        """Return the best component that each row keeps, -1 for none, and its log-evidence."""
        if self._kept is None:
            return self._chunks.best_components(log_joint)
        self.n_passes += 1
        best, log_evidence = zip(*self._chunks._map(BestOfRows(log_joint), self._kept), strict=True)
        return np.concatenate(best), np.concatenate(log_evidence)

    def weighted(self, sample_weight: Float64Array | None) -> BaseRunner:
        """Return a runner of whole posteriors over the same rows with other weights."""
        return self._chunks.weighted(sample_weight)

    def in_float64(self) -> BaseRunner:
        """Return a runner of whole posteriors over the same rows that computes in float64."""
        return self._chunks.in_float64()

    def in_memory(self) -> BaseRunner:
        """Return a runner of whole posteriors over the same rows, for many passes."""
        return self._chunks.in_memory()

    def only(self, indices: npt.NDArray[np.intp]) -> LocalRunner:
        """Return a runner over copies of some rows, each of weight one."""
        return self._chunks.only(indices)

    def run(
        self,
        log_joint: LogJoint,
        request: Request,
        *,
        resp: Any = None,
        outputs: RowOutputs | None = None,
        bounds: Any = None,
    ) -> PassResult:
        """Visit every row once, see :func:`vbfast.passes.one_pass.run_pass`."""
        return self._chunks.run(log_joint, request, resp=resp, outputs=outputs, bounds=bounds)

    def _sum(self, task: Callable[[RowsRunner], PassResult]) -> PassResult:
        return self._chunks._sum(task)

    def nearest_bounds(self) -> None:
        """Return None: no bounds are kept for the rows of chunks."""

    def seed(
        self,
        candidates: Float64Array,
        closest: FloatArray,
        *,
        lowered: FloatArray | None = None,
    ) -> Float64Array:
        """Weigh candidates for a centre, see :func:`vbfast.passes.one_pass.run_seeding`."""
        return self._chunks.seed(candidates, closest, lowered=lowered)

    def largest_row(self) -> int:
        """Return the first row of positive weight that has the largest number in it."""
        return self._chunks.largest_row()

    def parts(self, n_rows: int) -> Iterator[tuple[slice, LocalRunner]]:
        """Yield runners over consecutive rows, see :meth:`ChunkRunner.parts`."""
        return self._chunks.parts(n_rows)
