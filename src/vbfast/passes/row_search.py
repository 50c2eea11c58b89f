"""Truncated passes over the rows of one runner of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.contract import (
    Cells,
    Components,
    Float64Array,
    FloatArray,
    Linear,
    LogJoint,
    NearnessSums,
    PassResult,
    Request,
    Search,
)
from vbfast.inputs.weights import of_unit_scale
from vbfast.passes.array_rows import ArrayRows
from vbfast.passes.runner import LocalRunner
from vbfast.passes.truncation import memory_of_kept

__all__ = [
    "BestOfRows",
    "FirstSearch",
    "Renewed",
    "RowsSearch",
    "Searched",
    "chunks_of",
    "find_first",
    "search_rows",
    "visit_centres",
]

# Bytes of rows that are searched together, and as many of what is noted of them.
CHUNK_BYTES = 64 << 20


@dataclass(frozen=True, eq=False)
class Searched:
    """What a truncated pass sums: it is added to that of other rows.

    Attributes
    ----------
    sums : PassResult
    nearness : NearnessSums or None
        What the rows have taught of neighbours, where they were to teach any.
    """

    sums: PassResult
    nearness: NearnessSums | None

    def __add__(self, other: Searched) -> Searched:
        """Return the sums over the rows of both."""
        nearness = self.nearness
        if nearness is not None and other.nearness is not None:
            nearness = nearness + other.nearness
        return Searched(self.sums + other.sums, nearness)


@dataclass(frozen=True, eq=False)
class Renewed:
    """What a truncated pass over some rows sums, and what these keep after it.

    Attributes
    ----------
    searched : Searched
    kept : ndarray of shape (n_rows, n_kept), int32
    """

    searched: Searched
    kept: Components


@dataclass(frozen=True)
class RowsSearch:
    """A truncated pass, asked of the rows of a group and of what they keep."""

    log_joint: LogJoint
    request: Request
    search: Search
    about: Float64Array | None

    def __call__(self, runner: LocalRunner, kept: Components) -> Renewed:
        """Make it."""
        searched = search_rows(
            runner, self.log_joint, self.request, self.search, kept, about=self.about
        )
        return Renewed(searched, kept)


@dataclass(frozen=True)
class BestOfRows:
    """The best component that each row of a group keeps, and its evidence over all it keeps."""

    log_joint: LogJoint

    def __call__(
        self, runner: LocalRunner, kept: Components
    ) -> tuple[npt.NDArray[Any], FloatArray]:
        """Return them."""
        kept = kept.copy()
        log_evidence = np.empty(runner.n_samples, runner.dtype)
        search, outputs = Search(kept.shape[1]), (log_evidence, None)
        search_rows(runner, self.log_joint, Request(), search, kept, outputs=outputs)
        return kept[:, 0], log_evidence


@dataclass(frozen=True)
class FirstSearch:
    """The first search of the rows of a group, see :func:`find_first`."""

    log_joint: LogJoint
    n_kept: int
    some: Components
    cells: Cells | None

    def __call__(self, runner: LocalRunner, kept: Components | None) -> Renewed:
        """Make it, in new memory if there is none."""
        if kept is None:
            kept = memory_of_kept((runner.n_samples, self.n_kept))
        return Renewed(find_first(runner, self.log_joint, self.some, self.cells, kept), kept)


def search_rows(
    runner: LocalRunner,
    log_joint: LogJoint,
    request: Request,
    search: Search,
    kept: Components,
    *,
    about: Float64Array | None = None,
    outputs: tuple[FloatArray | None, FloatArray | None] = (None, None),
) -> Searched:
    """Visit every row once.

    Parameters
    ----------
    runner : LocalRunner
        Its first row's place among all counts for the components that are drawn.
    log_joint : LogJoint
    request : Request
        Of a 'posterior' or 'hard' pass.
    search : Search
    kept : ndarray of shape (n_samples, n_kept), int32, C order
        What rows keep. It is renewed.
    about : ndarray of shape (n_components, n_features), optional
        What moments are taken about, in place of the centres.
    outputs : pair of arrays or None
        To be filled with the evidence over what rows keep, and their responsibilities.
    """
    weights, exponent = of_unit_scale(runner.sample_weight)
    running = runner.begin_truncated(log_joint, request, search, about=about)
    for rows in chunks_of(runner, kept.shape[1]):
        log_evidence, resp = (None if array is None else array[rows] for array in outputs)
        running.run(
            runner.first_row + rows.start,
            runner.source.block(rows.start, rows.stop),
            None if weights is None else weights[rows],
            kept[rows],
            log_evidence=log_evidence,
            resp=resp,
        )
    sums = running.finish()
    if exponent != 0:
        half = exponent // 2  # in two steps, each of which is a number
        sums = sums * 2.0**half * 2.0 ** (exponent - half)
    return Searched(sums, running.learned() if search.learn else None)


def find_first(
    runner: LocalRunner,
    log_joint: LogJoint,
    some: Components,
    cells: Cells | None,
    kept: Components,
) -> Searched:
    """Let rows look among some components, then in the cells around those that they have found.

    Rows that have found no component that is possible for them try every one.

    Parameters
    ----------
    runner : LocalRunner
    log_joint : LogJoint
    some : ndarray of shape (n_some,), int32
    cells : Cells or None
        Of :func:`vbfast.passes.first_neighbors.cells_around`.
    kept : ndarray of shape (n_samples, n_kept), int32, C order
        Of no components. It is renewed.
    """
    searched = search_rows(
        runner, log_joint, Request(), Search(kept.shape[1], candidates=some), kept
    )
    if cells is None:
        return searched
    searched = search_rows(runner, log_joint, Request(), Search(kept.shape[1], cells=cells), kept)
    every = np.arange(log_joint.n_components, dtype=np.int32)
    search = Search(kept.shape[1], candidates=every)
    lost = np.flatnonzero(kept[:, 0] < 0)
    for part in chunks_of(runner, kept.shape[1], len(lost)):
        own = kept[lost[part]]
        search_rows(runner.only(lost[part]), log_joint, Request(), search, own)
        kept[lost[part]] = own
    return searched


def visit_centres(
    log_joint: LogJoint, dtype: np.dtype[Any], backend: str, kept: Components, search: Search
) -> None:
    """Search with the components' own centres as rows: of the linear form, along theta.

    Parameters
    ----------
    log_joint : LogJoint
    dtype : numpy.dtype
        Of the computation.
    backend : str
    kept : ndarray of shape (n_components, n_kept), int32, C order
        It is renewed.
    search : Search
    """
    form, most = log_joint.form, np.finfo(dtype).max
    centres = form.theta if isinstance(form, Linear) else form.centres
    rows = ArrayRows(np.clip(centres, -most, most).astype(dtype))
    search_rows(LocalRunner(rows, backend=backend), log_joint, Request(), search, kept)


def chunks_of(runner: LocalRunner, n_kept: int, n_rows: int | None = None) -> Iterator[slice]:
    """Yield rows that are searched together, whose sums depend on where these end.

    Parameters
    ----------
    runner : LocalRunner
    n_kept : int
    n_rows : int, optional
        Of as many as these instead of all.
    """
    n_rows = runner.n_samples if n_rows is None else n_rows
    numbers = 16 * -(-runner.n_features // 16) + 2 * n_kept
    row = numbers * runner.dtype.itemsize + 2 * n_kept * np.dtype(np.int32).itemsize
    together = max(1 << 12, CHUNK_BYTES // row)
    for start in range(0, n_rows, together):
        yield slice(start, min(start + together, n_rows))
