"""One pass: asks the backend for the blocking, feeds it row blocks, returns its sums.

Rows in memory go to the backend at once, as one block. Rows (or responsibilities) that have to be
read or made go in rounds of few bytes: of some whole partitions, or, where partitions are long, of
the next tiles of some of them, so that the backend's threads have work. Either way a partition's
tiles are the same and are added up in the same order, hence the bits are too.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vbfast.backends import backend_for, get_backend
from vbfast.config.settings import current_backend, current_num_threads
from vbfast.contract import (
    Backend,
    Blocking,
    Float64Array,
    FloatArray,
    LogJoint,
    Moments,
    NonFiniteRowError,
    PassResult,
    Request,
    RowBlock,
    RowOutputs,
    RowSource,
    SeedingPass,
    offers_bounds,
)
from vbfast.inputs.weights import of_unit_scale
from vbfast.passes.array_rows import ArrayRows
from vbfast.passes.reading_ahead import end, read_ahead
from vbfast.passes.responsibilities import RespSource, as_resp_source

__all__ = ["Layout", "Layouts", "layout_of", "run_pass", "run_seeding"]

ROUND_BYTES = 32 << 20
NO_OUTPUTS = RowOutputs()


class Layout(NamedTuple):
    """How the rows of a source are handed to a backend, the same in every pass of a kind.

    Attributes
    ----------
    blocking : Blocking
    sample_weight : ndarray of shape (n_samples,), float64, or None
        From :func:`vbfast.inputs.weights.of_unit_scale`.
    exponent : int
        By how many doublings the weights are larger.
    blocks : list of RowBlock or None
        The only round, where the rows are an array in memory.
    """

    blocking: Blocking
    sample_weight: Float64Array | None
    exponent: int
    blocks: list[RowBlock] | None


# Those of one source, weights and backend: by the length of a row, the number of components, and
# the moments.
Kind = tuple[int, int, Moments | None]
Layouts = dict[Kind, Layout]


def run_pass(
    source: RowSource,
    log_joint: LogJoint,
    request: Request,
    *,
    sample_weight: Float64Array | None = None,
    resp: Any = None,
    outputs: RowOutputs | None = None,
    backend: Backend | None = None,
    workspace: Any = None,
    bounds: Any = None,
    blocking_components: int | None = None,
    layouts: Layouts | None = None,
) -> PassResult:
    """Visit every row once.

    Parameters
    ----------
    source : RowSource
        From :func:`vbfast.passes.rows.as_row_source`.
    log_joint : LogJoint
    request : Request
    sample_weight : ndarray of shape (n_samples,), float64, optional
        From :func:`vbfast.inputs.weights.as_sample_weight`.
    resp : array-like of shape (n_samples, n_components) or (n_samples,), optional
        The given ``q`` of a 'given' pass: distributions, or labels with -1 for a row without a
        component, or a :class:`~vbfast.passes.responsibilities.RespSource`. A row of zero weight
        may be anything.
    outputs : RowOutputs, optional
        Arrays to be filled.
    backend : Backend, optional
        By default the one in use, or one that evaluates such a log-joint.
    workspace : object, optional
        What the backend's ``workspace()`` returned, to be used by one pass at a time: memory kept
        between passes.
    bounds : object, optional
        For 'hard' passes: what the backend's ``nearest_bounds()`` returned, see
        :class:`~vbfast.contract.BoundingBackend`. The result is the same, but for the expected
        log-joint, which is NaN.
    blocking_components : int, optional
        The number of components that the blocking is for, where ``log_joint`` has not all of them.
    layouts : dict, optional
        Layouts that passes over the same source with the same weights and backend have made, to
        which this one's is added.

    Returns
    -------
    PassResult

    Raises
    ------
    NonFiniteRowError
        If a row is not finite; the first such row.
    ValueError
        If the number of features differs, or ``resp`` is missing, superfluous or, in a row of
        positive weight, no distribution, or bounds are given to a pass that is not a 'hard' one, or
        the log-joint or the gradient in the rows is asked of
        a pass that is not a 'posterior' one.
    NotImplementedError
        If no backend evaluates the log-joint, or this one not what is asked for.
    KeyboardInterrupt
        If the user interrupts; ``outputs`` is then partly filled.

    Examples
    --------
    >>> import numpy as np
    >>> from vbfast.contract import LogJoint, Request
    >>> from vbfast.passes.one_pass import run_pass
    >>> from vbfast.passes.rows import as_row_source
    >>> X = np.array([[0.0], [2.0]])
    >>> log_joint = LogJoint.quadratic("spherical", np.zeros(1), np.zeros((1, 1)), np.ones(1))
    >>> result = run_pass(as_row_source(X), log_joint, Request(moments="diag"))
    >>> result.log_evidence, result.statistics.second
    (-2.0, array([[4.]]))
    """
    if source.n_features != log_joint.n_features:
        raise ValueError(
            f"X has {source.n_features} features, but the model has {log_joint.n_features}"
        )
    if (resp is not None) != (request.assignment == "given"):
        raise ValueError(f"resp does not go with assignment {request.assignment!r}")
    if bounds is not None and request.assignment != "hard":
        raise ValueError(f"bounds do not go with assignment {request.assignment!r}")
    outputs = outputs or NO_OUTPUTS
    if request.assignment != "posterior" and outputs is not NO_OUTPUTS:
        for name in ("gradient", "log_joint"):
            if getattr(outputs, name) is not None:
                raise ValueError(f"{name} does not go with assignment {request.assignment!r}")
    resp_source = None
    if resp is not None:
        resp_source = as_resp_source(
            resp,
            source.n_samples,
            log_joint.n_components,
            source.dtype,
            sample_weight=sample_weight,
        )
    backend = backend or backend_for(log_joint, current_backend())
    kind = (
        log_joint.form.row_length,
        blocking_components or log_joint.n_components,
        request.moments,
    )
    layout = layout_of(kind, source, sample_weight, backend, layouts)
    num_threads = current_num_threads()
    workspace = backend.workspace() if workspace is None else workspace
    begin = backend.begin
    if bounds is not None and offers_bounds(backend):
        begin = partial(backend.begin_bounded, bounds=bounds)
    running = begin(
        log_joint,
        request,
        layout.blocking,
        outputs=outputs,
        workspace=workspace,
        num_threads=num_threads,
    )
    rounds = _rounds_of(layout, source, resp_source, log_joint.n_components)
    try:
        for blocks in rounds:
            running.run(blocks, num_threads)
    except NonFiniteRowError as error:
        end(rounds)  # nobody else reads then
        row = _first_non_finite(source, layout.blocking, error.row)
        raise NonFiniteRowError(row) from None
    finally:
        end(rounds)
    result = running.finish()
    if layout.exponent == 0:
        return result
    # In two steps, each of which is a number: of rows of the least weights it is beyond them.
    half = layout.exponent // 2
    return result * 2.0**half * 2.0 ** (layout.exponent - half)


def run_seeding(
    source: RowSource,
    candidates: Float64Array,
    closest: FloatArray,
    *,
    sample_weight: Float64Array | None = None,
    lowered: FloatArray | None = None,
    backend: Backend | None = None,
    layouts: Layouts | None = None,
) -> Float64Array:
    """Weigh candidates for the next centre of k-means++ (Arthur and Vassilvitskii 2007).

    Parameters
    ----------
    source : RowSource
    candidates : ndarray of shape (n_candidates, n_features), float64
        Rows of the source, or points that its dtype holds as exactly.
    closest : ndarray of shape (n_samples,), dtype of the rows, C order
        Squared distance of each row to the closest centre so far; infinity before the first.
    sample_weight : ndarray of shape (n_samples,), float64, optional
    lowered : ndarray of shape (n_candidates, n_samples), dtype of the rows, C order, optional
        Filled with ``min(closest_n, ||x_n - c_l||^2)``: what ``closest`` is once candidate ``l``
        is taken.
    backend : Backend, optional
        By default the one in use.
    layouts : dict, optional
        As for :func:`run_pass`.

    Returns
    -------
    potentials : ndarray of shape (n_candidates,)
        ``sum_n w_n min(closest_n, ||x_n - c_l||^2)`` for each candidate ``l``.

    Raises
    ------
    NonFiniteRowError
        If a row is not finite; the first such row.
    KeyboardInterrupt
        If the user interrupts; ``lowered`` is then partly filled.
    """
    n_candidates, n_features = candidates.shape
    backend = backend or get_backend(current_backend())
    kind = (n_features, n_candidates, None)
    layout = layout_of(kind, source, sample_weight, backend, layouts)
    running = backend.begin_seeding(candidates, layout.blocking)
    rounds = _rounds_of(layout, source)
    try:
        for blocks in rounds:
            _seed(running, blocks, closest, lowered)
    except NonFiniteRowError as error:
        end(rounds)
        row = _first_non_finite(source, layout.blocking, error.row)
        raise NonFiniteRowError(row) from None
    finally:
        end(rounds)
    if layout.exponent == 0:
        return running.finish()
    with np.errstate(over="ignore"):
        return np.asarray(np.ldexp(running.finish(), layout.exponent))


def _seed(
    running: SeedingPass,
    blocks: list[RowBlock],
    closest: FloatArray,
    lowered: FloatArray | None,
) -> None:
    """Process blocks with their slices of the distances."""
    slices = [slice(block.start, block.start + len(block.rows)) for block in blocks]
    before = [closest[rows] for rows in slices]
    after = [None if lowered is None else lowered[:, rows] for rows in slices]
    running.run(blocks, before, after, current_num_threads())


def layout_of(
    kind: Kind,
    source: RowSource,
    sample_weight: Float64Array | None,
    backend: Backend,
    layouts: Layouts | None,
) -> Layout:
    """Return the layout of a kind of passes, and keep it with the others."""
    if layouts is not None and kind in layouts:
        return layouts[kind]
    row_length, n_components, moments = kind
    blocking = backend.blocking(source.n_samples, row_length, n_components, source.dtype, moments)
    if layouts:  # of the same weights
        _, weights, exponent, _ = next(iter(layouts.values()))
    else:
        weights, exponent = of_unit_scale(sample_weight)
    blocks = None
    if isinstance(source, ArrayRows):
        blocks = [RowBlock(0, source.in_memory, weights)]
    layout = Layout(blocking, weights, exponent, blocks)
    if layouts is not None:
        layouts[kind] = layout
    return layout


def _rounds_of(
    layout: Layout, source: RowSource, resp: RespSource | None = None, n_components: int = 0
) -> Iterable[list[RowBlock]]:
    """Return the blocks of each round, see :func:`_rounds`."""
    if layout.blocks is not None and resp is None:
        return (layout.blocks,)
    rounds = _rounds(source, layout.blocking, layout.sample_weight, resp, n_components)
    # Responsibilities may be those of a pass, which has the memory of this one.
    ahead = resp is None and source.in_memory is None and getattr(source, "reads_ahead", False)
    return read_ahead(rounds) if ahead else rounds


def _rounds(
    source: RowSource,
    blocking: Blocking,
    sample_weight: Float64Array | None,
    resp: RespSource | None = None,
    n_components: int = 0,
) -> Iterator[list[RowBlock]]:
    """Yield the blocks of each round: all rows at once where they are in memory.

    ``n_components`` is the length of a row of ``resp``.
    """

    def block(start: int, stop: int) -> RowBlock:
        weights = None if sample_weight is None else sample_weight[start:stop]
        rows = _rows_block(source, start, stop)
        if resp is None:
            return RowBlock(start, rows, weights)
        given = _resp_block(resp, start, stop, n_components, blocking)
        return RowBlock(start, rows, weights, given)

    if source.in_memory is not None and (resp is None or resp.in_memory):
        yield [block(0, source.n_samples)]
        return
    row_values = source.n_features + (0 if resp is None else n_components)
    # Chunks that are kept take room too.
    round_bytes = ROUND_BYTES // (2 if getattr(source, "in_chunks", False) else 1)
    rows = max(1, round_bytes // (row_values * blocking.dtype.itemsize))
    bounds, at_a_time = blocking.bounds, _partitions_at_a_time(blocking, source)
    first = 0
    while first < blocking.n_partitions:
        last = bisect(bounds, bounds[first] + rows) - 1
        if last - first < min(at_a_time, blocking.n_partitions - first):
            last = min(first + at_a_time, blocking.n_partitions)
            yield from _tiles_of(blocking, first, last, rows, block)
        else:
            yield [block(bounds[first], bounds[last])]
        first = last


def _partitions_at_a_time(blocking: Blocking, source: RowSource) -> int:
    """Return in how many partitions at a time a round has rows where they are long.

    It is a power of two, so that they are merged as soon as they end, and leaves room for what was
    merged before. Of rows that are read in whole chunks they are few, as chunks are kept.
    """
    wanted = max(1 if getattr(source, "in_chunks", False) else 8, current_num_threads())
    fitting = max(1, blocking.open_partitions // 2)
    return int(2 ** min((wanted - 1).bit_length(), fitting.bit_length() - 1))


def _tiles_of(
    blocking: Blocking, first: int, last: int, rows: int, block: Callable[[int, int], RowBlock]
) -> Iterator[list[RowBlock]]:
    """Yield rounds of the next tiles of partitions first to last - 1, up to ``rows`` in all."""
    bounds = list(pairwise(blocking.bounds[first : last + 1]))
    tiles = max(1, rows // len(bounds) // blocking.tile_rows)
    step = tiles * blocking.tile_rows
    longest = max(stop - start for start, stop in bounds)
    for offset in range(0, longest, step):
        yield [
            block(start + offset, min(start + offset + step, stop))
            for start, stop in bounds
            if start + offset < stop
        ]


def _rows_block(source: RowSource, start: int, stop: int) -> FloatArray:
    """Return rows of a source, which may be anybody's: what it returns is what it said, or not."""
    block = source.block(start, stop)
    if (block.shape, block.dtype) != ((stop - start, source.n_features), source.dtype):
        raise ValueError(
            f"X[{start}:{stop}] should have shape {(stop - start, source.n_features)} and dtype "
            f"{source.dtype}; got {block.shape} and {block.dtype}"
        )
    return block


def _resp_block(
    resp: RespSource, start: int, stop: int, n_components: int, blocking: Blocking
) -> FloatArray | npt.NDArray[np.int64]:
    """Return responsibilities of some rows, of a source that may be anybody's."""
    block = resp.block(start, stop)
    labels = block.shape == (stop - start,) and block.dtype == np.int64
    if not labels and (block.shape, block.dtype) != ((stop - start, n_components), blocking.dtype):
        raise ValueError(
            f"resp[{start}:{stop}] should have shape {(stop - start, n_components)} and dtype "
            f"{blocking.dtype}; got {block.shape} and {block.dtype}"
        )
    return block


def _first_non_finite(source: RowSource, blocking: Blocking, row: int) -> int:
    """Return the first row that is not finite, given one: a later round may hold an earlier row."""
    for start in range(0, row, blocking.tile_rows):
        rows = source.block(start, min(start + blocking.tile_rows, row))
        finite = np.isfinite(rows).all(axis=1)
        if not finite.all():
            return start + int(np.argmin(finite))
    return row
