"""Reductions and maps of slices, the numerical part of the array functions, lanes across slices.

Everything is about a *reference* of each slice and input, its largest logit or its smallest
probability, which is found first. Of ``q``, the first input, ``e`` is then proportional to the
probability. The sums of a slice are, by the form of the reduction,

- ``SUM_EXP``: e below the reference, and at it; ``SCALED``: the same of ``b e``, b the other input;
- ``SINGLE``: e, e log e;
- ``PAIR``, of q and p: e, e log e, e log p, p.

Sums over a few rows are of the type of the input, from there on float64. The formulae are those of
csrc/kernels/array_ops-inl.h.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vbfast.backends.numba.array_layout import (
    N_PLACES,
    PLACE_OUT,
    find_lanes,
    load_rows_of_tile,
    store_rows_of_tile,
)
from vbfast.backends.numba.compiling import group_rows, group_size, kernel
from vbfast.backends.numba.exponential import SMALLEST_EXPONENT, exp_nonpositive
from vbfast.engine.contract import FloatArray

__all__ = [
    "CHUNK_ROWS",
    "GRADIENT",
    "LOG_SOFTMAX",
    "N_SUMS",
    "PAIR",
    "POSTERIOR_GRADIENT",
    "SCALED",
    "SINGLE",
    "SOFTMAX",
    "SUM_EXP",
    "Operation",
    "Work",
    "map_slices",
    "reduce_slices",
    "work_for",
]

SUM_EXP, SCALED, SINGLE, PAIR = range(4)
SOFTMAX, LOG_SOFTMAX, POSTERIOR_GRADIENT, GRADIENT = range(4)

CHUNK_ROWS = 64
N_SUMS = 4


class Operation(NamedTuple):
    """A reduction: its form, and whether its inputs are logits."""

    form: int
    q_logits: bool
    p_logits: bool


class Work(NamedTuple):
    """Memory of a thread."""

    lanes: npt.NDArray[np.int64]  # (N_PLACES, group), addresses
    values: FloatArray  # (N_PLACES, CHUNK_ROWS, group)
    reference: FloatArray  # (2, group)
    mass: FloatArray  # (2, group), e and p of a row
    log_mass: FloatArray  # (2, group)
    partial: FloatArray  # (N_SUMS, group)
    parameters: FloatArray  # (4, group)
    cutoff: FloatArray  # (1,)


def work_for(dtype: np.dtype[Any]) -> Work:
    """Return memory for arrays of a type."""
    group = group_size(dtype)
    return Work(
        lanes=np.empty((N_PLACES, group), np.int64),
        values=np.empty((N_PLACES, CHUNK_ROWS, group), dtype),
        reference=np.empty((2, group), dtype),
        mass=np.empty((2, group), dtype),
        log_mass=np.empty((2, group), dtype),
        partial=np.empty((N_SUMS, group), dtype),
        parameters=np.empty((4, group), dtype),
        cutoff=np.array([SMALLEST_EXPONENT[dtype]], dtype),
    )


@kernel
def _load_chunk(layout: Any, operation: Any, first: Any, n_rows: Any, work: Any) -> None:
    values = work.values
    group = group_rows(values)
    zero = values.dtype.type(0)
    none = values.dtype.type(-np.inf)
    fill = none if operation.q_logits else zero  # what changes no sum
    load_rows_of_tile(layout, 0, work.lanes, first, n_rows, fill, values[0])
    if operation.form != SCALED and operation.form != PAIR:
        return
    fill = none if operation.p_logits else zero
    load_rows_of_tile(layout, 1, work.lanes, first, n_rows, fill, values[1])
    if operation.form == SCALED:  # a factor of zero counts for nothing, whatever it multiplies
        for r in range(n_rows):
            for i in range(group):
                values[0, r, i] = none if values[1, r, i] == zero else values[0, r, i]


@kernel
def _observe(values: Any, n_rows: Any, logits: Any, reference: Any) -> None:
    """Let the references rise to the largest logits, or fall to the smallest probabilities."""
    group = group_rows(values)
    for r in range(n_rows):
        if logits:
            for i in range(group):
                value = values[r, i]
                reference[i] = value if value > reference[i] else reference[i]
        else:
            for i in range(group):
                value = values[r, i]
                reference[i] = value if value < reference[i] else reference[i]


@kernel
def _weigh(values: Any, reference: Any, logits: Any, cutoff: Any, mass: Any, log_mass: Any) -> None:
    """Set mass and logarithm of a row: about the references where it is of logits."""
    group = group_rows(values)
    if logits:
        for i in range(group):
            difference = values[i] - reference[i]
            mass[i] = exp_nonpositive(difference, cutoff)
            log_mass[i] = difference
    else:
        for i in range(group):
            mass[i] = values[i]
            log_mass[i] = math.log(values[i])


@kernel
def _add_chunk(operation: Any, n_rows: Any, work: Any) -> None:
    values, partial, cutoff = work.values, work.partial, work.cutoff[0]
    group = group_rows(values)
    zero = values.dtype.type(0)
    e, log_e, p, log_p = work.mass[0], work.log_mass[0], work.mass[1], work.log_mass[1]
    partial[:] = zero
    for r in range(n_rows):
        _weigh(values[0, r], work.reference[0], operation.q_logits, cutoff, e, log_e)
        if operation.form == SUM_EXP or operation.form == SCALED:
            if operation.form == SCALED:
                for i in range(group):
                    e[i] *= values[1, r, i]
            for i in range(group):
                partial[0, i] += e[i] if log_e[i] < zero else zero
                partial[1, i] += zero if log_e[i] < zero else e[i]
            continue
        for i in range(group):  # 0 log 0 = 0
            partial[0, i] += e[i]
            partial[1, i] += zero if e[i] == zero else e[i] * log_e[i]
        if operation.form == PAIR:
            _weigh(values[1, r], work.reference[1], operation.p_logits, cutoff, p, log_p)
            for i in range(group):
                partial[2, i] += zero if e[i] == zero else e[i] * log_p[i]
                partial[3, i] += p[i]


@kernel
def _keep_references(layout: Any, is_logits: Any, n_lanes: Any, lanes: Any, kept: Any) -> None:
    for i in range(n_lanes):
        kept[i] = lanes[i]
    if layout.by_element:
        for i in range(1, len(lanes)):
            higher = lanes[i] > kept[0]
            if higher == is_logits:
                kept[0] = lanes[i]


@kernel
def reduce_slices(
    layout: Any,
    operation: Any,
    first_slice: Any,
    first_row: Any,
    last_row: Any,
    observes: Any,
    adds: Any,
    work: Any,
    references: Any,
    sums: Any,
) -> None:
    """Find the references, add up the sums, or both, of some rows of slices from ``first_slice``.

    ``references`` of shape (2, n_slices) and ``sums`` of shape (N_SUMS, n_slices) are float64; sums
    are about the references, taken as zero where they are infinite.
    """
    values, reference = work.values, work.reference
    group = group_rows(values)
    zero = values.dtype.type(0)
    n_inputs = 2 if operation.form == PAIR else 1
    step = 1 if layout.by_element else group
    n_slices = references.shape[1]
    for s in range(0, n_slices, step):
        n_lanes = min(step, n_slices - s)
        find_lanes(layout, first_slice + s, n_lanes, work.lanes)
        if observes:
            for k in range(n_inputs):
                logits = operation.q_logits if k == 0 else operation.p_logits
                reference[k] = -np.inf if logits else np.inf
            for r in range(first_row, last_row, CHUNK_ROWS):
                n_rows = min(CHUNK_ROWS, last_row - r)
                _load_chunk(layout, operation, r, n_rows, work)
                for k in range(n_inputs):
                    logits = operation.q_logits if k == 0 else operation.p_logits
                    _observe(values[k], n_rows, logits, reference[k])
            for k in range(n_inputs):
                logits = operation.q_logits if k == 0 else operation.p_logits
                _keep_references(layout, logits, n_lanes, reference[k], references[k, s:])
        if not adds:
            continue
        for k in range(n_inputs):
            for i in range(group):
                kept = references[k, s + min(i, n_lanes - 1)]
                reference[k, i] = kept if np.isfinite(kept) else zero
        for m in range(N_SUMS):
            for i in range(n_lanes):
                sums[m, s + i] = 0
        for r in range(first_row, last_row, CHUNK_ROWS):
            n_rows = min(CHUNK_ROWS, last_row - r)
            if not (observes and last_row - first_row <= CHUNK_ROWS):
                _load_chunk(layout, operation, r, n_rows, work)
            _add_chunk(operation, n_rows, work)
            for m in range(N_SUMS):
                for i in range(group):
                    if layout.by_element or i < n_lanes:
                        sums[m, s + (0 if layout.by_element else i)] += work.partial[m, i]


@kernel
def _map_rows(mapping: Any, n_rows: Any, work: Any) -> None:
    values, p, cutoff = work.values, work.parameters, work.cutoff[0]
    group = group_rows(values)
    zero = values.dtype.type(0)
    for r in range(n_rows):
        x, y, out0, out1 = values[0, r], values[1, r], values[2, r], values[3, r]
        if mapping == SOFTMAX:
            for i in range(group):
                out0[i] = exp_nonpositive(x[i] - p[0, i], cutoff) * p[1, i]
        elif mapping == LOG_SOFTMAX:
            for i in range(group):
                out0[i] = (x[i] - p[0, i]) - p[1, i]
        elif mapping == POSTERIOR_GRADIENT:
            for i in range(group):
                e = exp_nonpositive(x[i] - p[0, i], cutoff) * p[1, i]
                out0[i] = zero
                out1[i] = zero if p[1, i] == zero else e
        else:
            for i in range(group):
                d = x[i] - p[0, i]
                q = exp_nonpositive(d, cutoff) * p[2, i]
                q = zero if p[2, i] == zero else q  # skipped, NaN included
                slope = q * ((y[i] - p[1, i]) - d - p[3, i])
                out0[i] = zero if q == zero else slope
                out1[i] = q


@kernel
def map_slices(
    layout: Any,
    mapping: Any,
    first_slice: Any,
    first_row: Any,
    last_row: Any,
    work: Any,
    parameters: Any,
) -> None:
    """Fill the outputs of slices from their ``parameters`` of shape (4, n_slices), float64."""
    values = work.values
    group = group_rows(values)
    zero = values.dtype.type(0)
    step = 1 if layout.by_element else group
    n_slices = parameters.shape[1]
    n_operands = 2 if mapping == GRADIENT else 1
    n_outputs = 1 if mapping in (SOFTMAX, LOG_SOFTMAX) else 2
    for s in range(0, n_slices, step):
        n_lanes = min(step, n_slices - s)
        find_lanes(layout, first_slice + s, n_lanes, work.lanes)
        for m in range(4):
            for i in range(group):
                work.parameters[m, i] = parameters[m, s + min(i, n_lanes - 1)]
        for r in range(first_row, last_row, CHUNK_ROWS):
            n_rows = min(CHUNK_ROWS, last_row - r)
            for k in range(n_operands):
                load_rows_of_tile(layout, k, work.lanes, r, n_rows, zero, values[k])
            _map_rows(mapping, n_rows, work)
            for k in range(n_outputs):
                place = PLACE_OUT + k
                store_rows_of_tile(layout, place, work.lanes, n_lanes, r, n_rows, values[place])
