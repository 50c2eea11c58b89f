"""Rows of any strides as kernels take them: checked to be finite, in lanes and one after another.

Rows come in *groups* of :func:`group_rows`, a loop over which is vector code. Rows beyond the last
repeat it, and have no weight.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vbfast.backends.numba.compiling import group_rows, group_size, kernel, load_at
from vbfast.backends.numba.constants import COLUMN_BYTES
from vbfast.backends.numba.memory import empty_lines
from vbfast.contract import FloatArray

__all__ = ["Rows", "address_of", "load_rows", "padded", "row_layout", "rows_for"]


class Rows(NamedTuple):
    """Some groups of rows, and memory to work in."""

    lanes: FloatArray  # (n_groups, n_features, group), minus the form's origin, rows innermost
    plain: FloatArray  # (n_groups * group, width), as they are, then zeros
    whitened: FloatArray  # (n_groups, n_features, group), lanes times a shared factor, or empty
    centred: FloatArray  # (n_features, group), of one component
    image: FloatArray  # (n_features, group), that times a factor
    fault: npt.NDArray[np.int64]  # (2,), the first row without a log-joint and a component, or -1


def padded(n: int, dtype: np.dtype[Any]) -> int:
    """Return the length of ``n`` numbers with zeros that make them whole vectors."""
    return n + -n % (COLUMN_BYTES // dtype.itemsize)


def rows_for(
    n_groups: int, n_features: int, width: int, dtype: np.dtype[Any], *, whitened: bool
) -> Rows:
    """Return memory for so many groups."""
    group = group_size(dtype)
    plain = empty_lines((n_groups * group, width), dtype)
    plain.fill(0)
    return Rows(
        empty_lines((n_groups, n_features, group), dtype),
        plain,
        empty_lines((n_groups if whitened else 0, n_features, group), dtype),
        empty_lines((n_features, group), dtype),
        empty_lines((n_features, group), dtype),
        np.full(2, -1, np.int64),
    )


def address_of(array: FloatArray) -> int:
    """Return where the first number of an array lies."""
    return int(array.__array_interface__["data"][0])


def row_layout(rows: FloatArray) -> tuple[int, int, int]:
    """Return address, row stride and feature stride in bytes, for :func:`load_rows`."""
    row_stride, feature_stride = rows.strides
    return address_of(rows), row_stride, feature_stride


@kernel
def load_rows(
    address: Any,
    row_stride: Any,
    feature_stride: Any,
    n_rows: Any,
    origin: Any,
    lanes: Any,
    plain: Any,
) -> Any:
    """Fill ``lanes`` and ``plain``; returns the first row that is not finite, or -1.

    Numbers may lie at any address.
    """
    group = group_rows(lanes)
    zero = lanes.dtype.type(0)
    bad = -1
    for g in range((n_rows + group - 1) // group):
        for i in range(group):
            n = min(g * group + i, n_rows - 1)
            row = address + n * row_stride
            check = zero
            for d in range(len(origin)):
                value = load_at(row + d * feature_stride, zero)
                check += value * zero  # NaN once a value is not finite
                lanes[g, d, i] = value - origin[d]
                plain[g * group + i, d] = value
            if bad < 0 and check != 0:
                bad = n
    return bad
