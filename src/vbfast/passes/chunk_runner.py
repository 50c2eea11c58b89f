"""Passes over rows that come in chunks: each chunk is summed up, and the sums are merged.

Small chunks are computed in groups, as if a group were one. The sums of groups are added up in the
fixed tree of :func:`vbfast.merge`, so that bits depend on the rows and on where chunks begin, and
not on who computes them, nor when.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from vbfast.contract import (
    Components,
    Float64Array,
    FloatArray,
    LogJoint,
    PassResult,
    Request,
    RowOutputs,
    merge,
)
from vbfast.passes.array_rows import ArrayRows, DoubleRows
from vbfast.passes.base_runner import BaseRunner
from vbfast.passes.groups import GroupedRows
from vbfast.passes.responsibilities import RespSource, as_resp_source
from vbfast.passes.row_search import Renewed, Searched
from vbfast.passes.runner import LocalRunner
from vbfast.passes.tasks import Filled, Largest, RowsRunner, Seeding, Sums
from vbfast.passes.truncation import memory_of_kept

__all__ = ["ChunkRunner"]

# Up to here all rows are copied for many passes over them. A sample of them seldom takes more.
COPIED_BYTES = 1 << 30

T = TypeVar("T")


class ChunkRunner(BaseRunner):
    """Base class of runners over groups of chunks.

    A subclass says how a task is asked of every group.

    Parameters
    ----------
    source : GroupedRows
    sample_weight : ndarray of shape (n_samples,), float64, optional
        From :func:`vbfast.inputs.weights.as_sample_weight`.
    backend : str, optional
        By default the one in use when the runner is made.
    as_float64 : bool, optional
        Whether rows are computed in float64, whatever their dtype is.
    """

    def __init__(
        self,
        source: GroupedRows,
        sample_weight: Float64Array | None = None,
        *,
        backend: str | None = None,
        as_float64: bool = False,
    ) -> None:
        super().__init__(source, sample_weight, backend=backend)
        self._grouped = source
        self._as_float64 = as_float64 and source.dtype != np.float64
        if self._as_float64:
            self.source = DoubleRows(source)
        starts = source.group_starts
        self._slices = [slice(start, stop) for start, stop in pairwise(starts)]

    @abstractmethod
    def _map(self, task: Callable[..., T], *arguments: Sequence[Any]) -> Iterator[T]:
        """Yield what a task returns for each group, in their order.

        Parameters
        ----------
        task : callable
            Of a runner over the rows of a group, and of one of each of ``arguments``. A runner
            names a row by its place among all.
        *arguments : sequences
            Of as many as there are groups.
        """

    def _sum(self, task: Callable[..., PassResult], *arguments: Sequence[Any]) -> PassResult:
        return merge(self._map(task, *arguments))

    def renew(
        self, task: Callable[[LocalRunner, Any], Renewed], kept: Sequence[Any]
    ) -> tuple[Searched, list[Any]]:
        """Return the sums of a truncated pass over all rows, and what each group keeps then.

        Parameters
        ----------
        task : callable
            Of a runner over the rows of a group, and of what these keep.
        kept : sequence
            What each group keeps, as this method or :meth:`first_kept` returned it: to be handed
            back and asked of, by :meth:`of_kept`, and nothing else.
        """
        renewed = []

        def searched() -> Iterator[Searched]:
            for group in self._map(task, kept):
                renewed.append(group.kept)
                yield group.searched

        return merge(searched()), renewed

    def first_kept(self, n_kept: int, path: str | os.PathLike[str] | None) -> list[Any]:
        """Return what groups keep before their first search, in a file if one is wanted."""
        return self.split(memory_of_kept((self.n_samples, n_kept), path))

    def of_kept(self, question: Callable[[Components], T], kept: Sequence[Any]) -> list[T]:
        """Return what a function says of what each group keeps."""
        return [question(own) for own in kept]

    def split(self, rows: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Return the parts of an array of all rows that are of each group."""
        return [rows[group] for group in self._slices]

    def _same(self, sample_weight: Float64Array | None, *, as_float64: bool) -> BaseRunner:
        """Return a runner over the same rows."""
        return type(self)(
            self._grouped, sample_weight, backend=self._backend.name, as_float64=as_float64
        )

    def weighted(self, sample_weight: Float64Array | None) -> BaseRunner:
        """Return a runner over the same rows with other weights."""
        return self._same(sample_weight, as_float64=self._as_float64)

    def in_float64(self) -> BaseRunner:
        """Return a runner over the same rows that computes in float64."""
        if self.dtype == np.float64:
            return self
        return self._same(self.sample_weight, as_float64=True)

    def in_memory(self) -> BaseRunner:
        """Return a runner over copies of all rows in this process, unless they are many."""
        if self.n_samples * self.n_features * self.dtype.itemsize > COPIED_BYTES:
            return self
        rows = self.source.block(0, self.n_samples)
        return LocalRunner(ArrayRows(rows), self.sample_weight, backend=self._backend.name)

    def only(self, indices: npt.NDArray[np.intp]) -> LocalRunner:
        """Return a runner over copies of some rows, each of weight one."""
        return LocalRunner(ArrayRows(self._take(indices)), backend=self._backend.name)

    def run(
        self,
        log_joint: LogJoint,
        request: Request,
        *,
        resp: Any = None,
        outputs: RowOutputs | None = None,
        bounds: Any = None,  # noqa: ARG002
    ) -> PassResult:
        """Visit every row once, see :func:`vbfast.passes.one_pass.run_pass`."""
        given: list[Sequence[Any]] = []
        if resp is not None:
            source = as_resp_source(
                resp,
                self.n_samples,
                log_joint.n_components,
                self.dtype,
                sample_weight=self.sample_weight,
            )
            given = [[self._resp_of(source, rows) for rows in self._slices]]
        arrays = {} if outputs is None else _wanted(outputs)
        if not arrays:
            return self._sum(Sums(log_joint, request), *given)
        task = Filled(log_joint, request, tuple(arrays))
        return merge(
            _written(result, arrays, rows)
            for rows, result in zip(self._slices, self._map(task, *given), strict=True)
        )

    def _resp_of(self, resp: RespSource, rows: slice) -> RespSource:
        """Return the responsibilities of a group."""
        return RespPart(resp, rows.start)

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
        task = Seeding(candidates, keep=lowered is not None)
        seeded = self._map(task, self.split(closest))

        def potentials() -> Iterator[Float64Array]:
            for rows, (potential, lower) in zip(self._slices, seeded, strict=True):
                if lowered is not None:
                    lowered[:, rows] = lower
                yield potential

        return merge(potentials())

    def largest_row(self) -> int:
        """Return the first row of positive weight that has the largest number in it."""
        found = list(self._map(Largest()))
        return max(found, key=lambda pair: (pair[0], -pair[1]))[1]

    def parts(self, n_rows: int) -> Iterator[tuple[slice, LocalRunner]]:
        """Yield runners over consecutive rows of one group, in this process.

        Parameters
        ----------
        n_rows : int
            The most rows of a part.

        Yields
        ------
        rows : slice
        runner : LocalRunner
            Its errors name a row by its place among all.
        """
        for group, rows in zip(self._slices, self._map(_rows_of), strict=True):
            weight = None if self.sample_weight is None else self.sample_weight[group]
            whole = LocalRunner(
                ArrayRows(rows), weight, backend=self._backend.name, first_row=group.start
            )
            for part, runner in whole.parts(n_rows):
                yield slice(group.start + part.start, group.start + part.stop), runner


class RespPart(RespSource):
    """The responsibilities of the rows from one on."""

    def __init__(self, resp: RespSource, first_row: int) -> None:
        self._resp = resp
        self._first_row = first_row
        self.in_memory = resp.in_memory

    def block(self, start: int, stop: int) -> FloatArray | npt.NDArray[np.int64]:
        """Return the responsibilities of the rows ``start`` to ``stop`` of the part."""
        return self._resp.block(self._first_row + start, self._first_row + stop)


def _wanted(outputs: RowOutputs) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays that are to be filled, by name."""
    named = {field.name: getattr(outputs, field.name) for field in fields(outputs)}
    return {name: array for name, array in named.items() if array is not None}


def _written(
    result: tuple[PassResult, dict[str, npt.NDArray[Any]]],
    arrays: dict[str, npt.NDArray[Any]],
    rows: slice,
) -> PassResult:
    """Write what was filled for a group to where it belongs, and return the sums."""
    sums, filled = result
    for name, values in filled.items():
        arrays[name][rows] = values
    return sums


def _rows_of(runner: RowsRunner) -> FloatArray:
    """Return the rows of a group, as one array."""
    return runner.source.block(0, runner.n_samples)
