"""Forms: functions of a group of rows and a component, which the loops of a pass are made with.

Each form is a tuple of arrays, by whose type the functions are chosen when a loop is compiled:

- :func:`evaluate` fills ``joint[g, k]`` with the form's values but for a factor, which it returns;
- :func:`add_slopes` adds ``r_i`` times the slope in row ``i`` to ``gradient[g]``, ``r`` being
  ``joint[g, k]``; where components share what they are multiplied by, :func:`finish_slopes` does
  that.

Rows and centres are relative to an *origin* amid the centres, where all are near enough. Where one
is not, the origin is zero, and float32 centres are of two parts: ``centres`` as near as the dtype
has it and ``low`` the rest, otherwise None. The difference of a close row and the first part is
exact, so that a component loses no digit for being far from the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from vbfast.backends.numba.compiling import choose_by_type, group_rows, inlined, kernel, smaller
from vbfast.contract import Float64Array, FloatArray

__all__ = [
    "Diagonal",
    "Dot",
    "Triangular",
    "User",
    "Whitened",
    "add_slopes",
    "difference",
    "evaluate",
    "finish_slopes",
    "whiten",
]


class Diagonal(NamedTuple):
    """``-half_k ||(x_n - c_k) * s_k||^2``."""

    centres: FloatArray  # (n_components, n_features)
    low: FloatArray | None  # (n_components, n_features), times the scales
    scales: FloatArray | None  # (n_components, n_features), one by None
    half: FloatArray  # (n_components,)


class Triangular(NamedTuple):
    """``-1/2 ||(x_n - c_k) P_k||^2``."""

    centres: FloatArray  # (n_components, n_features)
    low: FloatArray | None
    factor: FloatArray  # (n_components or 1, n_features, n_features), P^T: lower triangular


class Whitened(NamedTuple):
    """As :class:`Triangular` with one factor, by which the rows are multiplied once for all."""

    centres: FloatArray
    low: FloatArray | None
    factor: FloatArray
    images: FloatArray  # (n_components, n_features), c_k P


class Dot(NamedTuple):
    """``x_n . theta_k``."""

    theta: FloatArray  # (n_components, n_features)


class User(NamedTuple):
    """``log_density(x_n, theta_k)``, nothing where there are no parameters."""

    log_density: Callable[..., Any]
    theta: Float64Array  # (n_components, n_parameters)


@kernel
def difference(centre: Any, x: Any, low: Any, k: Any, d: Any) -> Any:
    """Return a centre minus a row's value."""
    if low is None:
        return centre - x
    return (centre - x) + low[k, d]


@kernel
def _scale(scales: Any, centres: Any, k: Any, d: Any) -> Any:
    # A constant one, by which the compiler leaves the multiplication out.
    if scales is None:
        return centres.dtype.type(1)
    return scales[k, d]


@kernel
def _scaled(centre: Any, x: Any, scale: Any, low: Any, k: Any, d: Any) -> Any:
    if low is None:
        return (centre - x) * scale
    return (centre - x) * scale + low[k, d]


@inlined
def _square_distances(
    x: Any, centres: Any, low: Any, scales: Any, g: Any, k: Any, joint: Any
) -> None:
    """Set ``joint[g, k]`` to sums of squares, four features at a time.

    A vector of sums is loaded and stored once for four times the arithmetic.
    """
    group = group_rows(joint)
    n_features = centres.shape[1]
    whole = n_features // 4 * 4
    for i in range(group):
        joint[g, k, i] = 0
    for d in range(0, whole, 4):
        c0, c1, c2, c3 = centres[k, d], centres[k, d + 1], centres[k, d + 2], centres[k, d + 3]
        s0, s1 = _scale(scales, centres, k, d), _scale(scales, centres, k, d + 1)
        s2, s3 = _scale(scales, centres, k, d + 2), _scale(scales, centres, k, d + 3)
        # Centre minus row: the load is part of the subtraction.
        for i in range(group):
            t0 = _scaled(c0, x[g, d, i], s0, low, k, d)
            t1 = _scaled(c1, x[g, d + 1, i], s1, low, k, d + 1)
            t2 = _scaled(c2, x[g, d + 2, i], s2, low, k, d + 2)
            t3 = _scaled(c3, x[g, d + 3, i], s3, low, k, d + 3)
            joint[g, k, i] += t0 * t0 + t1 * t1 + t2 * t2 + t3 * t3
    for d in range(whole, n_features):
        c0, s0 = centres[k, d], _scale(scales, centres, k, d)
        for i in range(group):
            t0 = _scaled(c0, x[g, d, i], s0, low, k, d)
            joint[g, k, i] += t0 * t0


