"""Slices that their sums do not settle: terms are far apart, or the sum of q log p overflows.

They are rare, and settled by NumPy in float64 from their elements, which come in parts, range after
range: both inputs' of shape (n_slices, n). The formulae are those of csrc/arrays/settle.cpp.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from vbfast.backends.numba import array_kernels as kernels
from vbfast.backends.numba.array_kernels import Operation
from vbfast.contract import Float64Array

__all__ = ["settle_overflow", "settle_scaled"]

LN2, LN2_HIGH, LN2_LOW = math.log(2), 0.6931471803691238, 1.9082149292705877e-10
# The least and the largest factor are 1e632 apart: of an exponential that is smaller yet, the
# product with a factor counts for nothing.
NEGLIGIBLE = -1500.0
LOWEST, NO_EXPONENT = np.finfo(np.float64).min, np.int32(-(1 << 30))

Parts = Callable[[], Iterator[Sequence[Float64Array]]]
Rows = Float64Array  # one of each slice


def _exact_sum(terms: list[float]) -> float:
    try:
        return math.fsum(terms)
    except (OverflowError, ValueError):  # too large; infinities of both signs
        return float(np.sum(terms))


def _exact_sums(parts: Iterable[Float64Array]) -> Float64Array:
    of_parts = zip(*([_exact_sum(row) for row in part.tolist()] for part in parts), strict=True)
    return np.array([_exact_sum(list(row)) for row in of_parts])


def _scaled_terms(a: Rows, b: Rows, base: Rows) -> tuple[Rows, ...]:
    """Return b exp(a - base) as factors and exponents of two, the least one of a factor of zero."""
    d = a - base
    n = np.rint(np.clip(d, NEGLIGIBLE, 0) / LN2)
    factors, exponents = np.frexp(b)
    exponentials = np.exp((d - n * LN2_HIGH) - n * LN2_LOW)  # zero, too, where they are negligible
    factors = np.where(np.isinf(b) & np.isfinite(a), b, factors * exponentials)
    counts = (factors != 0) & np.isfinite(factors)
    return factors, np.where(counts, exponents + n.astype(np.int32), NO_EXPONENT)


@np.errstate(all="ignore")
def settle_scaled(_: Operation, parts: Parts, __: Rows, results: Rows) -> None:
    """Settle sums of b exp(a), where a = -inf if b = 0, with the exponents of terms kept apart.

    Infinities are limits, where there is one: b = inf or a = inf make the sum infinite, of both
    signs it is NaN, and so is inf exp(-inf).
    """
    largest = [np.where(np.isfinite(a), a, LOWEST).max(axis=1) for a, _ in parts()]
    base = np.max(largest, axis=0)[:, np.newaxis]
    exponents = (_scaled_terms(a, b, base)[1] for a, b in parts())
    highest = np.max([each.max(axis=1) for each in exponents], axis=0)[:, np.newaxis]
    terms = (_scaled_terms(a, b, base) for a, b in parts())
    total = _exact_sums(np.ldexp(factors, own - highest) for factors, own in terms)
    of_two = highest[:, 0] * LN2 + np.log(np.abs(total))
    results[:, kernels.EVIDENCE], results[:, kernels.SIGN] = base[:, 0] + of_two, np.sign(total)


@np.errstate(all="ignore")
def settle_overflow(operation: Operation, parts: Parts, states: Rows, results: Rows) -> None:
    """Settle terms of the bound, whose expected log-joint is -inf where q has mass on -inf.

    Where it is finite, sums are then about it in the place of the largest logit.
    """

    def masses(q: Float64Array) -> tuple[Float64Array, Float64Array]:
        d = q - states[:, [kernels.REFERENCE]] if operation.q_logits else np.log(q)
        return np.where(d < operation.cutoff, 0, np.exp(d)) if operation.q_logits else q, d

    impossible = [((p == -np.inf) & (masses(q)[0] > 0)).any(axis=1) for q, p in parts()]
    if np.any(impossible, axis=0).all():
        return  # the sums tell it
    # Again: what is lost beside one is lost of the largest numbers.
    total = _exact_sums(masses(q)[0] for q, _ in parts())[:, np.newaxis]
    # Halves, since the distance of two numbers may be larger than any.
    half_evidence = results[:, [kernels.EVIDENCE]] / 2

    def halves(q: Float64Array, p: Float64Array) -> Float64Array:
        e, d = masses(q)
        distance = (d - np.log(total)) / 2 + (half_evidence - p / 2)
        share = e / total
        return np.concatenate([np.where(share == 0, 0, share * each) for each in (p / 2, distance)])

    expected, kl = 2 * _exact_sums(halves(q, p) for q, p in parts()).reshape(2, -1)
    results[:, kernels.EXPECTED], results[:, kernels.KL] = expected, np.maximum(0, kl)
    results[:, kernels.BOUND] = expected + results[:, kernels.ENTROPY]
    finite = np.isfinite(expected)
    joint = expected.astype(operation.cutoff.dtype).astype(np.float64)
    cross = (states[:, kernels.TOP] + states[:, kernels.BELOW]) * (expected - joint)
    states[finite, kernels.P_REFERENCE], states[finite, kernels.CROSS] = (
        joint[finite],
        cross[finite],
    )
