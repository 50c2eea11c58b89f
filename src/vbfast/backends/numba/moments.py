"""Moments: a function of some rows and a component, and the loop that sums them up.

Moments are about the component's own centre, in every form. Sums over a group of rows are in the
precision of the rows, from there on float64. Where few rows of a group count for a component, they
are gathered until a group is full.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vbfast.backends.numba.compiling import group_rows, inlined, kernel, reduction
from vbfast.contract import Float64Array, FloatArray

__all__ = ["Centred", "Sums", "add_moments"]


class Sums(NamedTuple):
    """Sums of some components."""

    weight: Float64Array  # (n_components,)
    first: Float64Array  # (n_components, n_moments)
    # Of squares, shape (n_components, 1, n_moments); or lower triangles of products, shape
    # (n_components, n_moments, n_moments); of length one where it is of all components together,
    # and zero where there is none.
    second: Float64Array


class Centred(NamedTuple):
    """Memory for as many rows as a group has, minus a component's centre."""

    weights: FloatArray  # (group,)
    points: FloatArray  # (n_moments, group)
    weighted: FloatArray  # (group,), weights times points of one moment


@reduction
def _add_up(a: Any, n: Any) -> Any:
    total = a.dtype.type(0)
    for i in range(n):
        total += a[i]
    return total


@reduction
def _dot(a: Any, b: Any, d: Any, n: Any) -> Any:
    total = a.dtype.type(0)
    for i in range(n):
        total += a[i] * b[d, i]
    return total


@kernel
def _sum_of_products(centred: Any, d: Any, f: Any, n: Any) -> Any:
    """Return ``sum_i w_i t_di t_fi``, with ``w t_d`` in ``centred.weighted``."""
    total = np.float64(_dot(centred.weighted, centred.points, f, n))
    if not np.isfinite(total):  # beyond the range of the rows, but perhaps not of float64
        total = 0.0
        for i in range(n):
            w, t = np.float64(centred.weights[i]), np.float64(centred.points[d, i])
            total += w * t * centred.points[f, i]
    return total


@inlined
def _add_rows(centred: Any, group: Any, k: Any, sums: Any) -> None:
    """Add the moments of rows of component ``k``."""
    second, own = sums.second, min(k, len(sums.second) - 1)
    sums.weight[k] += _add_up(centred.weights, group)
    for d in range(sums.first.shape[1]):
        for i in range(group):
            centred.weighted[i] = centred.weights[i] * centred.points[d, i]
        sums.first[k, d] += _add_up(centred.weighted, group)
        if len(second) == 0:
            continue
        if second.shape[1] == 1:
            second[own, 0, d] += _sum_of_products(centred, d, d, group)
        else:
            for f in range(d + 1):
                second[own, d, f] += _sum_of_products(centred, d, f, group)


@kernel
def add_moments(
    centres: Any,
    points: Any,
    joint: Any,
    scale: Any,
    tile_groups: Any,
    first: Any,
    last: Any,
    whole: Any,
    gathered: Any,
    sums: Any,
) -> None:
    """Add the moments of components ``first`` to ``last`` about ``centres`` to float64 ``sums``.

    ``points`` of shape (n_groups, n_moments, group) count ``joint * scale`` times. ``whole`` and
    ``gathered`` are memory.
    """
    group, n_moments, zero = group_rows(joint), centres.shape[1], points.dtype.type(0)
    for tile in range(0, len(joint), tile_groups):
        for k in range(first, last):
            n_gathered = 0
            for g in range(tile, min(tile + tile_groups, len(joint))):
                n_responsible = 0
                for i in range(group):
                    whole.weights[i] = joint[g, k, i] * scale[g, i]
                    n_responsible += whole.weights[i] > zero
                if 4 * n_responsible > group:
                    for d in range(n_moments):
                        for i in range(group):
                            # Without a weight the difference may be infinite.
                            t = points[g, d, i] - centres[k, d]
                            whole.points[d, i] = t if whole.weights[i] > zero else zero
                    _add_rows(whole, group, k, sums)
                    continue
                if n_responsible == 0:
                    continue
                for i in range(group):
                    if whole.weights[i] > zero:
                        gathered.weights[n_gathered] = whole.weights[i]
                        for d in range(n_moments):
                            gathered.points[d, n_gathered] = points[g, d, i] - centres[k, d]
                        n_gathered += 1
                        if n_gathered == group:
                            _add_rows(gathered, group, k, sums)
                            n_gathered = 0
            if n_gathered > 0:
                for i in range(n_gathered, group):
                    gathered.weights[i] = zero
                    for d in range(n_moments):
                        gathered.points[d, i] = zero
                _add_rows(gathered, group, k, sums)
