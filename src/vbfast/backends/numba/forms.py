"""Forms: functions of a tile of rows and a component, which the loops of a pass are made with.

Each form is a tuple of arrays, by whose type the functions are chosen when a loop is compiled:

- :func:`evaluate` fills ``joint[g, k]`` with the form's values but for a factor, which it returns;
- :func:`add_slopes` adds ``r_i`` times the slope in row ``i`` to ``gradient[g]``, ``r`` being
  ``joint[g, k]``.

Rows and centres are relative to an *origin* amid the centres, where all are near enough; where one
is not, the origin is zero. Centres are of two parts: ``centres`` as near as the dtype has them and
``low`` the rest. The difference of a close row and the first part is exact, so that a component
loses no digit for being far from the others.

The last axis of a component's numbers has :func:`whole_fours` features, zeros after the last: loops
add four of them up before a vector of sums is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vbfast.backends.numba.compiling import by_type, inlined, kernel, smaller
from vbfast.contract import Float64Array, FloatArray


class Diagonal(NamedTuple):
    """``-1/2 ||(x_n - c_k) * s_k||^2``."""

    centres: FloatArray  # (n_components, n_features)
    low: FloatArray  # (n_components, n_features), times the scales
    scales: FloatArray  # (n_components, n_features)


class Euclidean(NamedTuple):
    """``-1/2 ||x_n - c_k||^2``, of centres that the dtype has well enough."""

    centres: FloatArray  # (n_components, n_features)


class Triangular(NamedTuple):
    """``-1/2 ||(x_n - c_k) P_k||^2``."""

    centres: FloatArray  # (n_components, n_features)
    low: FloatArray
    # P^T, lower triangular: (n_components or 1, n_features, n_features), no line beyond the last.
    factor: FloatArray


class Dot(NamedTuple):
    """``x_n . theta_k``."""

    theta: FloatArray  # (n_components, 1, n_features)


class User(NamedTuple):
    """``log_density(x_n, theta_k)``, nothing where there are no parameters."""

    log_density: Callable[..., Any]
    theta: Float64Array  # (n_components, n_parameters)


class Rows(NamedTuple):
    """Tiles of rows, and memory to work in."""

    lanes: FloatArray  # (n_tiles, n_features, tile_rows), minus the origin, rows innermost
    centred: FloatArray  # (n_features, tile_rows), minus a component's centre
    line: FloatArray  # (tile_rows,)


class UserRows(NamedTuple):
    """Rows as a user's function takes them."""

    plain: FloatArray  # (n_tiles * tile_rows, n_features)
    fault: npt.NDArray[np.int64]  # (2,), the first row without a log-joint and a component, or -1


def whole_fours(n_features: int) -> int:
    """Return the number of features with those of zeros that make them whole fours."""
    return n_features + -n_features % 4


@inlined
def _multiply(x: Any, coefficients: Any, k: Any, j: Any, n_features: Any, y: Any) -> None:
    """Set ``y_i`` to ``sum_d x_di a_d`` over the first features, ``a = coefficients[k, j]``."""
    for i in range(x.shape[1]):
        y[i] = 0
    for d in range(0, n_features, 4):
        for i in range(x.shape[1]):
            for f in range(4):
                y[i] += x[d + f, i] * coefficients[k, j, d + f]


@inlined
def _centre(form: Any, rows: Any, g: Any, k: Any) -> None:
    """Set ``rows.centred``, which has zeros beyond the last feature."""
    for d in range(form.factor.shape[1]):
        for i in range(rows.lanes.shape[2]):
            rows.centred[d, i] = (form.centres[k, d] - rows.lanes[g, d, i]) + form.low[k, d]


def _scaled_difference(form: Any, rows: Any, g: Any, k: Any, d: Any, i: Any) -> Any:
    difference = form.centres[k, d] - rows.lanes[g, d, i]
    return difference * form.scales[k, d] + form.low[k, d]


def _difference(form: Any, rows: Any, g: Any, k: Any, d: Any, i: Any) -> Any:
    return form.centres[k, d] - rows.lanes[g, d, i]


# What a form along coordinates squares.
_deviation = by_type({Diagonal: _scaled_difference, Euclidean: _difference})