@inlined
def _apply_column(x: Any, factor: Any, kf: Any, j: Any, y: Any) -> None:
    """Set ``y_i = sum_d x_di P_dj``, with column ``j`` of the factor in a row of its transpose."""
    group = group_rows(x)
    for i in range(group):
        y[i] = 0
    whole = (j + 1) // 4 * 4
    for d in range(0, whole, 4):
        p0, p1 = factor[kf, j, d], factor[kf, j, d + 1]
        p2, p3 = factor[kf, j, d + 2], factor[kf, j, d + 3]
        for i in range(group):
            y[i] += (x[d, i] * p0 + x[d + 1, i] * p1) + (x[d + 2, i] * p2 + x[d + 3, i] * p3)
    for d in range(whole, j + 1):
        p0 = factor[kf, j, d]
        for i in range(group):
            y[i] += x[d, i] * p0


@inlined
def _add_rows_of_factor(y: Any, factor: Any, kf: Any, gradient: Any) -> None:
    """Add ``sum_j P_dj y_j`` to every ``gradient_d``."""
    group = group_rows(y)
    n_features = factor.shape[1]
    for d in range(n_features):
        whole = d + (n_features - d) // 4 * 4
        for j in range(d, whole, 4):
            p0, p1 = factor[kf, j, d], factor[kf, j + 1, d]
            p2, p3 = factor[kf, j + 2, d], factor[kf, j + 3, d]
            for i in range(group):
                gradient[d, i] += (y[j, i] * p0 + y[j + 1, i] * p1) + (
                    y[j + 2, i] * p2 + y[j + 3, i] * p3
                )
        for j in range(whole, n_features):
            p0 = factor[kf, j, d]
            for i in range(group):
                gradient[d, i] += y[j, i] * p0


@inlined
def _centre(form: Any, rows: Any, g: Any, k: Any) -> None:
    """Set ``rows.centred`` to differences."""
    for d in range(form.centres.shape[1]):
        centre = form.centres[k, d]
        for i in range(group_rows(rows.lanes)):
            rows.centred[d, i] = difference(centre, rows.lanes[g, d, i], form.low, k, d)


def _evaluate_diagonal(form: Any, rows: Any, g: Any, k: Any, joint: Any) -> Any:
    _square_distances(rows.lanes, form.centres, form.low, form.scales, g, k, joint)
    return -form.half[k]


def _evaluate_whitened(form: Any, rows: Any, g: Any, k: Any, joint: Any) -> Any:
    _square_distances(rows.whitened, form.images, None, None, g, k, joint)
    return -joint.dtype.type(0.5)


def _evaluate_triangular(form: Any, rows: Any, g: Any, k: Any, joint: Any) -> Any:
    group = group_rows(joint)
    n_features = form.centres.shape[1]
    infinity = joint.dtype.type(np.inf)
    kf = min(k, len(form.factor) - 1)
    centred, y = rows.centred, rows.image[0]
    _centre(form, rows, g, k)
    for i in range(group):
        joint[g, k, i] = 0
    for j in range(n_features):
        _apply_column(centred, form.factor, kf, j, y)
        for i in range(group):
            joint[g, k, i] += y[i] * y[i]
    for i in range(group):
        # Infinite differences may have met a zero, or each other with both signs.
        joint[g, k, i] = smaller(joint[g, k, i], infinity)
    return -joint.dtype.type(0.5)


def _evaluate_dot(form: Any, rows: Any, g: Any, k: Any, joint: Any) -> Any:
    group = group_rows(joint)
    theta, x = form.theta, rows.lanes
    n_features = theta.shape[1]
    whole = n_features // 4 * 4
    for i in range(group):
        joint[g, k, i] = 0
    for d in range(0, whole, 4):
        a0, a1, a2, a3 = theta[k, d], theta[k, d + 1], theta[k, d + 2], theta[k, d + 3]
        for i in range(group):
            joint[g, k, i] += (x[g, d, i] * a0 + x[g, d + 1, i] * a1) + (
                x[g, d + 2, i] * a2 + x[g, d + 3, i] * a3
            )
    for d in range(whole, n_features):
        a0 = theta[k, d]
        for i in range(group):
            joint[g, k, i] += x[g, d, i] * a0
    return joint.dtype.type(1)


