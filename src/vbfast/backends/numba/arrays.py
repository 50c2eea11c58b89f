"""The array functions, with the signatures of the extension module's, and their meaning.

Arrays are cut into boxes, on which kernels work. What is in a box does not depend on the number of
threads, nor does the order in which they are added up: results do not either. What kernels cannot
settle, rare slices and inputs that are no distributions, is left to the extension module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast import _vbfast
from vbfast.backends.numba import array_kernels as kernels
from vbfast.backends.numba.array_boxes import Boxes, size_of
from vbfast.backends.numba.array_kernels import Box, Operation
from vbfast.backends.numba.blocking import MANY_RANGES, PARALLEL_ELEMENTS
from vbfast.backends.numba.exponential import SMALLEST_EXPONENT
from vbfast.backends.numba.threads import run_tasks
from vbfast.contract import Float64Array

__all__ = ["bound_and_gradients", "bound_terms", "map_array", "reduce_array"]

Array = npt.NDArray[Any]
Rows = Float64Array  # one of each slice
Axis = int | tuple[int, ...] | None

_REDUCTIONS = {
    _vbfast.REDUCTIONS["sum_exp"]: Operation(kernels.SUM_EXP),
    _vbfast.REDUCTIONS["scaled_sum_exp"]: Operation(kernels.SCALED),
    _vbfast.REDUCTIONS["logits_entropy"]: Operation(kernels.SINGLE),
    _vbfast.REDUCTIONS["probs_entropy"]: Operation(kernels.SINGLE, q_logits=False),
    _vbfast.REDUCTIONS["logits_logits"]: Operation(kernels.PAIR, p_logits=True),
    _vbfast.REDUCTIONS["logits_probs"]: Operation(kernels.PAIR),
    _vbfast.REDUCTIONS["probs_logits"]: Operation(kernels.PAIR, q_logits=False, p_logits=True),
    _vbfast.REDUCTIONS["probs_probs"]: Operation(kernels.PAIR, q_logits=False),
}

# As the functions of the bound return them.
_BOUND_TERMS = kernels.BOUND, kernels.EXPECTED, kernels.ENTROPY, kernels.EVIDENCE, kernels.KL


@dataclass
class _Call:
    """Slices over some axes of arrays of one shape, and what becomes of them."""

    operation: Operation
    inputs: Sequence[Array]
    axes: tuple[int, ...]
    num_threads: int  # 0 for the number in force
    outputs: Sequence[Array] = ()
    weights: Float64Array | None = None
    names: tuple[str, ...] = ()  # of inputs, empty where one need not be a distribution
    tolerances: tuple[float, ...] = ()  # of the sums of probabilities
    kept: tuple[int, ...] = ()  # results that are wanted for each slice

    def __post_init__(self) -> None:
        dtype = self.inputs[0].dtype
        self.operation = self.operation._replace(cutoff=dtype.type(SMALLEST_EXPONENT[dtype]))
        scaled = self.operation.form == kernels.SCALED
        self.boxes = Boxes(self.inputs, self.outputs, self.axes, scaled)
        self.results = np.empty((len(self.kept), *self.boxes.slice_shape))
        self.sums = np.empty((len(self.boxes.blocks), kernels.N_RESULTS))
        self.sound = True  # all inputs that need to be distributions

    def run(self) -> Any:
        """Return the results that are kept, or sums of all."""
        small = self.inputs[0].size < PARALLEL_ELEMENTS
        n_threads = 1 if small else self.num_threads or _vbfast.get_num_threads()
        blocks = range(len(self.boxes.blocks))
        by_range = len(blocks) < n_threads or len(self.boxes.ranges) > MANY_RANGES
        tasks = [partial(self._run_block, b, n_threads if by_range else 1) for b in blocks]
        run_tasks(tasks, 1 if by_range else n_threads)
        return self.results if self.kept else _added(self.sums).tolist()

    def _run_block(self, b: int, n_threads: int, worker: int) -> Iterator[None]:
        """Do everything for a block, on one thread or, range by range, on several ones."""
        operation, boxes, block = self.operation, self.boxes, self.boxes.blocks[b]
        ranges, n_slices = range(len(boxes.ranges)), size_of(block)
        states = np.zeros((len(ranges), n_slices, kernels.N_STATES))

        def each(step: Callable[[Box, int], None]) -> Iterator[None]:
            def task(c: int, worker: int) -> Iterator[None]:
                step(boxes.load(b, c, worker), c)
                yield

            if n_threads > 1:
                run_tasks([partial(task, c) for c in ranges], n_threads)
            else:
                for c in ranges:
                    yield from task(c, worker)

        def write(box: Box, c: int) -> None:
            kernels.map_elements(box, operation, weights, state)
            boxes.store(b, c, box)

        yield from each(lambda box, c: kernels.find_references(box, operation, states[c]))
        if len(ranges) > 1:
            states[:] = states.max(axis=0)
        yield from each(lambda box, c: kernels.add_sums(box, operation, states[c]))
        state, results = states[0], np.empty((n_slices, kernels.N_RESULTS))
        if len(ranges) > 1:
            state[:, : kernels.N_SUMS] = _added(states[..., : kernels.N_SUMS])
        settled = np.empty(n_slices, np.bool_)
        kernels.finish_slices(operation, state, results, settled)
        if not settled.all():
            self._settle(b, np.flatnonzero(~settled), state, results)
        weights = np.ones(n_slices) if self.weights is None else self.weights[block].flatten()
        self._keep(b, state, weights, results)
        if operation.mapping != kernels.NOTHING:
            yield from each(write)

    @np.errstate(invalid="ignore")
    def _settle(self, b: int, which: npt.NDArray[np.intp], state: Rows, results: Rows) -> None:
        """Have the native functions settle rare slices: of huge terms, or terms that cancel."""
        q, p = self.boxes.slices(b, which)
        if self.operation.form == kernels.SCALED:
            number, wanted = _vbfast.REDUCTIONS["scaled_sum_exp"], (kernels.EVIDENCE, kernels.SIGN)
            found = _vbfast.reduce_array(number, q, p, 1, False, wanted, (), (), None, 1)
            results[which, kernels.EVIDENCE], results[which, kernels.SIGN] = found
            return
        terms = _vbfast.bound_terms(p, q, self.operation.q_logits, np.inf, None, True, 1)
        for term, values in zip(_BOUND_TERMS, terms, strict=True):
            results[which, term] = values
        # The map then takes the expected log-joint as the reference of p.
        expected = terms[1]
        joint = expected.astype(p.dtype).astype(np.float64)
        mass = state[which, kernels.TOP] + state[which, kernels.BELOW]
        state[which, kernels.P_REFERENCE] = joint
        state[which, kernels.CROSS] = mass * (expected - joint)

    @np.errstate(all="ignore")
    def _keep(self, b: int, state: Rows, weights: Rows, results: Rows) -> None:
        """Keep results of a block, and whether its inputs are distributions."""
        masses = state[:, kernels.TOP] + state[:, kernels.BELOW], state[:, kernels.P_MASS]
        for k, name in enumerate(self.names):
            reference, mass = state[:, kernels.REFERENCE + k], masses[k]
            if k == 0 and self.operation.q_logits:
                possible = (state[:, kernels.P_REFERENCE] > -np.inf) | (masses[1] > 0)
                wrong = (reference == np.inf) | ((mass == 0) & possible)
            else:
                wrong = (reference > 0) | (np.abs(mass - 1) > self.tolerances[k])
            if name and np.any(wrong & (weights != 0)):
                self.sound = False  # never back: blocks are run at the same time
        if self.operation.form == kernels.SCALED and kernels.SIGN not in self.kept:
            results[results[:, kernels.SIGN] < 0, kernels.EVIDENCE] = np.nan  # of a negative sum
        results[weights == 0] = 0.0
        results *= weights[:, np.newaxis]
        kept = self.results[(slice(None), *self.boxes.blocks[b])]
        kept[...] = results[:, self.kept].T.reshape(kept.shape)
        if not self.kept:
            self.sums[b] = _added(results)


@np.errstate(over="ignore", invalid="ignore")
def _added(rows: Float64Array) -> Float64Array:
    """Return sums along the first axis: side by side, NumPy adds numbers by halves."""
    return np.asarray(np.ascontiguousarray(np.moveaxis(rows, 0, -1)).sum(axis=-1))


def reduce_array(
    reduction: int,
    x: Array,
    y: Array | None,
    axis: Axis,
    keepdims: bool,
    which: tuple[int, ...],
    names: tuple[str, ...],
    tolerances: tuple[float, ...],
    out: Array | None,
    num_threads: int,
) -> Any:
    """Reduce an array over some of its axes."""
    axes = _vbfast.reduced_axes(x.ndim, axis)
    operation, inputs = _REDUCTIONS[reduction], (x,) if y is None else (x, y)
    call = _Call(operation, inputs, axes, num_threads, (), None, names, tolerances, which)
    found = call.run()
    if not call.sound:  # the native one has the words for it
        return _vbfast.reduce_array(
            reduction, x, y, axis, keepdims, which, names, tolerances, out, num_threads
        )
    shape = [1 if d in axes else n for d, n in enumerate(x.shape) if keepdims or d not in axes]
    with np.errstate(over="ignore"):  # of single precision
        results = [result.reshape(shape).astype(x.dtype)[()] for result in found]
    if out is not None:
        out[...] = results[0]
        return out
    return results[0] if len(results) == 1 else tuple(results)


def map_array(mapping: int, x: Array, axis: Axis, out: Array | None, num_threads: int) -> Array:
    """Write the softmax or log-softmax over some axes, to a new array where none is given."""
    if out is None:
        # Not empty_like: broadcast input would give it overlapping strides on some versions.
        out = np.empty(x.shape, x.dtype, order="F" if x.flags.fnc else "C")
    operation = Operation(kernels.SUM_EXP, mapping=mapping)
    _Call(operation, (x,), _vbfast.reduced_axes(x.ndim, axis), num_threads, (out,)).run()
    return out


def bound_terms(
    log_joint: Array,
    q: Array | None,
    is_logits: bool,
    tolerance: float | None,
    weight: Float64Array | None,
    per_sample: bool,
    num_threads: int,
    gradients: tuple[Array, ...] = (),
) -> tuple[Any, ...]:
    """Return the terms of the bound over the last axis, and fill its gradients, if any."""
    form = kernels.SINGLE if q is None else kernels.PAIR
    mapping = kernels.GRADIENT if gradients else kernels.NOTHING
    operation = Operation(form, q is None or is_logits, q is not None, mapping)
    # Gradients at the posterior are those of a pair of equal ones.
    inputs = (log_joint,) * (2 if gradients else 1) if q is None else (q, log_joint)
    names = () if q is None else ("q",)
    tolerances = (tolerance or _vbfast.SUM_TOLERANCES[log_joint.dtype.name],)
    kept = tuple(range(kernels.N_RESULTS)) if per_sample else ()
    axes = (log_joint.ndim - 1,)
    call = _Call(operation, inputs, axes, num_threads, gradients, weight, names, tolerances, kept)
    results = call.run()
    if not call.sound:
        rest = (tolerance, weight, per_sample, num_threads)
        return tuple(_vbfast.bound_terms(log_joint, q, is_logits, *rest))
    return tuple(results[term] for term in _BOUND_TERMS)


def bound_and_gradients(
    log_joint: Array,
    q: Array | None,
    is_logits: bool,
    tolerance: float | None,
    weight: Float64Array | None,
    per_sample: bool,
    out: tuple[Array, Array] | None,
    num_threads: int,
) -> tuple[tuple[Any, ...], tuple[Array, Array]]:
    """Return the terms, and the gradients in new arrays where none are given."""
    if out is None:
        out = np.empty(log_joint.shape, log_joint.dtype), np.empty(log_joint.shape, log_joint.dtype)
    terms = bound_terms(log_joint, q, is_logits, tolerance, weight, per_sample, num_threads, out)
    return terms, out
