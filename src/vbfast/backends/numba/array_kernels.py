"""Reductions and maps of slices, the numerical part of the array functions, lanes across slices.

Everything is about a *reference* of each slice and input, its largest logit or its smallest
probability, which is found first. Of ``q``, the first input, ``e`` is then proportional to the
probability. The sums of a slice are, by the form of the reduction,

- ``SUM_EXP``: e below the reference, and at it; ``SCALED``: the same of ``b e``, b the other input,
  and b^2;
- ``SINGLE``: e, e log e, and of logits e below the reference;
- ``PAIR``, of q and p: e, e log e, e log p, p, and of logits of q e below the reference.

Sums over a few rows are of the type of the input, from there on float64, see ``array_sums.py``. The
formulae are those of csrc/kernels/arrays/operations-inl.h.
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
from vbfast.backends.numba.array_sums import add_chunk, finish_lanes
from vbfast.backends.numba.compiling import group_rows, group_size, kernel, larger, smaller
from vbfast.backends.numba.exponential import SMALLEST_EXPONENT, exp_nonpositive
from vbfast.backends.numba.memory import empty_lines
from vbfast.contract import Float64Array, FloatArray

__all__ = [
    "CHUNK_ROWS",
    "GRADIENT",
    "LOG_SOFTMAX",
    "N_SUMS",
    "PAIR",
    "POSTERIOR_GRADIENT",
    "PROBS_GRADIENT",
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
N_SUMS_OF = (2, 3, 3, 5)  # by form
SOFTMAX, LOG_SOFTMAX, POSTERIOR_GRADIENT, GRADIENT, PROBS_GRADIENT = range(5)

CHUNK_ROWS = 64
N_SUMS = max(N_SUMS_OF)


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
    mass: FloatArray  # (2, CHUNK_ROWS, group), e and p
    log_mass: FloatArray  # (2, CHUNK_ROWS, group)
    partial: FloatArray  # (N_SUMS, group), the sums of a chunk
    total: Float64Array  # (N_SUMS, group), of all chunks
    lost: Float64Array  # (N_SUMS, group), what they round away
    parameters: FloatArray  # (4, group)
    cutoff: FloatArray  # (1,)


def work_for(dtype: np.dtype[Any]) -> Work:
    """Return memory for arrays of a type."""
    group = group_size(dtype)
    return Work(
        lanes=np.empty((N_PLACES, group), np.int64),
        values=empty_lines((N_PLACES, CHUNK_ROWS, group), dtype),
        reference=empty_lines((2, group), dtype),
        mass=empty_lines((2, CHUNK_ROWS, group), dtype),
        log_mass=empty_lines((2, CHUNK_ROWS, group), dtype),
        partial=empty_lines((N_SUMS, group), dtype),
        total=empty_lines((N_SUMS, group), np.dtype(np.float64)),
        lost=empty_lines((N_SUMS, group), np.dtype(np.float64)),
        parameters=empty_lines((4, group), dtype),
        cutoff=np.array([SMALLEST_EXPONENT[dtype]], dtype),
    )


@kernel
def _load_chunk(layout: Any, operation: Any, first: Any, n_rows: Any, work: Any) -> Any:
    """Load rows, and fill them up to a multiple of four; returns their number."""
    values = work.values
    group = group_rows(values)
    zero = values.dtype.type(0)
    none = values.dtype.type(-np.inf)
    padded = (n_rows + 3) // 4 * 4
    n_inputs = 2 if operation.form == SCALED or operation.form == PAIR else 1
    for k in range(n_inputs):
        fill = none if (operation.q_logits if k == 0 else operation.p_logits) else zero
        load_rows_of_tile(layout, k, work.lanes, first, n_rows, fill, values[k])
        for r in range(n_rows, padded):
            for i in range(group):
                values[k, r, i] = fill
    if operation.form == SCALED:  # a factor of zero counts for nothing, whatever it multiplies
        for r in range(n_rows):
            for i in range(group):
                values[0, r, i] = none if values[1, r, i] == zero else values[0, r, i]
    return padded


# Four rows at a time: an accumulator is loaded and stored once for four times the arithmetic, and
# the loops become vector code. A NaN may hide other elements; it is all that is left of its slice.
@kernel
def _observe(values: Any, k: Any, n_rows: Any, logits: Any, reference: Any) -> None:
    """Let the references rise to the largest logits, or fall to the smallest probabilities."""
    group = group_rows(values)
    for r in range(0, n_rows, 4):
        if logits:
            for i in range(group):
                a = larger(values[k, r, i], values[k, r + 1, i])
                b = larger(values[k, r + 2, i], values[k, r + 3, i])
                reference[k, i] = larger(larger(a, b), reference[k, i])
        else:
            for i in range(group):
                a = smaller(values[k, r, i], values[k, r + 1, i])
                b = smaller(values[k, r + 2, i], values[k, r + 3, i])
                reference[k, i] = smaller(smaller(a, b), reference[k, i])


@kernel
def _weigh(
    values: Any,
    k: Any,
    n_rows: Any,
    logits: Any,
    reference: Any,
    cutoff: Any,
    mass: Any,
    log_mass: Any,
) -> None:
    """Set masses and their logarithms: about the references where they are of logits."""
    group = group_rows(values)
    for r in range(n_rows):
        if logits:
            for i in range(group):
                difference = values[k, r, i] - reference[k, i]
                mass[k, r, i] = exp_nonpositive(difference, cutoff)
                log_mass[k, r, i] = difference
        else:
            for i in range(group):
                mass[k, r, i] = values[k, r, i]
                log_mass[k, r, i] = math.log(values[k, r, i])


@kernel
def _add(terms: Any, k: Any, n_rows: Any, m: Any, partial: Any) -> None:
    group = group_rows(terms)
    for r in range(0, n_rows, 4):
        for i in range(group):
            partial[m, i] += (terms[k, r, i] + terms[k, r + 1, i]) + (
                terms[k, r + 2, i] + terms[k, r + 3, i]
            )


@kernel
def _add_products(mass: Any, log_mass: Any, k: Any, n_rows: Any, m: Any, partial: Any) -> None:
    """Add ``e`` times a logarithm, where 0 log 0 = 0."""
    group = group_rows(mass)
    zero = mass.dtype.type(0)
    for r in range(n_rows):
        for i in range(group):
            e = mass[0, r, i]
            log_mass[k, r, i] = zero if e == zero else e * log_mass[k, r, i]
    _add(log_mass, k, n_rows, m, partial)


@kernel
def _split_at_reference(values: Any, n_rows: Any, scaled: Any, mass: Any, log_mass: Any) -> None:
    """Replace mass and logarithm by the mass at the reference, NaN included, and below it."""
    group = group_rows(values)
    zero = values.dtype.type(0)
    for r in range(n_rows):
        if scaled:
            for i in range(group):
                mass[0, r, i] *= values[1, r, i]
        for i in range(group):
            e, below = mass[0, r, i], log_mass[0, r, i] < zero
            mass[0, r, i] = zero if below else e
            log_mass[0, r, i] = e if below else zero


@kernel
def _add_below(n_rows: Any, mass: Any, log_mass: Any, m: Any, partial: Any) -> None:
    """Add the mass below the reference, of which one beside it would lose the digits."""
    group = group_rows(mass)
    zero = mass.dtype.type(0)
    for r in range(n_rows):
        for i in range(group):
            mass[1, r, i] = mass[0, r, i] if log_mass[0, r, i] < zero else zero
    _add(mass, 1, n_rows, m, partial)


@kernel
def _add_squares(values: Any, n_rows: Any, log_mass: Any, m: Any, partial: Any) -> None:
    group = group_rows(values)
    for r in range(n_rows):
        for i in range(group):
            log_mass[1, r, i] = values[1, r, i] * values[1, r, i]
    _add(log_mass, 1, n_rows, m, partial)


@kernel
def _add_chunk(operation: Any, n_rows: Any, work: Any) -> None:
    values, reference, cutoff, partial = work.values, work.reference, work.cutoff[0], work.partial
    mass, log_mass = work.mass, work.log_mass
    partial[:] = 0
    _weigh(values, 0, n_rows, operation.q_logits, reference, cutoff, mass, log_mass)
    if operation.form == SUM_EXP or operation.form == SCALED:
        _split_at_reference(values, n_rows, operation.form == SCALED, mass, log_mass)
        _add(log_mass, 0, n_rows, 0, partial)
        _add(mass, 0, n_rows, 1, partial)
        if operation.form == SCALED:
            _add_squares(values, n_rows, log_mass, 2, partial)
        return
    _add(mass, 0, n_rows, 0, partial)
    if operation.q_logits:
        _add_below(n_rows, mass, log_mass, 4 if operation.form == PAIR else 2, partial)
    _add_products(mass, log_mass, 0, n_rows, 1, partial)
    if operation.form == PAIR:
        _weigh(values, 1, n_rows, operation.p_logits, reference, cutoff, mass, log_mass)
        _add_products(mass, log_mass, 1, n_rows, 2, partial)
        _add(mass, 1, n_rows, 3, partial)


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
        n_rows = 0
        if observes:
            for k in range(n_inputs):
                logits = operation.q_logits if k == 0 else operation.p_logits
                reference[k] = -np.inf if logits else np.inf
            for r in range(first_row, last_row, CHUNK_ROWS):
                n_rows = _load_chunk(layout, operation, r, min(CHUNK_ROWS, last_row - r), work)
                for k in range(n_inputs):
                    logits = operation.q_logits if k == 0 else operation.p_logits
                    _observe(values, k, n_rows, logits, reference)
            for k in range(n_inputs):
                logits = operation.q_logits if k == 0 else operation.p_logits
                _keep_references(layout, logits, n_lanes, reference[k], references[k, s:])
        if not adds:
            continue
        for k in range(n_inputs):
            for i in range(group):
                kept = references[k, s + min(i, n_lanes - 1)]
                reference[k, i] = kept if np.isfinite(kept) else zero
        n_sums = N_SUMS_OF[operation.form]
        if first_row == last_row:
            work.total[:] = 0
            work.lost[:] = 0
        for r in range(first_row, last_row, CHUNK_ROWS):
            if not (observes and last_row - first_row <= CHUNK_ROWS):  # else it is there
                n_rows = _load_chunk(layout, operation, r, min(CHUNK_ROWS, last_row - r), work)
            _add_chunk(operation, n_rows, work)
            add_chunk(work.partial, n_sums, r == first_row, work.total, work.lost)
        finish_lanes(
            work.partial, n_sums, n_lanes, work.total, work.lost, layout.by_element, sums[:, s:]
        )


@kernel
def _map_rows(mapping: Any, n_rows: Any, values: Any, p: Any, cutoff: Any) -> None:
    group = group_rows(values)
    zero = values.dtype.type(0)
    for r in range(n_rows):
        if mapping == SOFTMAX:
            for i in range(group):
                values[2, r, i] = exp_nonpositive(values[0, r, i] - p[0, i], cutoff) * p[1, i]
        elif mapping == LOG_SOFTMAX:
            for i in range(group):
                values[2, r, i] = (values[0, r, i] - p[0, i]) - p[1, i]
        elif mapping == POSTERIOR_GRADIENT:
            for i in range(group):
                q = exp_nonpositive(values[0, r, i] - p[0, i], cutoff) * p[1, i]
                values[2, r, i] = p[1, i] * zero
                values[3, r, i] = zero if p[1, i] == zero else q  # skipped, NaN included
        elif mapping == GRADIENT:
            for i in range(group):
                d = values[0, r, i] - p[0, i]
                q = exp_nonpositive(d, cutoff) * p[2, i]
                q = zero if p[2, i] == zero else q
                slope = q * ((values[1, r, i] - p[1, i]) - d - p[3, i])
                # Zero, but NaN in all of a slice whose bound is not finite.
                values[2, r, i] = p[3, i] * zero if q == zero else slope
                values[3, r, i] = q
        else:
            for i in range(group):
                q = zero if p[2, i] == zero else values[0, r, i] * p[2, i]
                d = math.log(values[0, r, i])
                slope = q * ((values[1, r, i] - p[1, i]) - d - p[3, i])
                values[2, r, i] = p[3, i] * zero if q == zero else slope
                values[3, r, i] = q


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
    n_operands = 2 if mapping in (GRADIENT, PROBS_GRADIENT) else 1
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
            _map_rows(mapping, n_rows, values, work.parameters, work.cutoff[0])
            for k in range(n_outputs):
                place = PLACE_OUT + k
                store_rows_of_tile(layout, place, work.lanes, n_lanes, r, n_rows, values[place])