def _evaluate_user(form: Any, rows: Any, g: Any, k: Any, joint: Any) -> Any:
    group = group_rows(joint)
    for i in range(group):
        n = g * group + i
        value = 0.0
        if len(form.theta) > 0:
            value = form.log_density(rows.plain[n], form.theta[k])
        joint[g, k, i] = value
        if not value < np.inf and (rows.fault[0] < 0 or n < rows.fault[0]):
            rows.fault[0], rows.fault[1] = n, k
    return joint.dtype.type(1)


def evaluate(form: Any, rows: Any, g: Any, k: Any, joint: Any) -> Any:
    """Fill ``joint[g, k]``, of which a factor is returned."""
    raise NotImplementedError("compiled code only")


choose_by_type(
    evaluate,
    {
        Diagonal: _evaluate_diagonal,
        Triangular: _evaluate_triangular,
        Whitened: _evaluate_whitened,
        Dot: _evaluate_dot,
        User: _evaluate_user,
    },
)


def _diagonal_slopes(form: Any, rows: Any, g: Any, k: Any, joint: Any, gradient: Any) -> None:
    group = group_rows(joint)
    zero = joint.dtype.type(0)
    precision = form.half[k] + form.half[k]
    for d in range(form.centres.shape[1]):
        centre, scale = form.centres[k, d], _scale(form.scales, form.centres, k, d)
        for i in range(group):
            # Without a responsibility the difference may be infinite.
            t = _scaled(centre, rows.lanes[g, d, i], scale, form.low, k, d)
            slope = joint[g, k, i] * (t * (scale * precision))
            gradient[g, d, i] += slope if joint[g, k, i] > zero else zero


def _factor_slopes(form: Any, rows: Any, g: Any, k: Any, joint: Any, gradient: Any) -> None:
    group = group_rows(joint)
    zero = joint.dtype.type(0)
    _centre(form, rows, g, k)
    centred, y = rows.centred, rows.image
    for j in range(form.centres.shape[1]):
        if len(form.factor) == 1:
            for i in range(group):
                value = joint[g, k, i] * centred[j, i]
                gradient[g, j, i] += value if joint[g, k, i] > zero else zero
        else:
            _apply_column(centred, form.factor, k, j, y[j])
            for i in range(group):
                value = joint[g, k, i] * y[j, i]
                y[j, i] = value if joint[g, k, i] > zero else zero
    if len(form.factor) > 1:
        _add_rows_of_factor(y, form.factor, k, gradient[g])


def _dot_slopes(form: Any, rows: Any, g: Any, k: Any, joint: Any, gradient: Any) -> None:  # noqa: ARG001
    for d in range(form.theta.shape[1]):
        slope = form.theta[k, d]
        for i in range(group_rows(joint)):
            gradient[g, d, i] += joint[g, k, i] * slope


def add_slopes(form: Any, rows: Any, g: Any, k: Any, joint: Any, gradient: Any) -> None:
    """Add ``joint[g, k]`` times the slopes of component ``k`` to ``gradient[g]``."""
    raise NotImplementedError("compiled code only")


choose_by_type(
    add_slopes,
    {
        Diagonal: _diagonal_slopes,
        Triangular: _factor_slopes,
        Whitened: _factor_slopes,
        Dot: _dot_slopes,
    },
)


def _finish_factor(form: Any, rows: Any, g: Any, gradient: Any) -> None:
    if len(form.factor) == 1:
        centred, y = rows.centred, rows.image
        centred[:] = gradient[g]
        for j in range(len(y)):
            _apply_column(centred, form.factor, 0, j, y[j])
        gradient[g] = 0
        _add_rows_of_factor(y, form.factor, 0, gradient[g])


def _finish_nothing(form: Any, rows: Any, g: Any, gradient: Any) -> None:
    pass


def finish_slopes(form: Any, rows: Any, g: Any, gradient: Any) -> None:
    """Multiply ``gradient[g]`` by what all components share."""
    raise NotImplementedError("compiled code only")


choose_by_type(
    finish_slopes,
    {
        Diagonal: _finish_nothing,
        Triangular: _finish_factor,
        Whitened: _finish_factor,
        Dot: _finish_nothing,
    },
)


@kernel
def whiten(form: Any, rows: Any) -> None:
    """Set ``rows.whitened`` to rows times the factor."""
    for g in range(len(rows.lanes)):
        for j in range(rows.lanes.shape[1]):
            _apply_column(rows.lanes[g], form.factor, 0, j, rows.whitened[g, j])
