"""Sufficient statistics of a batch, added to the sums of a partition.

Moments of a component lie one after another: its weight, the first moments, then those second
moments that the kind keeps, of full ones the lower triangle row by row. There are two ways to them.

*Dense*: as one matrix product, ``sums[k, m] += sum_n r_nk Phi_nm``, where ``Phi``, the same for all
components, holds products of the row's features about the shift. A panel of its columns, already
times the row's scale, meets the components in blocks whose sums stay in L1, eight rows at a time.
Within a tile the sums are in the precision of the panel, from there on float64.

*Listed*: row by row about the component's own mean, for components that are too far from the shift
for their moments about it, and for rows that belong to one component only.
"""

from __future__ import annotations

from typing import Any

from vbfast.backends.numba.compiling import group_rows, kernel

__all__ = [
    "BLOCK_COMPONENTS",
    "COLUMN_BYTES",
    "add_dense",
    "add_labelled",
    "add_listed",
    "fill_panel",
    "total_mass",
]

BLOCK_COMPONENTS = 16

# The columns of a panel are padded with zeros to a multiple of so many bytes, whole vectors.
COLUMN_BYTES = 32


@kernel
def fill_panel(
    features: Any, scale: Any, left: Any, right: Any, start: Any, width: Any, panel: Any
) -> None:
    """Set column ``f`` to feature ``left`` times feature ``right`` of moment ``start + f``."""
    group = group_rows(features)
    columns = COLUMN_BYTES // panel.itemsize
    padded = (width + columns - 1) // columns * columns
    for g in range(len(features)):
        for f in range(width):
            a, b = left[start + f], right[start + f]
            for i in range(group):
                value = features[g, a, i] * scale[g, i] * features[g, b, i]
                panel[g * group + i, f] = value
        for f in range(width, padded):
            for i in range(group):
                panel[g * group + i, f] = 0


@kernel
def add_dense(
    joint: Any,
    panel: Any,
    width: Any,
    listed: Any,
    tile_groups: Any,
    first: Any,
    last: Any,
    start: Any,
    block: Any,
    sums: Any,
) -> None:
    """Add columns ``start`` to ``start + width`` of the components that are not listed.

    ``block`` of shape (BLOCK_COMPONENTS, width or more) is memory to work in.
    """
    group = group_rows(joint)
    n_groups = len(joint)
    columns = COLUMN_BYTES // panel.itemsize
    padded = (width + columns - 1) // columns * columns
    for tile in range(0, n_groups, tile_groups):
        for k0 in range(first, last, BLOCK_COMPONENTS):
            k1 = min(k0 + BLOCK_COMPONENTS, last)
            for b in range(k1 - k0):
                for f in range(padded):
                    block[b, f] = 0
            for g in range(tile, min(tile + tile_groups, n_groups)):
                for i in range(0, group, 8):
                    n = g * group + i
                    for k in range(k0, k1):
                        r0, r1, r2, r3 = (
                            joint[g, k, i],
                            joint[g, k, i + 1],
                            joint[g, k, i + 2],
                            joint[g, k, i + 3],
                        )
                        r4, r5, r6, r7 = (
                            joint[g, k, i + 4],
                            joint[g, k, i + 5],
                            joint[g, k, i + 6],
                            joint[g, k, i + 7],
                        )
                        if listed[k] or (r0 + r1) + (r2 + r3) + (r4 + r5) + (r6 + r7) == 0:
                            continue
                        b = k - k0
                        for f in range(padded):
                            block[b, f] += (
                                (r0 * panel[n, f] + r1 * panel[n + 1, f])
                                + (r2 * panel[n + 2, f] + r3 * panel[n + 3, f])
                            ) + (
                                (r4 * panel[n + 4, f] + r5 * panel[n + 5, f])
                                + (r6 * panel[n + 6, f] + r7 * panel[n + 7, f])
                            )
            for k in range(k0, k1):
                for f in range(width):
                    sums[k, start + f] += block[k - k0, f]


@kernel
def total_mass(joint: Any, mass: Any) -> None:
    """Set ``mass`` of shape (n_groups, 1, group) to the sums over components."""
    group = group_rows(joint)
    for g in range(len(joint)):
        for i in range(group):
            mass[g, 0, i] = 0
        for k in range(joint.shape[1]):
            for i in range(group):
                mass[g, 0, i] += joint[g, k, i]


@kernel
def _add_row(x: Any, mean: Any, r: Any, sums: Any, second: Any, n_second: Any, outer: Any) -> None:
    """Add one row to a component's sums: the contract's formulae, about its mean."""
    n_features = len(x)
    sums[0] += r
    for d in range(n_features):
        sums[1 + d] += r * (x[d] - mean[d])
    if outer:
        m = 0
        for i in range(n_features):
            rt = r * (x[i] - mean[i])
            for j in range(i + 1):
                second[m + j] += rt * (x[j] - mean[j])
            m += i + 1
    elif n_second == 1:
        total = 0.0
        for d in range(n_features):
            total += r * (x[d] - mean[d]) * (x[d] - mean[d])
        second[0] += total
    else:
        for d in range(n_second):
            second[d] += r * (x[d] - mean[d]) * (x[d] - mean[d])


@kernel
def _row_for(rows: Any, raw: Any, far: Any, n: Any, k: Any) -> Any:
    return raw[n] if far[k] else rows[n]


@kernel
def add_listed(
    rows: Any,
    raw: Any,
    far: Any,
    joint: Any,
    scale: Any,
    means: Any,
    listed: Any,
    n_second: Any,
    outer: Any,
    n_rows: Any,
    first: Any,
    last: Any,
    sums: Any,
    pooled: Any,
) -> None:
    """Add the rows of every listed component, ``raw`` ones to those that are far from the shift.

    Second moments, ``n_second`` of them, are those of ``outer`` products or squares; they go to
    ``pooled``, unless that is of length zero.
    """
    group = group_rows(joint)
    after_first = 1 + means.shape[1]
    for k in range(first, last):
        if not listed[k]:
            continue
        second = pooled if len(pooled) > 0 else sums[k, after_first:]
        for n in range(n_rows):
            r = joint[n // group, k, n % group] * scale[n // group, n % group]
            if r != 0:
                x = _row_for(rows, raw, far, n, k)
                _add_row(x, means[k], r, sums[k], second, n_second, outer)


@kernel
def add_labelled(
    rows: Any,
    raw: Any,
    far: Any,
    label: Any,
    scale: Any,
    means: Any,
    n_second: Any,
    outer: Any,
    n_rows: Any,
    first: Any,
    last: Any,
    sums: Any,
    pooled: Any,
) -> None:
    """Add each row to the component of its label; otherwise as :func:`add_listed`."""
    group = group_rows(scale)
    after_first = 1 + means.shape[1]
    for n in range(n_rows):
        k = label[n]
        r = scale[n // group, n % group]
        if first <= k < last and r != 0:
            second = pooled if len(pooled) > 0 else sums[k, after_first:]
            x = _row_for(rows, raw, far, n, k)
            _add_row(x, means[k], r, sums[k], second, n_second, outer)
