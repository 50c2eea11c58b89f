"""What follows from the sums of a slice: its results, the parameters of its map, its faults.

Results are the terms of the bound, numbered as the extension module's ``RESULTS``; a sum of
exponentials has its sign and the logarithm of the sum about the maximum in two of their places. The
formulae are those of csrc/arrays/run.cpp and the kernels that it calls.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vbfast.backends.numba.array_kernels import (
    GRADIENT,
    LOG_SOFTMAX,
    PAIR,
    PROBS_GRADIENT,
    SCALED,
    SINGLE,
    SOFTMAX,
    SUM_EXP,
)
from vbfast.backends.numba.array_layout import find_lanes, load_element
from vbfast.backends.numba.array_sums import add_term
from vbfast.backends.numba.compiling import kernel

__all__ = ["DISTRIBUTION", "NOTHING", "N_RESULTS", "PROPER", "finish_slices"]

LOG_EVIDENCE, ENTROPY, EXPECTED, KL, ELBO = range(5)
SIGN, LOG_SUM = ENTROPY, EXPECTED
N_RESULTS = 5

# What is demanded of an input: probabilities that sum to one; logits neither with +inf nor all
# -inf, unless those of p are, too.
NOTHING, DISTRIBUTION, PROPER = range(3)


LN2, LN2_HIGH, LN2_LOW = math.log(2), 0.6931471803691238, 1.9082149292705877e-10
# The least and the largest factor are 1e632 apart: of an exponential that is smaller yet, the
# product with a factor counts for nothing.
NEGLIGIBLE = -1500.0


@kernel
def _finish_exponentials(reference: Any, below: Any, at: Any, result: Any) -> None:
    """Set the logarithm of the sum as SciPy does: log|at| + log1p(below / at).

    But only where the rest is small: of a larger one these may be large numbers that cancel.
    """
    ratio = below / at
    if at == 0 or not abs(ratio) < 0.5:
        total = at + below
        log_sum = math.log(abs(total))
        sign = 1.0 if total > 0 else -1.0 if total < 0 else total * 0
    else:
        log_sum = math.log(abs(at)) + math.log1p(ratio)
        sign = 1.0 if at > 0 else -1.0
    result[LOG_EVIDENCE] = reference + log_sum if reference > -np.inf else log_sum
    result[SIGN] = sign
    result[LOG_SUM] = log_sum


@kernel
def _log_sum(total: Any, below: Any) -> Any:
    """Return the logarithm of a sum about its largest term, of which the others are a part.

    Below two there is one that is largest, and the sum may have lost the digits of the rest.
    """
    return math.log1p(below) if total < 2 else math.log(total)


@kernel
def _finish_logits(reference: Any, total: Any, moment: Any, below: Any, result: Any) -> None:
    """Set the bound at the posterior; both terms of the entropy are positive: nothing cancels."""
    nan = total * 0
    evidence, entropy = -np.inf, 0.0
    if total > 0:
        evidence = reference + _log_sum(total, below)
        entropy = _log_sum(total, below) - moment / total
    result[LOG_EVIDENCE] = result[ELBO] = evidence + nan
    result[ENTROPY] = entropy + nan
    result[EXPECTED] = evidence - entropy + nan
    result[KL] = nan


@kernel
def _finish_pair(reference: Any, sums: Any, operation: Any, result: Any) -> None:
    s0, s1, s2, s3 = sums[0], sums[1], sums[2], sums[3]
    nan = (s0 + s1) * 0
    any_nan = nan + s3 * 0
    base = reference if operation.p_logits else 0.0
    evidence, entropy, expected, kl, bound = -np.inf, 0.0, -np.inf, 0.0, -np.inf
    if s3 > 0:
        log_q = _log_sum(s0, sums[4]) if operation.q_logits else math.log(s0)
        log_p = math.log(s3)
        evidence = base + log_p
        entropy = max(0.0, log_q - s1 / s0)
        expected = base + s2 / s0
        kl = max(0.0, (s1 - s2) / s0 - log_q + log_p)
        bound = expected + entropy
        if s0 == 0:  # q of nothing but -inf is no distribution
            kl = np.nan
    result[LOG_EVIDENCE] = evidence + any_nan
    result[ENTROPY] = entropy + nan
    result[EXPECTED] = expected + any_nan
    result[KL] = kl + any_nan
    result[ELBO] = bound + any_nan


@kernel
def _has_nan(layout: Any, place: Any, work: Any) -> Any:
    """Tell whether the first slice of ``work.lanes`` has a NaN."""
    like = work.values[0, 0, 0]
    for n in range(layout.n_elements):
        if np.isnan(load_element(layout, place, work.lanes, n, like)):
            return True
    return False


@kernel
def _scaled_sums_hold(reference: Any, sums: Any, is_double: Any) -> Any:
    """Tell whether the sums of b exp(a) hold.

    Not where a factor is infinite, or where exponentials that were taken for zero, below 1e-307
    (4e-38), could have counted, or where the sum cancelled or rounded to nothing.
    """
    wide, least, part = (1e200, 1e-290, 1e-200) if is_double else (1e30, 1e-30, 1e-30)
    total = sums[0] + sums[1]
    if reference == -np.inf:
        return sums[2] < wide
    known = reference < np.inf and sums[2] < wide
    return known and abs(total) > least and total * total > part * sums[2]


@kernel
def _scaled_term(b: Any, d: Any) -> Any:
    """Return b exp(d), for ``NEGLIGIBLE < d <= 0``, as a factor and an exponent of two."""
    n = np.int64(math.floor(d / LN2 + 0.5))
    factor, exponent = math.frexp(b)
    return factor * math.exp((d - n * LN2_HIGH) - n * LN2_LOW), exponent + n


@kernel
def _settle_scaled(layout: Any, number: Any, work: Any, result: Any) -> None:
    """Set a sum of b exp(a) from terms whose exponents are kept apart.

    Infinities are limits, where there is one: b = inf or a = inf make the sum infinite, of both
    signs it is NaN, and so is inf exp(-inf). Elements of b = 0 count for nothing.
    """
    like = work.values[0, 0, 0]
    find_lanes(layout, number, 1, work.lanes)
    nan: Any = False
    positive: Any = False
    negative: Any = False
    largest = -np.inf
    for n in range(layout.n_elements):
        a = np.float64(load_element(layout, 0, work.lanes, n, like))
        b = np.float64(load_element(layout, 1, work.lanes, n, like))
        if b == 0:
            continue
        nan = nan or np.isnan(a) or np.isnan(b) or (np.isinf(b) and a == -np.inf)
        if a == np.inf or np.isinf(b):
            positive, negative = positive or b > 0, negative or b < 0
        if np.isfinite(a):
            largest = max(largest, a)
    log_sum, sign = -np.inf, 0.0
    if nan or (positive and negative):
        log_sum = sign = np.nan
    elif positive or negative:
        log_sum, sign = np.inf, 1.0 if positive else -1.0
    elif largest > -np.inf:
        highest = np.int64(-(1 << 30))
        for n in range(layout.n_elements):
            d = np.float64(load_element(layout, 0, work.lanes, n, like)) - largest
            b = np.float64(load_element(layout, 1, work.lanes, n, like))
            if b != 0 and d > NEGLIGIBLE:
                highest = max(highest, _scaled_term(b, d)[1])
        total, lost = 0.0, 0.0
        for n in range(layout.n_elements):
            d = np.float64(load_element(layout, 0, work.lanes, n, like)) - largest
            b = np.float64(load_element(layout, 1, work.lanes, n, like))
            if b != 0 and d > NEGLIGIBLE:
                factor, exponent = _scaled_term(b, d)
                total, lost = add_term(total, lost, math.ldexp(factor, exponent - highest))
        total += lost
        log_sum = largest + (highest * LN2 + math.log(abs(total)))
        sign = 1.0 if total > 0 else -1.0 if total < 0 else 0.0
    result[LOG_EVIDENCE] = result[LOG_SUM] = log_sum
    result[SIGN] = sign


@kernel
def _settle_overflow(
    layout: Any, operation: Any, number: Any, references: Any, sums: Any, work: Any, result: Any
) -> None:
    """Set what a sum of q log p tells that only overflowed.

    The sums are changed, too, such that gradients follow from them, about the expected logit in the
    place of the largest. Where q has mass on -inf, or there is a NaN, nothing changes.
    """
    if not (np.isfinite(references[0]) and np.isfinite(references[1])):
        return
    like = work.values[0, 0, 0]
    cutoff = work.cutoff[0]
    find_lanes(layout, number, 1, work.lanes)
    total, lost = 0.0, 0.0  # in float64: what is lost beside one is lost of the largest numbers
    for n in range(layout.n_elements):
        e: Any = np.float64(load_element(layout, 0, work.lanes, n, like))
        p = load_element(layout, 1, work.lanes, n, like)
        if operation.q_logits:
            d = e - references[0]
            e = 0.0 if d < cutoff else math.exp(d)
        if np.isnan(p) or np.isnan(e) or (e > 0 and p == -np.inf):
            return
        total, lost = add_term(total, lost, e)
    total += lost
    # Halves, since the distance of two numbers may be larger than any.
    half_evidence = result[LOG_EVIDENCE] / 2
    half, half_lost, half_kl, half_kl_lost = 0.0, 0.0, 0.0, 0.0
    for n in range(layout.n_elements):
        q: Any = np.float64(load_element(layout, 0, work.lanes, n, like))
        half_p = np.float64(load_element(layout, 1, work.lanes, n, like)) / 2
        d = q - references[0] if operation.q_logits else math.log(q)
        if operation.q_logits:
            q = 0.0 if d < cutoff else math.exp(d)
        share = q / total
        if share == 0:
            continue
        half, half_lost = add_term(half, half_lost, share * half_p)
        of_kl = share * ((d - math.log(total)) / 2 + (half_evidence - half_p))
        half_kl, half_kl_lost = add_term(half_kl, half_kl_lost, of_kl)
    expected = 2 * (half + half_lost)
    result[EXPECTED] = expected
    result[ELBO] = expected + result[ENTROPY]
    result[KL] = max(0.0, 2 * (half_kl + half_kl_lost))
    references[1] = work.values.dtype.type(expected)
    sums[2] = sums[0] * (expected - references[1])


@kernel
def _settle_infinite(
    layout: Any, operation: Any, number: Any, references: Any, work: Any, result: Any
) -> None:
    """Settle what the sums cannot tell of a slice that has +inf among its logits."""
    pair = operation.form == PAIR
    is_logits = operation.p_logits if pair else operation.q_logits
    if not is_logits or references[1 if pair else 0] != np.inf:
        if pair and operation.q_logits and references[0] == np.inf:
            # q that is +inf somewhere is no distribution.
            result[ENTROPY] = result[EXPECTED] = result[KL] = result[ELBO] = np.nan
        return
    find_lanes(layout, number, 1, work.lanes)
    value = np.nan if _has_nan(layout, 1 if pair else 0, work) else np.inf
    result[LOG_EVIDENCE] = value
    if operation.form == SUM_EXP:
        result[LOG_SUM] = value
        result[SIGN] = value if np.isnan(value) else 1.0
        return
    if operation.form == SINGLE:
        result[ENTROPY] = np.nan
    result[EXPECTED] = result[KL] = result[ELBO] = np.nan


@kernel
def _fault(operation: Any, demand: Any, k: Any, references: Any, sums: Any, tolerance: Any) -> Any:
    """Return the least probability and the sum of an input, (0, 1) where it does not matter."""
    reference = references[k]
    minimum, total = 0.0, 1.0
    if demand == DISTRIBUTION:
        minimum = min(reference, 0.0)
        total = sums[0] if k == 0 else sums[3]
    elif demand == PROPER:
        excused = operation.p_logits and references[1] == -np.inf and sums[3] == 0
        if reference == np.inf:
            total = np.inf
        elif reference == -np.inf and sums[0] == 0 and not excused:
            total = 0.0
    off = abs(total - 1) > tolerance  # a NaN is no error
    return minimum < 0 or off, minimum, total


@kernel
def _find_parameters(
    mapping: Any, weight: Any, references: Any, sums: Any, log_sum: Any, parameters: Any
) -> None:
    """Set what the map of a slice takes.

    The bound's gradient is zero in a slice of zero weight, or whose log-joint is -inf throughout.
    Where the bound is not finite otherwise, that in the logits of q is NaN; that in the log-joint
    is q, NaN only where q is.
    """
    reference = references[0]
    finite = np.isfinite(reference)
    parameters[0] = reference if finite else 0.0
    if mapping == SOFTMAX:  # SciPy's answer for a slice without a finite maximum is NaN
        parameters[1] = 1 / sums[0] if finite else np.nan
    elif mapping == LOG_SOFTMAX:
        parameters[1] = log_sum
    elif mapping in (GRADIENT, PROBS_GRADIENT):
        joint = references[1]
        gap = sums[2] - sums[1]
        defined = finite and np.isfinite(joint) and np.isfinite(gap) and np.isfinite(sums[3])
        scale = weight / sums[0] if finite else np.nan
        skipped = weight == 0 or (joint < 0 and sums[3] == 0)
        parameters[1] = joint if defined else 0.0
        parameters[2] = 0.0 if skipped else scale
        parameters[3] = 0.0 if skipped else gap / sums[0] if defined else np.nan
    else:
        scale = weight / sums[0]
        if not finite:
            scale = 0.0 if reference < 0 and sums[0] == 0 else np.nan
        parameters[1] = 0.0 if weight == 0 else scale


@kernel
def finish_slices(
    layout: Any,
    operation: Any,
    mapping: Any,
    demands: Any,
    tolerances: Any,
    first_slice: Any,
    weights: Any,
    references: Any,
    sums: Any,
    work: Any,
    results: Any,
    parameters: Any,
    fault: Any,
) -> None:
    """Fill ``results`` of shape (N_RESULTS, n_slices), and ``parameters`` of shape (4, n_slices).

    ``mapping`` is -1 for none. Without ``weights``, of length zero, they are one each. Of the first
    slice that fails a demand, ``fault`` takes its number, the input, its minimum and its sum.
    """
    result = np.empty(N_RESULTS)
    for s in range(references.shape[1]):
        own, reference = sums[:, s], references[:, s]
        weight = weights[s] if len(weights) > 0 else 1.0
        if operation.form == PAIR:
            _finish_pair(reference[1], own, operation, result)
        elif operation.form != SINGLE:
            _finish_exponentials(reference[0], own[0], own[1], result)
        elif operation.q_logits:
            _finish_logits(reference[0], own[0], own[1], own[2], result)
        else:
            result[:] = 0
            nan = (own[0] + own[1]) * 0
            result[ENTROPY] = max(0.0, math.log(own[0]) - own[1] / own[0]) + nan
        number = first_slice + s
        if operation.form == SCALED:
            if not _scaled_sums_hold(reference[0], own, work.values.itemsize == 8):
                _settle_scaled(layout, number, work, result)
        elif reference[0] == np.inf or (operation.form == PAIR and reference[1] == np.inf):
            _settle_infinite(layout, operation, number, reference, work, result)
        elif operation.form == PAIR and operation.p_logits and not np.isfinite(own[2]):
            _settle_overflow(layout, operation, number, reference, own, work, result)
        for k in range(2):
            if weight != 0 and fault[0] < 0:
                bad, minimum, total = _fault(
                    operation, demands[k], k, reference, own, tolerances[k]
                )
                if bad:
                    fault[0], fault[1], fault[2], fault[3] = number, k, minimum, total
        if mapping >= 0:
            _find_parameters(mapping, weight, reference, own, result[LOG_SUM], parameters[:, s])
        for term in range(N_RESULTS):
            results[term, s] = 0.0 if weight == 0 else weight * result[term]
