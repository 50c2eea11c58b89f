"""Forms: functions of a group of rows and a component, which the loops of a pass are compiled with.

Each form is a tuple of arrays, by whose type its functions are chosen:

- :func:`evaluate` fills ``joint[g, k]`` with the form's values but for a factor, which it returns;
- :func:`add_slopes` adds the form's slopes in the rows, times ``joint[g, k]``, to ``gradient[g]``.

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
    "Spherical",
    "Triangular",
    "User",
    "add_slopes",
    "apply_column",
    "apply_transpose",
    "evaluate",
]


class Spherical(NamedTuple):
    """``-half_k ||x_n - c_k||^2``, or with scales where such squares may overflow."""

    centres: FloatArray  # (n_components, n_features)
    low: FloatArray | None
    scales: FloatArray  # (n_components, 1), inverse deviations
    half: FloatArray  # (n_components,), half their squares
    limit: FloatArray  # (n_components,), what numbers of the rows must be below


class Diagonal(NamedTuple):
    """``-1/2 ||(x_n - c_k) * s_k||^2``."""

    centres: FloatArray
    low: FloatArray | None
    scales: FloatArray  # (n_components, n_features)


class Triangular(NamedTuple):
    """``-1/2 ||(x_n - c_k) P_k||^2``."""

    centres: FloatArray
    low: FloatArray | None
    factor: FloatArray  # (n_components or 1, n_features, n_features), P^T: lower triangular


class Dot(NamedTuple):
    """``x_n . theta_k``."""

    theta: FloatArray  # (n_components, n_features)


class User(NamedTuple):
    """``log_density(x_n, theta_k)``, zero where there are no parameters."""

    log_density: Callable[..., Any]
    theta: Float64Array  # (n_components, n_parameters)


@kernel
def _difference(form: Any, x: Any, k: Any, d: Any, low: Any) -> Any:
    """Return a centre minus a row's value: the load is part of the subtraction."""
    if low is None:
        return form.centres[k, d] - x
    return (form.centres[k, d] - x) + low[k, d]


@kernel
def _scaled(form: Any, x: Any, k: Any, d: Any, scales: Any) -> Any:
    if scales is None:
        return _difference(form, x, k, d, form.low)
    return _difference(form, x, k, d, form.low) * scales[k, min(d, scales.shape[1] - 1)]


@inlined
def _add_squares(form: Any, scales: Any, x: Any, g: Any, k: Any, joint: Any) -> None:
    """Set ``joint[g, k]`` to sums of squares, four features at a time.

    A vector of sums is loaded and stored once for four times the arithmetic.
    """
    group = group_rows(joint)
    n_features = form.centres.shape[1]
    whole = n_features // 4 * 4
    for i in range(group):
        joint[g, k, i] = 0
    for d in range(0, whole, 4):
        for i in range(group):
            t0 = _scaled(form, x[g, d, i], k, d, scales)
            t1 = _scaled(form, x[g, d + 1, i], k, d + 1, scales)
            t2 = _scaled(form, x[g, d + 2, i], k, d + 2, scales)
            t3 = _scaled(form, x[g, d + 3, i], k, d + 3, scales)
            joint[g, k, i] += t0 * t0 + t1 * t1 + t2 * t2 + t3 * t3
    for d in range(whole, n_features):
        for i in range(group):
            t0 = _scaled(form, x[g, d, i], k, d, scales)
            joint[g, k, i] += t0 * t0


@inlined
def apply_column(x: Any, factor: Any, kf: Any, j: Any, y: Any) -> None:
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
def apply_transpose(y: Any, factor: Any, kf: Any, gradient: Any) -> None:
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
    for d in range(len(rows.centred)):
        for i in range(group_rows(rows.lanes)):
            rows.centred[d, i] = _difference(form, rows.lanes[g, d, i], k, d, form.low)


def _evaluate_spherical(form: Any, rows: Any, g: Any, k: Any, joint: Any) -> Any:
    if rows.largest[g] < form.limit[k]:
        _add_squares(form, None, rows.lanes, g, k, joint)
        return -form.half[k]
    _add_squares(form, form.scales, rows.lanes, g, k, joint)
    return -joint.dtype.type(0.5)


def _evaluate_diagonal(form: Any, rows: Any, g: Any, k: Any, joint: Any) -> Any:
    _add_squares(form, form.scales, rows.lanes, g, k, joint)
    return -joint.dtype.type(0.5)


def _evaluate_triangular(form: Any, rows: Any, g: Any, k: Any, joint: Any) -> Any:
    group = group_rows(joint)
    infinity = joint.dtype.type(np.inf)
    kf = min(k, len(form.factor) - 1)
    y = rows.image[0]
    _centre(form, rows, g, k)
    for i in range(group):
        joint[g, k, i] = 0
    for j in range(len(rows.centred)):
        apply_column(rows.centred, form.factor, kf, j, y)
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
        for i in range(group):
            joint[g, k, i] += (x[g, d, i] * theta[k, d] + x[g, d + 1, i] * theta[k, d + 1]) + (
                x[g, d + 2, i] * theta[k, d + 2] + x[g, d + 3, i] * theta[k, d + 3]
            )
    for d in range(whole, n_features):
        for i in range(group):
            joint[g, k, i] += x[g, d, i] * theta[k, d]
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
        Spherical: _evaluate_spherical,
        Diagonal: _evaluate_diagonal,
        Triangular: _evaluate_triangular,
        Dot: _evaluate_dot,
        User: _evaluate_user,
    },
)


def _scaled_slopes(form: Any, rows: Any, g: Any, k: Any, joint: Any, gradient: Any) -> None:
    zero = joint.dtype.type(0)
    for d in range(len(rows.centred)):
        scale = form.scales[k, min(d, form.scales.shape[1] - 1)]
        for i in range(group_rows(joint)):
            # Without a responsibility the difference may be infinite.
            slope = _scaled(form, rows.lanes[g, d, i], k, d, form.scales) * scale
            gradient[g, d, i] += joint[g, k, i] * slope if joint[g, k, i] > zero else zero


def _factor_slopes(form: Any, rows: Any, g: Any, k: Any, joint: Any, gradient: Any) -> None:
    zero = joint.dtype.type(0)
    kf = min(k, len(form.factor) - 1)
    _centre(form, rows, g, k)
    for j in range(len(rows.centred)):
        apply_column(rows.centred, form.factor, kf, j, rows.image[j])
        for i in range(group_rows(joint)):
            slope = joint[g, k, i] * rows.image[j, i]
            rows.image[j, i] = slope if joint[g, k, i] > zero else zero
    apply_transpose(rows.image, form.factor, kf, gradient[g])


def _dot_slopes(form: Any, rows: Any, g: Any, k: Any, joint: Any, gradient: Any) -> None:
    for d in range(len(rows.centred)):
        for i in range(group_rows(joint)):
            gradient[g, d, i] += joint[g, k, i] * form.theta[k, d]


def add_slopes(form: Any, rows: Any, g: Any, k: Any, joint: Any, gradient: Any) -> None:
    """Add the slopes of component ``k``, times ``joint[g, k]``, to ``gradient[g]``."""
    raise NotImplementedError("compiled code only")


choose_by_type(
    add_slopes,
    {
        Spherical: _scaled_slopes,
        Diagonal: _scaled_slopes,
        Triangular: _factor_slopes,
        Dot: _dot_slopes,
    },
)
