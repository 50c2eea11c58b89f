"""Runs passes: plans the blocking, feeds row blocks to the backend in use, returns its sums.

Rows in memory go to the backend at once, one block a partition. Rows (or responsibilities) that
have to be read or made go in rounds: each round holds the next tiles of every unfinished partition,
so that the backend's threads have work, and few bytes at a time are in memory. Either way a
partition's tiles are the same and are added up in the same order, hence the bits are too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.backends import get_backend
from vbfast.engine.config import current_backend, current_num_threads
from vbfast.engine.contract import (
    Float64Array,
    FloatArray,
    NonFiniteRowError,
    PassParams,
    PassResult,
    Request,
    RowBlock,
    RowOutputs,
)
from vbfast.engine.plan import Plan, make_plan
from vbfast.engine.responsibilities import RespSource, as_resp_source
from vbfast.engine.rows import RowSource
from vbfast.engine.weights import of_unit_scale

ROUND_BYTES = 32 << 20


def run_pass(
    source: RowSource,
    params: PassParams,
    request: Request,
    *,
    sample_weight: Float64Array | None = None,
    resp: Any = None,
    outputs: RowOutputs | None = None,
    workspace: Any = None,
    plan_components: int | None = None,
) -> PassResult:
    """Visit every row once with the backend in use.

    Parameters
    ----------
    source : RowSource
        From :func:`vbfast.engine.rows.as_row_source`.
    params : KernelParams or CustomParams
        The latter take the numba backend, whichever is in use.
    request : Request
    sample_weight : ndarray of shape (n_samples,), float64, optional
        From :func:`vbfast.engine.weights.as_sample_weight`.
    resp : array-like of shape (n_samples, n_components) or (n_samples,), optional
        The given ``q`` of a 'given' pass: distributions, or labels with -1 for a row without a
        component, or a :class:`~vbfast.engine.responsibilities.RespSource`. A row of zero weight
        may be anything.
    outputs : RowOutputs, optional
        Arrays to be filled.
    workspace : object, optional
        What :func:`new_workspace` returned, to be used by one pass at a time: memory kept between
        passes.
    plan_components : int, optional
        The number of components that the blocking is for, where ``params`` has not all of them.

    Returns
    -------
    PassResult

    Raises
    ------
    NonFiniteRowError
        If a row is not finite; the first such row.
    ValueError
        If the number of features differs, or ``resp`` is missing, superfluous or, in a row of
        positive weight, no distribution, or the log-joint or the gradient in the rows is asked of
        a pass that is not a 'posterior' one.
    NotImplementedError
        If an output is asked for that the backend in use does not compute.
    KeyboardInterrupt
        If the user interrupts; ``outputs`` is then partly filled.

    Examples
    --------
    >>> import numpy as np
    >>> from vbfast.engine.contract import KernelParams, Request
    >>> from vbfast.engine.engine import run_pass
    >>> from vbfast.engine.rows import as_row_source
    >>> X = np.array([[0.0], [2.0]])
    >>> params = KernelParams("spherical", np.zeros(1), np.zeros((1, 1)), np.ones(1))
    >>> result = run_pass(as_row_source(X), params, Request(statistics="diag"))
    >>> result.log_evidence, result.statistics.second
    (-2.0, array([[4.]]))
    """
    if source.n_features != params.n_features:
        raise ValueError(
            f"X has {source.n_features} features, but the model has {params.n_features}"
        )
    if (resp is not None) != (request.assignment == "given"):
        raise ValueError(f"resp does not go with assignment {request.assignment!r}")
    if outputs is not None and request.assignment != "posterior":
        for name in ("gradient", "log_joint"):
            if getattr(outputs, name) is not None:
                raise ValueError(f"{name} does not go with assignment {request.assignment!r}")
    resp_source = None
    if resp is not None:
        resp_source = as_resp_source(
            resp,
            source.n_samples,
            params.n_components,
            source.dtype,
            sample_weight=sample_weight,
        )
    plan = make_plan(
        source.n_samples,
        params.row_length,
        plan_components or params.n_components,
        source.dtype,
        request.statistics,
    )
    sample_weight, exponent = of_unit_scale(sample_weight)
    backend = get_backend(params.backend or current_backend())
    running = backend.begin(params, request, plan, outputs, workspace)
    for blocks in _rounds(source, plan, sample_weight, resp_source, params.n_components):
        try:
            running.run(blocks, current_num_threads())
        except NonFiniteRowError as error:
            raise NonFiniteRowError(_first_non_finite(source, plan, error.row)) from None
    result = running.finish()
    return result if exponent == 0 else result.times_power_of_two(exponent)


def run_seeding(
    source: RowSource,
    candidates: Float64Array,
    closest: FloatArray,
    *,
    sample_weight: Float64Array | None = None,
    lowered: FloatArray | None = None,
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
    plan = make_plan(source.n_samples, n_features, n_candidates, source.dtype, None)
    sample_weight, exponent = of_unit_scale(sample_weight)
    running = get_backend(current_backend()).begin_seeding(candidates, plan)
    for blocks in _rounds(source, plan, sample_weight):
        slices = [slice(block.start, block.start + len(block.rows)) for block in blocks]
        before = [closest[rows] for rows in slices]
        after = [None if lowered is None else lowered[:, rows] for rows in slices]
        try:
            running.run(blocks, before, after, current_num_threads())
        except NonFiniteRowError as error:
            raise NonFiniteRowError(_first_non_finite(source, plan, error.row)) from None
    with np.errstate(over="ignore"):
        return np.asarray(np.ldexp(running.finish(), exponent))


def new_workspace() -> Any:
    """Return memory that the passes of one fit reuse, from the backend in use."""
    return get_backend(current_backend()).workspace()


def _rounds(
    source: RowSource,
    plan: Plan,
    sample_weight: Float64Array | None,
    resp: RespSource | None = None,
    n_components: int = 0,
) -> Iterator[list[RowBlock]]:
    """Yield the blocks of each round: all rows at once where they are in memory.

    ``n_components`` is the length of a row of ``resp``.
    """
    row_values = source.n_features + (0 if resp is None else n_components)
    longest = max(np.diff(plan.bounds).tolist())
    if source.in_memory is None or (resp is not None and not resp.in_memory):
        rows_of_round = ROUND_BYTES // (row_values * plan.dtype.itemsize)
        tiles = max(1, rows_of_round // plan.n_partitions // plan.tile_rows)
        step = tiles * plan.tile_rows
    else:
        step = longest
    for offset in range(0, longest, step):
        blocks = []
        for partition in range(plan.n_partitions):
            start = plan.bounds[partition] + offset
            stop = min(start + step, plan.bounds[partition + 1])
            if start < stop:
                blocks.append(
                    RowBlock(
                        partition,
                        start,
                        source.block(start, stop),
                        None if sample_weight is None else sample_weight[start:stop],
                        None
                        if resp is None
                        else _resp_block(resp, start, stop, n_components, plan),
                    )
                )
        yield blocks


def _resp_block(
    resp: RespSource, start: int, stop: int, n_components: int, plan: Plan
) -> FloatArray | npt.NDArray[np.int64]:
    """Return responsibilities of some rows; of what shape and dtype is what kernels go by."""
    block = resp.block(start, stop)
    labels = block.shape == (stop - start,) and block.dtype == np.int64
    if not labels and (block.shape, block.dtype) != ((stop - start, n_components), plan.dtype):
        raise ValueError(
            f"resp[{start}:{stop}] should have shape {(stop - start, n_components)} and dtype "
            f"{plan.dtype}; got {block.shape} and {block.dtype}"
        )
    return block


def _first_non_finite(source: RowSource, plan: Plan, row: int) -> int:
    """Return the first row that is not finite, given one: a later round may hold an earlier row."""
    for start in range(0, row, plan.tile_rows):
        rows = source.block(start, min(start + plan.tile_rows, row))
        finite = np.isfinite(rows).all(axis=1)
        if not finite.all():
            return start + int(np.argmin(finite))
    return row
