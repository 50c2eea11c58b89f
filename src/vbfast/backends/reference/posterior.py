"""Evidence and posterior of rows from their log-joints."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vbfast.backends.reference.forms import dot_products, multiply
from vbfast.contract import Float64Array, Linear, LogJoint, Quadratic

__all__ = ["limiting_posterior", "log_posterior", "log_sum_exp", "one_hot", "times"]


def log_sum_exp(log_joints: Float64Array) -> Float64Array:
    """Return ``log sum_k exp(l_nk)`` of each row: -inf for nothing but -inf, +inf for any +inf."""
    largest = np.max(log_joints, axis=1)
    shift = np.where(np.isfinite(largest), largest, 0.0)
    total = np.sum(np.exp(log_joints - shift[:, np.newaxis]), axis=1)
    return np.asarray(shift + np.log(total))


def log_posterior(log_joints: Float64Array) -> Float64Array:
    """Return ``log p(z_n = k | x_n) = l_nk - log p(x_n)``.

    Relative to the row's largest log-joint: where that is large ``log p(x_n)`` is no longer above
    it. A row of nothing but -inf has no posterior: its entries are -inf, so that it counts nowhere.
    The components of a row that are at +inf share its mass equally, the others have none.
    """
    largest = np.max(log_joints, axis=1, keepdims=True)
    infinite = log_joints == np.inf
    below = np.subtract(
        log_joints,
        np.where(np.isfinite(largest), largest, 0.0),
        out=np.where(infinite, 0.0, -np.inf),
        where=np.broadcast_to(np.isfinite(largest), log_joints.shape),
    )
    possible = largest > -np.inf
    total = np.sum(np.exp(below), axis=1, keepdims=True, where=possible, initial=0.0)
    return np.asarray(below - np.log(total, out=np.zeros_like(total), where=possible))


def one_hot(labels: npt.NDArray[np.int64], n_components: int) -> Float64Array:
    """Return ``q_nk`` of shape (n_rows, n_components): one at the label, nothing for -1."""
    return np.asarray(labels[:, np.newaxis] == np.arange(n_components), dtype=np.float64)


def times(q: Float64Array, value: Float64Array) -> Float64Array:
    """Return ``q * value`` with zero wherever ``q`` is zero, as 0 log 0 = 0 demands."""
    return np.multiply(q, value, out=np.zeros_like(q), where=q > 0)


def limiting_posterior(X: Float64Array, log_joint: LogJoint) -> Float64Array:
    """Return ``q_nk`` of rows that are too far from all components for a finite log-joint.

    The component with the largest log-joint takes the row: its lead underflows all others. What is
    compared are mantissas and exponents, since the numbers overflow. Components equal in all share
    the row by their offsets.
    """
    form = log_joint.form
    parts: tuple[Float64Array, ...]
    if isinstance(form, Linear):
        mantissa, exponent = dot_products(X, form.theta)
        parts = (exponent.astype(np.float64), -mantissa)  # all products are negative
    else:
        parts = _scaled_distances(X, log_joint)
    nearest = np.tile(log_joint.offset > -np.inf, (len(X), 1))
    for part in parts:
        part[~nearest] = np.inf
        nearest &= part == part.min(axis=1, keepdims=True)
    offsets = np.where(nearest, log_joint.offset, -np.inf)
    shares = np.exp(offsets - offsets.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def _scaled_distances(
    X: Float64Array, log_joint: LogJoint
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return exponents and mantissas of squared distances, and what tells equal ones apart.

    That are rounding errors, for components that share a factor, whose means are rounded away
    beside a distant row. Infinite where a component has no weight.
    """
    form = log_joint.form
    assert isinstance(form, Quadratic)
    possible = np.flatnonzero(log_joint.offset > -np.inf)
    size = np.maximum(np.abs(X).max(axis=1), np.abs(form.centres[possible]).max())
    exponent = np.frexp(size)[1][:, np.newaxis] + 1  # the difference of two is below one
    X = np.ldexp(X, -exponent)
    power, fraction, cross = np.full((3, len(X), form.n_components), np.inf)
    for k in possible.tolist():
        P = form.factor(k)
        scale = int(np.frexp(np.abs(P).max())[1])
        P, mean = np.ldexp(P, -scale), np.ldexp(form.centres[k], -exponent)
        # The rounding of a difference (Knuth 1997, section 4.2.2, theorem B).
        difference = X - mean
        back = X - difference
        lost = (X - (difference + back)) + (back - mean)
        # |a + b|^2 = |a|^2 + 2 a b + ..., times a power of two that keeps |a|^2 from vanishing.
        whitened = multiply(difference, P)
        shift = np.frexp(np.abs(whitened).max(axis=1))[1]
        whitened = np.ldexp(whitened, -shift[:, np.newaxis])
        rest = np.ldexp(multiply(lost, P), -shift[:, np.newaxis])
        fraction[:, k], power[:, k] = np.frexp(np.sum(whitened**2, axis=1))
        cross[:, k] = np.ldexp(np.sum(whitened * rest, axis=1), -power[:, k].astype(int))
        power[:, k] += 2 * (scale + shift)
    return power, fraction, cross
