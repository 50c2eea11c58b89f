"""Array functions by their definitions, in 80 bits, one slice a row; and how near ours have to be.

Tolerances are multiples of eps, the distance from one to the next number of the type that is
computed in. That of log-sum-exp is the contract's, 4 max(1, |largest|, |result|), and so is that of
entropies of logits; the others follow from the roundings that there are:

- An exponential is wrong by 1.5 eps of itself. Its argument is the distance d from the largest
  element, whose rounding adds |d| / 2; where ln(2) is taken off in one piece, |d| / 6 more.
- A sum loses up to 8 eps of the sizes of its terms. Where all are equal, the roundings of a chain
  of n additions go the same way, and add up to n / 6. Chains are of 32, and their sums are added
  in chains of 16; from there on by halves, or with what additions round away. So no tolerance
  grows with the length of a slice.
- A logarithm, a product and a last addition round once each.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from odd_arrays import INF, Wide

__all__ = [
    "LOWEST",
    "about_largest",
    "axes_of",
    "compare",
    "computed_in",
    "entropy_tolerance",
    "eps_of",
    "flushed",
    "largest_finite",
    "log_probs",
    "log_sum_exp",
    "probs_entropy_tolerance",
    "rows_of",
    "scaled_sum",
    "shape_without",
    "spread_of",
    "times",
]

# Logits so far below the largest count for nothing: their exponentials may be zero.
LOWEST = {"f": -86.0, "d": -707.0}


def computed_in(dtype: np.dtype[Any]) -> np.dtype[Any]:
    single = dtype.kind == "f" and dtype.itemsize <= 4
    return np.dtype(np.float32 if single else np.float64)


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    named = axis if isinstance(axis, tuple) else (axis,)
    return tuple(d % ndim for d in named) if ndim else ()


def rows_of(a: np.ndarray[Any, Any], axes: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """The slices of an array as rows of long double."""
    outer = [d for d in range(a.ndim) if d not in axes]
    moved = a.astype(Wide).transpose([*outer, *axes])
    n_rows = math.prod(a.shape[d] for d in outer)
    return moved.reshape(n_rows, math.prod(a.shape[d] for d in axes))


def shape_without(shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool) -> Any:
    if keepdims:
        return tuple(1 if d in axes else n for d, n in enumerate(shape))
    return tuple(n for d, n in enumerate(shape) if d not in axes)


def about_largest(rows: Any) -> tuple[Any, Any]:
    """The largest of each row, 0 where it is not finite, and the rows about it."""
    largest = rows.max(axis=1, initial=-INF, keepdims=True)
    base = np.where(np.isfinite(largest), largest, 0)
    return largest, rows - base


def log_sum_exp(rows: Any) -> Any:
    largest, d = about_largest(rows)
    base = np.where(np.isfinite(largest), largest, 0)[:, 0]
    below = np.where(rows < largest, np.exp(d), 0).sum(axis=1)
    at = (rows == largest).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        result = base + np.log(at.astype(Wide)) + np.log1p(below / at)
    result = np.where(largest[:, 0] == -INF, -INF, result)
    result = np.where(largest[:, 0] == INF, INF, result)
    return np.where(np.isnan(rows).any(axis=1), np.nan, result)


def log_probs(rows: Any, logits: bool) -> Any:
    """Logarithms of distributions."""
    if not logits:
        with np.errstate(divide="ignore"):
            return np.log(rows) - np.log(rows.sum(axis=1, keepdims=True))
    largest, d = about_largest(rows)
    below = np.where(rows < largest, np.exp(d), 0).sum(axis=1, keepdims=True)
    at = (rows == largest).sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return d - np.log(at.astype(Wide)) - np.log1p(below / at)


def times(q: Any, value: Any) -> Any:
    """q value, where 0 times anything is 0."""
    return np.where(q == 0, 0, q * np.where(q == 0, 0, value))


def flushed(log_q: Any, dtype: np.dtype[Any]) -> Any:
    """q without the mass that may be zero."""
    return np.where(log_q < LOWEST[dtype.char] + 20, 0, np.exp(log_q))


def spread_of(log_q: Any) -> Any:
    """How much more than once q is rounded: as often as its logit, which was rounded, is large."""
    return np.maximum(1, -log_q / 8)


def largest_finite(rows: Any) -> Any:
    return np.where(np.isfinite(rows), np.abs(rows), 0).max(axis=1, initial=0)


def compare(
    name: str, ours: Any, exact: Any, tolerance: Any, dtype: np.dtype[Any], which: Any = True
) -> str | None:
    """Say where numbers differ by more than the tolerance, and what was to be infinite is not."""
    ours, exact = np.asarray(ours).astype(Wide), np.asarray(exact)
    tolerance = np.broadcast_to(tolerance, exact.shape)
    if ours.shape != exact.shape:
        return f"{name}: shape {ours.shape} instead of {exact.shape}"
    end = Wide(np.finfo(dtype).max)
    with np.errstate(invalid="ignore"):
        rounds = np.abs(exact) > end * (1 - Wide(np.finfo(dtype).eps))  # may be infinite, too
        same = (ours == exact) | (np.isnan(ours) & np.isnan(exact))
        near = np.abs(ours - exact) <= tolerance
        beyond = rounds & (np.abs(ours) >= end * (1 - 4 * Wide(np.finfo(dtype).eps)))
        good = same | (near & np.isfinite(exact)) | (beyond & (np.sign(ours) == np.sign(exact)))
    good = good | ~np.broadcast_to(which, exact.T.shape).T
    if good.all():
        return None
    worst = np.unravel_index(int(np.argmin(good)), good.shape) if good.ndim else ()
    numbers = f"{ours[worst]!r} instead of {exact[worst]!r}, tolerance {tolerance[worst]:.3g}"
    return f"{name}{list(map(int, worst))}: {numbers}"


def eps_of(dtype: np.dtype[Any]) -> Wide:
    return Wide(np.finfo(dtype).eps)


def scaled_sum(a: Any, b: Any) -> tuple[Any, Any, Any]:
    """log|sum b exp(a)| of rows, its sign, and what the roundings of its terms cost it, in eps."""
    counts = b != 0
    infinite = counts & ((a == INF) | np.isinf(b))
    positive, negative = (infinite & (b > 0)).any(axis=1), (infinite & (b < 0)).any(axis=1)
    nan = (counts & (np.isnan(a) | np.isnan(b) | (np.isinf(b) & (a == -INF)))).any(axis=1)
    finite = counts & np.isfinite(a) & np.isfinite(b)
    largest, d = about_largest(np.where(finite, a, -INF))
    terms = np.where(finite, b * np.exp(d), 0)
    total = terms.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        base = np.where(np.isfinite(largest), largest, 0)[:, 0]
        value = base + np.log(np.abs(total))
        rounded = times(np.abs(terms), 10 - d).sum(axis=1) / np.abs(total)
    value = np.where(positive | negative, INF, value)
    value = np.where(nan | (positive & negative), np.nan, value)
    sign = np.where(positive | negative, np.where(positive, 1, -1), np.sign(total))
    rounded = np.where(finite.any(axis=1) & ~np.isnan(value) & (value != INF), rounded, 0)
    return value, np.where(np.isnan(value), np.nan, sign), rounded


def entropy_tolerance(log_q: Any, q: Any, exact: Any, dtype: np.dtype[Any]) -> Any:
    """Of logits: 8 eps times the largest gap that counts, of the entropy itself.

    Both its terms, log s and -sum e d / s, are positive: nothing cancels.
    """
    n = log_q.shape[1]
    terms = times(q, -log_q)
    counting = terms > (np.finfo(dtype).eps * exact / max(n, 1))[:, None]
    gap = np.where(counting, -log_q, 0).max(axis=1, initial=0)
    lowest = Wide(LOWEST[dtype.char])
    return 8 * eps_of(dtype) * np.maximum(1, gap) * exact - n * lowest * np.exp(lowest)


def probs_entropy_tolerance(exact: Any, dtype: np.dtype[Any]) -> Any:
    """Of probabilities: log s - t / s of two sums, of which t is about minus the entropy."""
    return 16 * eps_of(dtype) * np.maximum(1, exact)