def _evaluate_along_coordinates(form: Any, rows: Any, g: Any, k: Any, joint: Any) -> Any:
    for i in range(joint.shape[2]):
        joint[g, k, i] = 0
    for d in range(0, form.centres.shape[1], 4):
        for i in range(joint.shape[2]):
            for f in range(4):
                t = _deviation(form, rows, g, k, d + f, i)
                joint[g, k, i] += t * t
    return -joint.dtype.type(0.5)


def _evaluate_triangular(form: Any, rows: Any, g: Any, k: Any, joint: Any) -> Any:
    kf, y = min(k, len(form.factor) - 1), rows.line
    infinity = joint.dtype.type(np.inf)
    _centre(form, rows, g, k)
    for i in range(joint.shape[2]):
        joint[g, k, i] = 0
    for j in range(form.factor.shape[1]):
        _multiply(rows.centred, form.factor, kf, j, j + 1, y)
        for i in range(joint.shape[2]):
            joint[g, k, i] += y[i] * y[i]
    for i in range(joint.shape[2]):
        # Infinite differences may have met a zero, or each other with both signs.
        joint[g, k, i] = smaller(joint[g, k, i], infinity)
    return -joint.dtype.type(0.5)


def _evaluate_dot(form: Any, rows: Any, g: Any, k: Any, joint: Any) -> Any:
    _multiply(rows.lanes[g], form.theta, k, 0, form.theta.shape[2], joint[g, k])
    return joint.dtype.type(1)


def _evaluate_user(form: Any, rows: Any, g: Any, k: Any, joint: Any) -> Any:
    tile_rows = joint.shape[2]
    for i in range(tile_rows):
        n = g * tile_rows + i
        value = 0.0
        if len(form.theta) > 0:
            value = form.log_density(rows.plain[n], form.theta[k])
        joint[g, k, i] = value
        if not value < np.inf and (rows.fault[0] < 0 or n < rows.fault[0]):
            rows.fault[0], rows.fault[1] = n, k
    return joint.dtype.type(1)


evaluate = by_type(
    {
        Diagonal: _evaluate_along_coordinates,
        Euclidean: _evaluate_along_coordinates,
        Triangular: _evaluate_triangular,
        Dot: _evaluate_dot,
        User: _evaluate_user,
    }
)


def _diagonal_slopes(form: Any, rows: Any, g: Any, k: Any, joint: Any, gradient: Any) -> None:
    zero = joint.dtype.type(0)
    for d in range(gradient.shape[1]):
        for i in range(joint.shape[2]):
            # Without a responsibility the difference may be infinite.
            slope = joint[g, k, i] * (_deviation(form, rows, g, k, d, i) * form.scales[k, d])
            gradient[g, d, i] += slope if joint[g, k, i] > zero else zero


def _factor_slopes(form: Any, rows: Any, g: Any, k: Any, joint: Any, gradient: Any) -> None:
    tile_rows, zero = joint.shape[2], joint.dtype.type(0)
    kf, y = min(k, len(form.factor) - 1), rows.line
    _centre(form, rows, g, k)
    for j in range(gradient.shape[1]):
        _multiply(rows.centred, form.factor, kf, j, j + 1, y)
        for i in range(tile_rows):
            y[i] = joint[g, k, i] * y[i] if joint[g, k, i] > zero else zero
        for d in range(j + 1):
            for i in range(tile_rows):
                gradient[g, d, i] += form.factor[kf, j, d] * y[i]


def _dot_slopes(form: Any, rows: Any, g: Any, k: Any, joint: Any, gradient: Any) -> None:  # noqa: ARG001
    for d in range(gradient.shape[1]):
        for i in range(joint.shape[2]):
            gradient[g, d, i] += joint[g, k, i] * form.theta[k, 0, d]


add_slopes = by_type({Diagonal: _diagonal_slopes, Triangular: _factor_slopes, Dot: _dot_slopes})


@kernel
def whiten(factor: Any, rows: Any, whitened: Any) -> None:
    """Set ``whitened``, of the shape of the lanes, to rows times the one factor of all."""
    whitened[:] = 0
    for g in range(len(whitened)):
        for j in range(factor.shape[1]):
            _multiply(rows.lanes[g], factor, 0, j, j + 1, whitened[g, j])
