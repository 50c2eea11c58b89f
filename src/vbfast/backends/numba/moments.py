"""Moments: functions of eight rows and a component, and the loop that sums them up.

Moments are about the component's own centre, in every form. The sums of a tile are in the precision
of its rows, from there on float64. A vector of sums is loaded and stored once for eight rows;
components meet a tile's rows in blocks whose sums stay in the first-level cache. Eight rows that a
component is not responsible for are passed over.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vbfast.backends.numba.compiling import choose_by_type, group_rows, inlined, kernel
from vbfast.backends.numba.constants import COLUMN_BYTES
from vbfast.contract import FloatArray

__all__ = ["First", "Products", "Squares", "Sums", "add_moments", "total_mass"]


class First(NamedTuple):
    """Weights and first moments."""

    centres: FloatArray  # (n_components, width), as wide as the rows
    work: FloatArray  # (8, width), which products take


class Squares(NamedTuple):
    """The same, and the sums of squares of each feature."""

    centres: FloatArray
    work: FloatArray


class Products(NamedTuple):
    """The same, and the lower triangles of sums of products."""

    centres: FloatArray
    work: FloatArray


class Sums(NamedTuple):
    """Sums of some components."""

    weight: npt.NDArray[Any]  # (n_components,)
    first: npt.NDArray[Any]  # (n_components, width)
    second: npt.NDArray[Any]  # (n_components or 1, 0, 1 or n_features, width)


def _add_first(kind: Any, rows: Any, n: Any, r: Any, k: Any, sums: Any, b: Any) -> None:
    centres, first = kind.centres, sums.first
    r0, r1, r2, r3, r4, r5, r6, r7 = r
    for d in range(centres.shape[1]):
        c = centres[k, d]
        t0, t1, t2, t3 = rows[n, d] - c, rows[n + 1, d] - c, rows[n + 2, d] - c, rows[n + 3, d] - c
        t4, t5 = rows[n + 4, d] - c, rows[n + 5, d] - c
        t6, t7 = rows[n + 6, d] - c, rows[n + 7, d] - c
        first[b, d] += (r0 * t0 + r1 * t1 + r2 * t2 + r3 * t3) + (
            r4 * t4 + r5 * t5 + r6 * t6 + r7 * t7
        )


def _add_squares(kind: Any, rows: Any, n: Any, r: Any, k: Any, sums: Any, b: Any) -> None:
    centres, first, second = kind.centres, sums.first, sums.second
    r0, r1, r2, r3, r4, r5, r6, r7 = r
    for d in range(centres.shape[1]):
        c = centres[k, d]
        t0, t1, t2, t3 = rows[n, d] - c, rows[n + 1, d] - c, rows[n + 2, d] - c, rows[n + 3, d] - c
        t4, t5 = rows[n + 4, d] - c, rows[n + 5, d] - c
        t6, t7 = rows[n + 6, d] - c, rows[n + 7, d] - c
        u0, u1, u2, u3 = r0 * t0, r1 * t1, r2 * t2, r3 * t3
        u4, u5, u6, u7 = r4 * t4, r5 * t5, r6 * t6, r7 * t7
        first[b, d] += ((u0 + u1) + (u2 + u3)) + ((u4 + u5) + (u6 + u7))
        second[b, 0, d] += (u0 * t0 + u1 * t1 + u2 * t2 + u3 * t3) + (
            u4 * t4 + u5 * t5 + u6 * t6 + u7 * t7
        )


def _add_products(kind: Any, rows: Any, n: Any, r: Any, k: Any, sums: Any, b: Any) -> None:
    t, first, second = kind.work, sums.first, sums.second
    r0, r1, r2, r3, r4, r5, r6, r7 = r
    for j in range(8):
        for d in range(t.shape[1]):
            t[j, d] = rows[n + j, d] - kind.centres[k, d]
    for d in range(t.shape[1]):
        first[b, d] += (r0 * t[0, d] + r1 * t[1, d] + r2 * t[2, d] + r3 * t[3, d]) + (
            r4 * t[4, d] + r5 * t[5, d] + r6 * t[6, d] + r7 * t[7, d]
        )
    columns = COLUMN_BYTES // t.itemsize
    for d in range(second.shape[1]):
        u0, u1, u2, u3 = r0 * t[0, d], r1 * t[1, d], r2 * t[2, d], r3 * t[3, d]
        u4, u5, u6, u7 = r4 * t[4, d], r5 * t[5, d], r6 * t[6, d], r7 * t[7, d]
        for f in range((d // columns + 1) * columns):  # whole vectors
            second[b, d, f] += (u0 * t[0, f] + u1 * t[1, f] + u2 * t[2, f] + u3 * t[3, f]) + (
                u4 * t[4, f] + u5 * t[5, f] + u6 * t[6, f] + u7 * t[7, f]
            )


def _add_eight(kind: Any, rows: Any, n: Any, r: Any, k: Any, sums: Any, b: Any) -> None:
    """Add the rows from ``n``, of the responsibilities ``r`` of component ``k``, to sums ``b``."""
    raise NotImplementedError("compiled code only")


choose_by_type(_add_eight, {First: _add_first, Squares: _add_squares, Products: _add_products})


@inlined
def _clear(block: Any, b: Any) -> None:
    block.weight[b] = 0
    block.first[b] = 0
    block.second[b] = 0


@kernel
def _is_finite(block: Any, b: Any) -> Any:
    zero = block.first.dtype.type(0)
    check = zero
    for d in range(block.first.shape[1]):
        check += block.first[b, d] * zero
    for p in range(block.second.shape[1]):
        for d in range(block.second.shape[2]):
            check += block.second[b, p, d] * zero
    return check == 0


@kernel
def _add_block(block: Any, b: Any, k: Any, sums: Any) -> None:
    own = min(k, len(sums.second) - 1)
    sums.weight[k] += block.weight[b]
    for d in range(block.first.shape[1]):
        sums.first[k, d] += block.first[b, d]
    for p in range(block.second.shape[1]):
        for d in range(block.second.shape[2]):
            sums.second[own, p, d] += block.second[b, p, d]


@kernel
def add_moments(
    kind: Any,
    rows: Any,
    joint: Any,
    scale: Any,
    tile_groups: Any,
    first: Any,
    last: Any,
    block: Any,
    sums: Any,
) -> None:
    """Add the moments of components ``first`` to ``last`` to float64 ``sums``.

    ``rows`` of shape (n_groups * group, width) count ``joint * scale`` times. ``block``, sums as
    well, is memory for as many components as meet the rows together. Where a tile's sums overflow
    its precision, or a difference of a row that a component is not responsible for does, they are
    taken again row by row.
    """
    group = group_rows(joint)
    single = np.empty((8, rows.shape[1]), rows.dtype)
    for tile in range(0, len(joint), tile_groups):
        end = min(tile + tile_groups, len(joint))
        for k0 in range(first, last, len(block.weight)):
            n_together = min(len(block.weight), last - k0)
            for b in range(n_together):
                _clear(block, b)
            for g in range(tile, end):
                for i in range(0, group, 8):
                    for b in range(n_together):
                        k = k0 + b
                        r0, r1 = joint[g, k, i] * scale[g, i], joint[g, k, i + 1] * scale[g, i + 1]
                        r2 = joint[g, k, i + 2] * scale[g, i + 2]
                        r3 = joint[g, k, i + 3] * scale[g, i + 3]
                        r4 = joint[g, k, i + 4] * scale[g, i + 4]
                        r5 = joint[g, k, i + 5] * scale[g, i + 5]
                        r6 = joint[g, k, i + 6] * scale[g, i + 6]
                        r7 = joint[g, k, i + 7] * scale[g, i + 7]
                        mass = ((r0 + r1) + (r2 + r3)) + ((r4 + r5) + (r6 + r7))
                        if mass > 0:
                            block.weight[b] += mass
                            r = (r0, r1, r2, r3, r4, r5, r6, r7)
                            _add_eight(kind, rows, g * group + i, r, k, block, b)
            for b in range(n_together):
                k = k0 + b
                if _is_finite(block, b):
                    _add_block(block, b, k, sums)
                    continue
                for n in range(tile * group, end * group):
                    r0 = joint[n // group, k, n % group] * scale[n // group, n % group]
                    if r0 > 0:
                        _clear(block, b)
                        block.weight[b] = r0
                        single[:] = rows[n]
                        zero = r0 - r0
                        r = (r0, zero, zero, zero, zero, zero, zero, zero)
                        _add_eight(kind, single, 0, r, k, block, b)
                        _add_block(block, b, k, sums)


@kernel
def total_mass(joint: Any, mass: Any) -> None:
    """Set ``mass`` of shape (n_groups, 1, group) to the sums over components."""
    for g in range(len(joint)):
        for i in range(group_rows(joint)):
            mass[g, 0, i] = 0
        for k in range(joint.shape[1]):
            for i in range(group_rows(joint)):
                mass[g, 0, i] += joint[g, k, i]
