"""The array functions: axes, blocks of slices on threads, results.

The three functions have the signatures of the extension module's, and their meaning. Blocks, and
ranges of the elements where there are few slices, follow from the shape alone and are added up in
their order: results do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast import _vbfast
from vbfast.backends.numba.array_kernels import (
    CHUNK_ROWS,
    GRADIENT,
    LOG_SOFTMAX,
    N_SUMS,
    PAIR,
    POSTERIOR_GRADIENT,
    PROBS_GRADIENT,
    SCALED,
    SINGLE,
    SOFTMAX,
    SUM_EXP,
    Operation,
    Work,
    map_slices,
    reduce_slices,
    work_for,
)
from vbfast.backends.numba.array_layout import (
    lay_out,
    rows_of_slice,
    slices_of_tile,
)
from vbfast.backends.numba.array_results import (
    DISTRIBUTION,
    N_RESULTS,
    NOTHING,
    PROPER,
    finish_slices,
)
from vbfast.backends.numba.threads import Task, run_tasks
from vbfast.contract import Float64Array

__all__ = ["bound_and_gradients", "bound_terms", "map_array", "reduce_array"]

Array = npt.NDArray[Any]

# Elements of a block or a range, a millisecond's work or two.
BLOCK_ELEMENTS = 1 << 18
# Blocks below which slices are cut into ranges.
FEW_BLOCKS = 32
# Elements below which waking threads costs more than it saves.
PARALLEL_ELEMENTS = 1 << 16

_OPERATIONS = {
    _vbfast.REDUCTIONS[name]: operation
    for name, operation in {
        "sum_exp": Operation(SUM_EXP, True, False),
        "scaled_sum_exp": Operation(SCALED, True, False),
        "logits_entropy": Operation(SINGLE, True, False),
        "probs_entropy": Operation(SINGLE, False, False),
        "logits_logits": Operation(PAIR, True, True),
        "logits_probs": Operation(PAIR, True, False),
        "probs_logits": Operation(PAIR, False, True),
        "probs_probs": Operation(PAIR, False, False),
    }.items()
}


@dataclass
class _Call:
    """Slices over some axes of arrays of one shape, and what becomes of them."""

    operation: Operation
    inputs: tuple[Array, ...]
    axes: tuple[int, ...]
    num_threads: int  # 0 for the number in force
    mapping: int = -1
    outputs: tuple[Array, ...] = ()
    weights: Float64Array | None = None
    names: tuple[str, ...] = ()
    tolerances: tuple[float, ...] = ()  # of the sums of distributions
    demand: int = DISTRIBUTION
    kept: tuple[int, ...] = ()  # results that are wanted for each slice
    keeps_as: Any = None  # their type
    faults: list[Float64Array] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dtype = self.inputs[0].dtype
        self.layout = lay_out(self.inputs, self.outputs, self.axes)
        n_slices = self.layout.n_slices
        self.rows = rows_of_slice(self.layout, self.dtype)
        tile = slices_of_tile(self.layout, self.dtype)
        fitting = BLOCK_ELEMENTS // max(1, tile * self.layout.n_elements)
        self.width = min(n_slices, max(1, fitting) * tile)
        self.firsts = range(0, n_slices, max(1, self.width))
        self.range_rows = self._range_rows(tile)
        self.flat_weights = (
            np.empty(0) if self.weights is None else np.ascontiguousarray(self.weights).ravel()
        )
        self.demands = np.full(2, NOTHING, np.int64)
        for k, name in enumerate(self.names):
            if name:
                self.demands[k] = self.demand
        self.sum_tolerances = np.zeros(2)
        self.sum_tolerances[: len(self.tolerances)] = self.tolerances
        self.results = [np.empty(n_slices, self.keeps_as or self.dtype) for _ in self.kept]
        self.sums = np.zeros((len(self.firsts), N_RESULTS))
        self._work: dict[int, Work] = {}

    def _range_rows(self, tile: int) -> int:
        lanes = self.width if tile > 1 else self.layout.n_elements / max(1, self.rows)
        whole = max(1, int(BLOCK_ELEMENTS / max(1.0, lanes)) // CHUNK_ROWS) * CHUNK_ROWS
        if len(self.firsts) >= FEW_BLOCKS or self.rows <= whole:
            return max(1, self.rows)
        return whole

    def run(self) -> None:
        """Reduce, finish and map all slices.

        Raises
        ------
        ValueError
            If an input is no distribution; it names the first such slice.
        """
        ranges = range(0, max(1, self.rows), self.range_rows)
        if len(ranges) == 1:
            self._on_threads([self._whole_block(b) for b in range(len(self.firsts))])
        else:
            self._run_ranges(ranges)
        if self.faults:
            self._raise(min(self.faults, key=lambda fault: float(fault[0])))

    def _run_ranges(self, ranges: range) -> None:
        n_blocks, n_ranges = len(self.firsts), len(ranges)
        everywhere = [(b, c) for b in range(n_blocks) for c in range(n_ranges)]
        references = {at: np.empty((2, self._width(at[0]))) for at in everywhere}
        sums = {at: np.empty((N_SUMS, self._width(at[0]))) for at in everywhere}

        def reduce(b: int, c: int, observes: bool) -> Task:
            def task(worker: int) -> Iterator[None]:
                last = min(self.rows, ranges[c] + self.range_rows)
                to = (references[b, c], sums[b, c])
                self._reduce(b, ranges[c], last, observes, not observes, worker, *to)
                yield

            return task

        self._on_threads([reduce(*where, True) for where in everywhere])
        for b in range(n_blocks):
            self._merge_references([references[b, c] for c in range(n_ranges)])
        self._on_threads([reduce(*where, False) for where in everywhere])
        parameters = [
            self._finish(b, references[b, 0], _added([sums[b, c] for c in range(n_ranges)]), 0)
            for b in range(n_blocks)
        ]

        def write(b: int, c: int) -> Task:
            def task(worker: int) -> Iterator[None]:
                last = min(self.rows, ranges[c] + self.range_rows)
                self._map(b, ranges[c], last, worker, parameters[b])
                yield

            return task

        if self.mapping >= 0:
            self._on_threads([write(*where) for where in everywhere])

    def _merge_references(self, references: list[Float64Array]) -> None:
        """Give ranges of the same slices their common references."""
        for k, logits in enumerate((self.operation.q_logits, self.operation.p_logits)):
            extreme = np.max if logits else np.min
            common = extreme([own[k] for own in references], axis=0)
            for own in references:
                own[k] = common

    def _on_threads(self, tasks: list[Task]) -> None:
        small = self.inputs[0].size < PARALLEL_ELEMENTS
        run_tasks(tasks, 1 if small else self.num_threads or _vbfast.get_num_threads())

    def _width(self, b: int) -> int:
        return min(self.width, self.layout.n_slices - self.firsts[b])

    def _memory(self, worker: int) -> Work:
        if worker not in self._work:
            self._work[worker] = work_for(self.dtype)
        return self._work[worker]

    def _whole_block(self, b: int) -> Task:
        def task(worker: int) -> Iterator[None]:
            references = np.empty((2, self._width(b)))
            sums = np.empty((N_SUMS, self._width(b)))
            self._reduce(b, 0, self.rows, True, True, worker, references, sums)
            parameters = self._finish(b, references, sums, worker)
            if self.mapping >= 0:
                self._map(b, 0, self.rows, worker, parameters)
            yield

        return task

    def _reduce(
        self,
        b: int,
        first: int,
        last: int,
        observes: bool,
        adds: bool,
        worker: int,
        references: Float64Array,
        sums: Float64Array,
    ) -> None:
        work, start = self._memory(worker), self.firsts[b]
        reduce_slices(
            self.layout, self.operation, start, first, last, observes, adds, work, references, sums
        )

    def _map(self, b: int, first: int, last: int, worker: int, parameters: Float64Array) -> None:
        work, start = self._memory(worker), self.firsts[b]
        map_slices(self.layout, self.mapping, start, first, last, work, parameters)

    def _finish(
        self, b: int, references: Float64Array, sums: Float64Array, worker: int
    ) -> Float64Array:
        """Keep the results of a block; returns the parameters of its map."""
        width = self._width(b)
        block = slice(self.firsts[b], self.firsts[b] + width)
        results, parameters = np.empty((N_RESULTS, width)), np.empty((4, width))
        fault = np.full(4, -1.0)
        finish_slices(
            self.layout,
            self.operation,
            self.mapping,
            self.demands,
            self.sum_tolerances,
            block.start,
            self.flat_weights[block],
            references,
            sums,
            self._memory(worker),
            results,
            parameters,
            fault,
        )
        if fault[0] >= 0:
            self.faults.append(fault)
        with np.errstate(over="ignore", invalid="ignore"):  # single precision, infinite terms
            for kept, term in zip(self.results, self.kept, strict=True):
                kept[block] = results[term]
            self.sums[b] = results.sum(axis=1)
        return parameters

    def _raise(self, fault: Float64Array) -> None:
        number, which, minimum, total = fault.tolist()
        row = np.unravel_index(int(number), tuple(self.layout.outer_shape))
        message = self.names[int(which)]
        if row:
            message += " at row " + ", ".join(str(int(index)) for index in row)
        if self.demands[int(which)] == PROPER:
            message += " has no logit above -inf" if total == 0 else " has a logit of +inf"
        elif minimum < 0:
            message += f" has a negative entry, {minimum:f}"
        else:
            message += f" sums to {total}, not one"
        raise ValueError(f"{message}; a distribution is needed")


def _added(parts: list[Float64Array]) -> Float64Array:
    """Add up ranges by halves, so that roundings do not grow with their number."""
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    with np.errstate(invalid="ignore"):
        return _added(parts[:half]) + _added(parts[half:])


def reduce_array(
    reduction: int,
    x: Array,
    y: Array | None,
    axis: int | tuple[int, ...] | None,
    keepdims: bool,
    which: tuple[int, ...],
    names: tuple[str, ...],
    tolerances: tuple[float, ...],
    out: Array | None,
    num_threads: int,
) -> Any:
    """Reduce an array over some of its axes."""
    axes = _vbfast.reduced_axes(x.ndim, axis)
    inputs = (x,) if y is None else (x, y)
    operation = _OPERATIONS[reduction]
    with_sign = operation.form == SCALED and len(which) == 1
    kept = (*which, _vbfast.RESULTS["sign"]) if with_sign else which
    call = _Call(
        operation, inputs, axes, num_threads, names=names, tolerances=tolerances, kept=kept
    )
    call.run()
    if with_sign:  # a negative sum has no logarithm
        call.results[0][call.results[1] < 0] = np.nan
    shape = _result_shape(x.shape, axes, keepdims)
    if out is not None:
        out[...] = call.results[0].reshape(shape)
        return out
    results = [result.reshape(shape)[()] for result in call.results[: len(which)]]
    return tuple(results) if len(results) > 1 else results[0]


def _result_shape(shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool) -> tuple[int, ...]:
    if keepdims:
        return tuple(1 if d in axes else length for d, length in enumerate(shape))
    return tuple(length for d, length in enumerate(shape) if d not in axes)


def map_array(
    mapping: int, x: Array, axis: int | tuple[int, ...] | None, out: Array | None, num_threads: int
) -> Array:
    """Write the softmax or log-softmax over some axes, to a new array where none is given."""
    if out is None:
        # Not empty_like: broadcast input would give it overlapping strides on some versions.
        out = np.empty(x.shape, x.dtype, order="F" if x.flags.fnc else "C")
    is_softmax = mapping == _vbfast.MAPPINGS["softmax"]
    _Call(
        Operation(SINGLE if is_softmax else SUM_EXP, True, False),
        (x,),
        _vbfast.reduced_axes(x.ndim, axis),
        num_threads,
        mapping=SOFTMAX if is_softmax else LOG_SOFTMAX,
        outputs=(out,),
    ).run()
    return out


def _run_bound(
    log_joint: Array,
    q: Array | None,
    is_logits: bool,
    tolerance: float | None,
    weight: Float64Array | None,
    per_sample: bool,
    gradients: tuple[Array, ...],
    num_threads: int,
) -> tuple[Any, Any, Any, Any, Any]:
    """Return the terms of the bound over the last axis, and fill the gradients if there are any."""
    if q is None:
        inputs: tuple[Array, ...] = (log_joint,)
        name, mapping = "logits_entropy", POSTERIOR_GRADIENT
    else:
        inputs = (q, log_joint)
        name, mapping = (
            ("logits_logits", GRADIENT) if is_logits else ("probs_logits", PROBS_GRADIENT)
        )
    call = _Call(
        _OPERATIONS[_vbfast.REDUCTIONS[name]],
        inputs,
        (log_joint.ndim - 1,),
        num_threads,
        mapping=mapping if gradients else -1,
        outputs=gradients,
        weights=weight,
        names=() if q is None else ("q_logits" if is_logits else "q", ""),
        tolerances=(
            _vbfast.SUM_TOLERANCES[log_joint.dtype.name] if tolerance is None else tolerance,
        ),
        demand=PROPER if is_logits else DISTRIBUTION,
        kept=tuple(range(N_RESULTS)) if per_sample else (),
        keeps_as=np.float64,
    )
    call.run()
    if per_sample:
        terms = [result.reshape(log_joint.shape[:-1]) for result in call.results]
    else:
        with np.errstate(invalid="ignore"):
            # Side by side, NumPy adds them by halves.
            terms = np.ascontiguousarray(call.sums.T).sum(axis=1).tolist()
    log_evidence, entropy, expected, kl, bound = terms
    return bound, expected, entropy, log_evidence, kl


def bound_terms(
    log_joint: Array,
    q: Array | None,
    is_logits: bool,
    tolerance: float | None,
    weight: Float64Array | None,
    per_sample: bool,
    num_threads: int,
) -> tuple[Any, Any, Any, Any, Any]:
    """Return the terms of the bound over the last axis."""
    return _run_bound(log_joint, q, is_logits, tolerance, weight, per_sample, (), num_threads)


def bound_and_gradients(
    log_joint: Array,
    q: Array | None,
    is_logits: bool,
    tolerance: float | None,
    weight: Float64Array | None,
    per_sample: bool,
    out: tuple[Array, Array] | None,
    num_threads: int,
) -> tuple[tuple[Any, Any, Any, Any, Any], tuple[Array, Array]]:
    """Return the terms, and the gradients in new arrays where none are given."""
    if out is None:
        out = np.empty(log_joint.shape, log_joint.dtype), np.empty(log_joint.shape, log_joint.dtype)
    terms = _run_bound(log_joint, q, is_logits, tolerance, weight, per_sample, out, num_threads)
    return terms, out
