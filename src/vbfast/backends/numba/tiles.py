"""Loading: rows of any strides become lanes, minus a shift, and are checked to be finite.

A model with components that are far from the shift loads the rows once more as they are.

Layout of ``features``: (n_groups, n_features + 2, group). A group holds the features, a
constant one and the squared norm, rows innermost, so that a loop over the rows of a group is vector
code. Rows beyond the last repeat it, and have no weight.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vbfast.backends.numba.compiling import group_rows, kernel, load_at
from vbfast.contract import FloatArray

__all__ = ["load_features", "load_raw", "load_rows", "row_layout", "transpose_features"]


def row_layout(rows: FloatArray) -> tuple[int, int, int]:
    """Return address, row stride and feature stride in bytes, for the functions below."""
    address = rows.__array_interface__["data"][0]
    return (address, *rows.strides)


@kernel
def load_features(
    address: Any, row_stride: Any, feature_stride: Any, n_rows: Any, shift: Any, features: Any
) -> Any:
    """Fill ``features``; returns the first row that is not finite, or -1."""
    group = group_rows(features)
    n_features = len(shift)
    like = shift[0]
    zero = like - like  # a literal would be float64
    bad = -1
    for g in range((n_rows + group - 1) // group):
        for i in range(group):
            n = min(g * group + i, n_rows - 1)
            row = address + n * row_stride
            check = zero
            norm = zero
            for d in range(n_features):
                value = load_at(row + d * feature_stride, like)
                check += value * zero  # NaN once a value is not finite
                centred = value - shift[d]
                norm += centred * centred
                features[g, d, i] = centred
            features[g, n_features, i] = 1
            features[g, n_features + 1, i] = norm
            if bad < 0 and check != 0:
                bad = n
    return bad


@kernel
def load_raw(address: Any, row_stride: Any, feature_stride: Any, n_rows: Any, raw: Any) -> None:
    """Fill ``raw`` of shape (n_groups, n_features, group) with the rows, no shift subtracted."""
    group = group_rows(raw)
    like = raw[0, 0, 0]
    for g in range((n_rows + group - 1) // group):
        for i in range(group):
            row = address + min(g * group + i, n_rows - 1) * row_stride
            for d in range(raw.shape[1]):
                raw[g, d, i] = load_at(row + d * feature_stride, like)


@kernel
def load_rows(address: Any, row_stride: Any, feature_stride: Any, n_rows: Any, rows: Any) -> Any:
    """Fill ``rows`` of shape (n_groups * group, n_features); returns as load_features."""
    group = group_rows(rows)
    like = rows[0, 0]
    bad = -1
    for n in range((n_rows + group - 1) // group * group):
        row = address + min(n, n_rows - 1) * row_stride
        for d in range(rows.shape[1]):
            value = load_at(row + d * feature_stride, like)
            rows[n, d] = value
            if bad < 0 and not np.isfinite(value):
                bad = min(n, n_rows - 1)
    return bad


@kernel
def transpose_features(features: Any, rows: Any) -> None:
    """Lay the features out once more, row by row: ``rows`` of shape (n_rows, n_features)."""
    group = group_rows(features)
    for g in range(len(features)):
        for i in range(group):
            for d in range(rows.shape[1]):
                rows[g * group + i, d] = features[g, d, i]
