"""Reductions and maps of boxes: the numerical part of the array functions, in lanes.

Everything is about a *reference* of each slice and input, its largest logit; of probabilities it
tells minus the smallest one. Of an input, ``e`` is proportional to the probability and ``d`` its
logarithm. The sums of a slice, of the first input q and the second one p, are by its form

- ``SUM_EXP``: e of q at the reference, and below it;
- ``SINGLE``: these, and e d; ``PAIR``: these, and e of q times d of p, and e of p;
- ``SCALED``: as ``SUM_EXP``, but of b e, and b^2, where b is the second input.

Rounding does not grow with the length of a slice. Of many equal numbers that are added one after
another, all roundings go the same way: a chain is of a few rows, in the type of the input. From
chain to chain, in float64, what an addition rounds away is kept apart, and lanes are added by
halves. The formulae are those of csrc/kernels/arrays.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from vbfast.backends.numba.blocking import CHAIN_ROWS
from vbfast.backends.numba.compiling import group_rows, kernel, larger
from vbfast.backends.numba.exponential import exp_nonpositive
from vbfast.contract import FloatArray

__all__ = ["Box", "Operation", "add_sums", "find_references", "finish_slices", "map_elements"]

SUM_EXP, SINGLE, PAIR, SCALED = range(4)  # forms
SOFTMAX, LOG_SOFTMAX, GRADIENT, NOTHING = range(4)  # maps, the first as the extension module's
# The state of a slice: sums, in places that forms share, and references.
TOP, BELOW, MOMENT, CROSS, P_MASS, REFERENCE, P_REFERENCE = range(7)
SQUARES = MOMENT
N_SUMS, N_STATES = 5, 7
N_SUMS_OF = (2, 3, 5, 3)  # by form

# Results, numbered as the extension module's; a sum has its sign in the place of the entropy.
EVIDENCE, ENTROPY, EXPECTED, KL, BOUND = range(5)
SIGN = ENTROPY
N_RESULTS = 5


class Operation(NamedTuple):
    """What is done with slices."""

    form: int
    q_logits: bool = True
    p_logits: bool = False
    mapping: int = NOTHING
    cutoff: Any = None  # of the inputs' type: exp is zero below


class Box(NamedTuple):
    """Some elements of some slices, in *tiles* of *rows* of lanes.

    By slice, each is a tile whose elements go round the lanes. Otherwise a row has an element of
    all slices, and a tile is a group of slices, each a lane.
    """

    x: FloatArray  # of the first input; (n_slices, n_elements) by slice, otherwise transposed
    y: FloatArray  # of the second one, or an output
    by_slice: bool


@kernel
def _tiling(box: Any) -> Any:
    """Return how many slices a tile has, and how many rows."""
    group = group_rows(box.x)
    if box.by_slice:
        return 1, (box.x.shape[1] + group - 1) // group
    return group, len(box.x)


@kernel
def _row(box: Any, values: Any, s: Any, r: Any) -> Any:
    """Return a row of the tile that begins with slice ``s``: a group of lanes, or what is left."""
    group = group_rows(values)
    if box.by_slice:
        return values[s, r * group : (r + 1) * group]
    return values[r, s : s + group]


# A NaN may hide other elements; it is all that is left of its slice.
@kernel
def find_references(box: Any, operation: Any, states: Any) -> None:
    """Set the references in float64 ``states`` of shape (n_slices, N_STATES)."""
    lanes = np.empty(group_rows(box.x), box.x.dtype)
    n_slices, n_rows = _tiling(box)
    for k in range(2 if operation.form == PAIR else 1):
        values, is_logits = (box.y, operation.p_logits) if k else (box.x, operation.q_logits)
        sign = box.x.dtype.type(1 if is_logits else -1)
        for s in range(0, len(states), n_slices):
            lanes[:] = -np.inf
            for r in range(n_rows):
                row = _row(box, values, s, r)
                for i in range(len(row)):
                    lanes[i] = larger(sign * row[i], lanes[i])
            half = len(lanes) // 2 if box.by_slice else 0
            while half > 0:
                for i in range(half):
                    lanes[i] = larger(lanes[i + half], lanes[i])
                half //= 2
            for i in range(min(n_slices, len(states) - s)):
                states[s + i, REFERENCE + k] = lanes[i]


@kernel
def _weigh(x: Any, is_logits: Any, reference: Any, cutoff: Any, e: Any, d: Any) -> None:
    """Set what is proportional to probabilities, and logarithms; of logits about references."""
    zero = x.dtype.type(0)
    if is_logits:
        for i in range(len(x)):
            difference = x[i] - reference[i]
            d[i] = zero if difference > zero else difference  # about +inf there is but NaN to see
            e[i] = exp_nonpositive(d[i], cutoff)
    else:
        for i in range(len(x)):
            e[i] = x[i]
            d[i] = math.log(x[i])


@kernel
def _add_row(operation: Any, x: Any, y: Any, references: Any, work: Any, chain: Any) -> None:
    """Add a row to sums of shape (N_SUMS, group)."""
    n, zero = len(x), x.dtype.type(0)
    e, d, e_of_p, d_of_p = work[0], work[1], work[2], work[3]
    _weigh(x, operation.q_logits, references[0], operation.cutoff, e, d)
    if operation.form == SCALED:
        for i in range(n):
            e[i] *= y[i]
            chain[SQUARES, i] += y[i] * y[i]
    for i in range(n):
        is_below = d[i] < zero
        chain[TOP, i] += zero if is_below else e[i]  # NaN included
        chain[BELOW, i] += e[i] if is_below else zero
    if operation.form == SINGLE or operation.form == PAIR:
        for i in range(n):
            chain[MOMENT, i] += zero if e[i] == zero else e[i] * d[i]  # 0 log 0 = 0
    if operation.form == PAIR:
        _weigh(y, operation.p_logits, references[1], operation.cutoff, e_of_p, d_of_p)
        for i in range(n):
            chain[CROSS, i] += zero if e[i] == zero else e[i] * d_of_p[i]
            chain[P_MASS, i] += e_of_p[i]


@kernel
def _add_chain(chain: Any, n_sums: Any, total: Any, lost: Any) -> None:
    """Add to sums, and to what these round away (Knuth 1997, section 4.2.2)."""
    for m in range(n_sums):
        for i in range(group_rows(chain)):
            term, before = np.float64(chain[m, i]), total[m, i]
            after = before + term
            added = after - before
            lost[m, i] += (before - (after - added)) + (term - added)
            total[m, i] = after
            chain[m, i] = 0


@kernel
def _finish_sums(by_slice: Any, n_sums: Any, total: Any, lost: Any, states: Any) -> None:
    """Set the sums of the slices of a tile; ``total`` and ``lost`` are zero then."""
    for m in range(n_sums):
        for i in range(total.shape[1]):
            # Beside a sum that is infinite or NaN there is nothing to know of its rounding.
            total[m, i] += lost[m, i] if np.isfinite(total[m, i]) else 0.0
        half = total.shape[1] // 2 if by_slice else 0
        while half > 0:
            for i in range(half):
                total[m, i] += total[m, i + half]
            half //= 2
        for i in range(len(states)):
            states[i, m] = total[m, i]
    total[:n_sums] = 0
    lost[:n_sums] = 0


@kernel
def add_sums(box: Any, operation: Any, states: Any) -> None:
    """Set the sums in ``states``, about the references, taken as zero where they are infinite."""
    group, dtype = group_rows(box.x), box.x.dtype
    references, work = np.empty((2, group), dtype), np.empty((4, group), dtype)
    chain = np.zeros((N_SUMS, group), dtype)
    total, lost = np.zeros((N_SUMS, group)), np.zeros((N_SUMS, group))
    n_sums = N_SUMS_OF[operation.form]
    n_slices, n_rows = _tiling(box)
    for s in range(0, len(states), n_slices):
        own = states[s : s + n_slices]
        for k in range(2):
            for i in range(len(own)):
                reference = own[i, REFERENCE + k]
                references[k, i] = reference if np.isfinite(reference) else 0.0
            if box.by_slice:
                references[k] = references[k, 0]
        for r in range(n_rows):
            x, y = _row(box, box.x, s, r), _row(box, box.y, s, r)
            _add_row(operation, x, y, references, work, chain)
            if r % CHAIN_ROWS == CHAIN_ROWS - 1 or r == n_rows - 1:
                _add_chain(chain, n_sums, total, lost)
        _finish_sums(box.by_slice, n_sums, total, lost, own)


@kernel
def _log_sum(state: Any) -> Any:
    """Return a logarithm; below two a sum has one largest term, and may have lost the rest."""
    total = state[TOP] + state[BELOW]
    return math.log1p(state[BELOW]) if 0 < total < 2 else math.log(total)


@kernel
def _finish_scaled(state: Any, operation: Any, result: Any) -> Any:
    """Set the logarithm as SciPy does, log|top| + log1p(below / top), and return whether it holds.

    But only where what is below is small: of a larger one these may be large numbers that cancel.
    A sum does not hold where a factor is infinite, or where exponentials that were taken for zero,
    below 1e-307 (4e-38), could have counted, or where the sum cancelled or rounded to nothing.
    """
    reference, top, below = state[REFERENCE], state[TOP], state[BELOW]
    total = top + below
    logarithm = math.log(abs(total))
    if abs(below) < 0.5 * abs(top):
        logarithm = math.log(abs(top)) + math.log1p(below / top)
    result[EVIDENCE] = reference + logarithm if reference > -np.inf else logarithm
    result[SIGN] = np.sign(total)
    is_double = operation.cutoff < -100
    wide, least, part = (1e200, 1e-290, 1e-200) if is_double else (1e30, 1e-30, 1e-30)
    known = reference < np.inf and state[SQUARES] < wide
    sound = abs(total) > least and total * total > part * state[SQUARES]
    return known and (sound or reference == -np.inf)


@kernel
def _finish_single(state: Any, operation: Any, result: Any) -> Any:
    """Set the bound at the posterior; of logits both terms of the entropy are positive."""
    reference, total, moment = state[REFERENCE], state[TOP] + state[BELOW], state[MOMENT]
    logarithm = _log_sum(state) if operation.q_logits else math.log(total)
    evidence = reference + logarithm
    entropy = max(0.0, logarithm - moment / total) if total > 0 else 0.0
    undefined = np.nan if operation.q_logits and reference == np.inf else (total + moment) * 0
    result[EVIDENCE] = evidence
    result[ENTROPY] = entropy + undefined
    result[EXPECTED] = evidence - entropy + undefined
    result[KL] = undefined
    result[BOUND] = evidence + undefined
    if operation.form == SUM_EXP:
        result[SIGN] = np.sign(total)
    return True


@kernel
def _finish_pair(state: Any, operation: Any, result: Any) -> Any:
    """Set all terms, and return whether they hold: the sum of q log p may have overflowed."""
    q_mass, moment, cross = state[TOP] + state[BELOW], state[MOMENT], state[CROSS]
    reference, joint, p_mass = state[REFERENCE], state[P_REFERENCE], state[P_MASS]
    nan = (q_mass + moment) * 0
    any_nan = nan + p_mass * 0
    base = joint if operation.p_logits else 0.0
    log_p = math.log(p_mass)
    entropy, expected, kl = 0.0, -np.inf, 0.0  # of a log-joint that is -inf throughout
    if p_mass > 0:
        log_q = _log_sum(state) if operation.q_logits else math.log(q_mass)
        entropy = max(0.0, log_q - moment / q_mass)
        expected = base + cross / q_mass
        kl = max(0.0, (moment - cross) / q_mass - log_q + log_p) if q_mass > 0 else np.nan
    if operation.q_logits and reference == np.inf:
        entropy = np.nan
    if base == np.inf or np.isnan(entropy):
        expected = kl = np.nan
    result[EVIDENCE] = base + log_p + any_nan
    result[ENTROPY] = entropy + nan
    result[EXPECTED] = expected + any_nan
    result[KL] = kl + any_nan
    result[BOUND] = expected + entropy + any_nan
    finite = np.isfinite(reference * 0 + joint * 0 + any_nan)
    return np.isfinite(cross) or not (operation.p_logits and finite)


@kernel
def finish_slices(operation: Any, states: Any, results: Any, settled: Any) -> None:
    """Fill ``results`` of shape (n_slices, N_RESULTS), and tell which slices are ``settled``."""
    for s in range(len(states)):
        if operation.form == SCALED:
            settled[s] = _finish_scaled(states[s], operation, results[s])
        elif operation.form == PAIR:
            settled[s] = _finish_pair(states[s], operation, results[s])
        else:
            settled[s] = _finish_single(states[s], operation, results[s])


@kernel
def _find_parameters(operation: Any, weight: Any, state: Any) -> Any:
    """Return what the map of a slice takes.

    These are the reference of q; that of p, or for log-softmax the logarithm of the sum; the scale
    of q; and the mean of log p - log q. The bound's gradient is zero in a slice of zero weight, or
    whose log-joint is -inf throughout. Where the bound is not finite otherwise, that in the logits
    of q is NaN; that in the log-joint is q, NaN only where q is.
    """
    reference, mass, gap = state[REFERENCE], state[TOP] + state[BELOW], 0.0
    finite = np.isfinite(reference)
    base = joint = reference if finite else 0.0
    scale = weight / mass if finite else np.nan
    if operation.mapping == LOG_SOFTMAX:
        joint = _log_sum(state) if finite else reference + mass * 0
    elif operation.mapping == GRADIENT:
        impossible = reference < 0 and mass == 0
        if operation.form == PAIR:
            joint, gap = state[P_REFERENCE], (state[CROSS] - state[MOMENT]) / mass
            impossible = joint < 0 and state[P_MASS] == 0
            if not (finite and np.isfinite(joint) and np.isfinite(gap + state[P_MASS])):
                joint, gap = 0.0, np.nan
        if weight == 0 or impossible:
            scale, gap = 0.0, 0.0
    return base, joint, scale, gap


@kernel
def _map_row(operation: Any, x: Any, y: Any, p: Any, work: Any) -> None:
    """Replace a row by that of the outputs; ``p`` of shape (4, group) are parameters."""
    zero = x.dtype.type(0)
    if operation.mapping == LOG_SOFTMAX:
        for i in range(len(x)):
            x[i] = (x[i] - p[0, i]) - p[1, i]
        return
    e, d = work[0], work[1]
    _weigh(x, operation.q_logits, p[0], operation.cutoff, e, d)
    if operation.mapping == SOFTMAX:
        for i in range(len(x)):
            x[i] = e[i] * p[2, i]
    else:
        for i in range(len(x)):
            q = zero if p[2, i] == zero else e[i] * p[2, i]  # skipped, NaN included
            slope = q * ((y[i] - p[1, i]) - d[i] - p[3, i])
            # Zero, but NaN in all of a slice whose bound is not finite.
            x[i] = p[3, i] * zero if q == zero else slope
            y[i] = q


@kernel
def map_elements(box: Any, operation: Any, weights: Any, states: Any) -> None:
    """Replace elements by the outputs."""
    group, dtype = group_rows(box.x), box.x.dtype
    p, work = np.empty((4, group), dtype), np.empty((2, group), dtype)
    n_slices, n_rows = _tiling(box)
    for s in range(0, len(states), n_slices):
        for i in range(min(n_slices, len(states) - s)):
            own = _find_parameters(operation, weights[s + i], states[s + i])
            p[0, i], p[1, i], p[2, i], p[3, i] = own
        for m in range(4 if box.by_slice else 0):
            p[m] = p[m, 0]
        for r in range(n_rows):
            _map_row(operation, _row(box, box.x, s, r), _row(box, box.y, s, r), p, work)
