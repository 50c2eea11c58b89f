"""Moments: a function of some rows and a component, and the loop that sums them up.

Moments are about the component's own centre, in every form. Sums over a tile are in the precision
of the rows, from there on float64. Where few rows of a tile count for a component, they are
gathered first.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vbfast.backends.numba.compiling import kernel, reduction
from vbfast.backends.numba.constants import SPARSE
from vbfast.contract import Float64Array, FloatArray

__all__ = ["Memory", "Sums", "add_moments"]


class Sums(NamedTuple):
    """Sums of some components."""

    weight: Float64Array  # (n_components,)
    first: Float64Array  # (n_components, n_moments)
    # Of squares, shape (n_components, 1, n_moments); or lower triangles of products, shape
    # (n_components, n_moments, n_moments); of length one where it is of all components together,
    # and zero where there is none.
    second: Float64Array


class Memory(NamedTuple):
    """What a thread works in."""

    weights: FloatArray  # (tile_rows,)
    weighted: FloatArray  # (tile_rows,), weights times differences of one moment
    centred: FloatArray  # (n_moments, tile_rows)
    gathered: FloatArray  # (n_moments, tile_rows)


@reduction
def _weigh(a: Any, b: Any, weights: Any) -> Any:
    """Set ``weights`` to products; returns their sum, and how many are not zero."""
    total, count = weights.dtype.type(0), 0
    for i in range(len(weights)):
        weights[i] = a[i] * b[i]
        total += weights[i]
        count += weights[i] > 0
    return total, count


@kernel
def _difference(x: Any, centre: Any) -> Any:
    return x - centre


@reduction
def _two_moments(weights: Any, x: Any, centre: Any, n: Any) -> Any:
    """Return the sums of ``w_i t_i`` and ``w_i t_i^2`` with ``t = x - centre``."""
    first, second = weights.dtype.type(0), weights.dtype.type(0)
    for i in range(n):
        t = _difference(x[i], centre)
        first += weights[i] * t
        second += weights[i] * t * t
    return first, second


@reduction
def _dot(a: Any, b: Any, n: Any) -> Any:
    total = a.dtype.type(0)
    for i in range(n):
        total += a[i] * b[i]
    return total


@kernel
def _in_float64(weights: Any, x: Any, n: Any, centre: Any, d: Any, f: Any) -> Any:
    """Return the sum of ``w_i t_di t_fi``, or ``w_i t_di`` for ``f = -1``, of rows that count."""
    total = 0.0
    for i in range(n):
        if weights[i] > 0:
            term = np.float64(weights[i]) * (np.float64(x[d, i]) - np.float64(centre[d]))
            if f >= 0:
                term *= np.float64(x[f, i]) - np.float64(centre[f])
            total += term
    return total


@kernel
def _add_rows(x: Any, n: Any, centre: Any, k: Any, memory: Any, sums: Any) -> None:
    """Add the moments of ``n`` rows of component ``k``.

    What is beyond the range of the rows may be in that of float64, and a difference may be beyond
    it that has no weight.
    """
    first, second = sums.first, sums.second
    weights, weighted, centred, _ = memory
    own = min(k, len(second) - 1)
    products = len(second) > 0 and second.shape[1] > 1
    for d in range(len(centre)):
        one, two = _two_moments(weights, x[d], centre[d], n)
        finite = np.isfinite(two)
        first[k, d] += one if finite else _in_float64(weights, x, n, centre, d, -1)
        if len(second) > 0:
            of_squares = two if finite else _in_float64(weights, x, n, centre, d, d)
            second[own, d if products else 0, d] += of_squares
        if products:
            for i in range(n):
                centred[d, i] = x[d, i] - centre[d]
                weighted[i] = weights[i] * centred[d, i]
            for f in range(d):
                product = np.float64(_dot(weighted, centred[f], n))
                if not np.isfinite(product):
                    product = _in_float64(weights, x, n, centre, d, f)
                second[own, d, f] += product


@kernel
def add_moments(
    centres: Any,
    points: Any,
    joint: Any,
    scale: Any,
    first: Any,
    last: Any,
    memory: Any,
    sums: Any,
) -> None:
    """Add the moments of components ``first`` to ``last`` about ``centres`` to float64 ``sums``.

    ``points`` of shape (n_tiles, n_moments, tile_rows) count ``joint * scale`` times.
    """
    weights, _, _, gathered = memory
    tile_rows, n_moments = joint.shape[2], centres.shape[1]
    for g in range(len(joint)):
        for k in range(first, last):
            total, n_responsible = _weigh(joint[g, k], scale[g], weights)
            sums.weight[k] += total
            if SPARSE * n_responsible > tile_rows:
                _add_rows(points[g], tile_rows, centres[k], k, memory, sums)
            elif n_responsible > 0:
                n = 0
                for i in range(tile_rows):
                    if weights[i] > 0:
                        weights[n] = weights[i]
                        for d in range(n_moments):
                            gathered[d, n] = points[g, d, i]
                        n += 1
                _add_rows(gathered, n, centres[k], k, memory, sums)
