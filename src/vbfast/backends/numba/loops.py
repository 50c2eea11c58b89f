"""Loops over the tiles of a batch and the components, made with the functions of a form."""

from __future__ import annotations

from typing import Any

import numpy as np

from vbfast.backends.numba.compiling import kernel, larger
from vbfast.backends.numba.forms import add_slopes, evaluate

__all__ = ["add_gradient", "fill_log_joint", "load_rows"]


@kernel
def load_rows(rows: Any, origin: Any, lanes: Any) -> Any:
    """Fill ``lanes`` with rows minus an origin, and beyond the last with the last.

    Returns the first row that is not finite, or -1.
    """
    n_tiles, _, tile_rows = lanes.shape
    zero = lanes.dtype.type(0)
    bad = -1
    for g in range(n_tiles):
        for i in range(tile_rows):
            n = min(g * tile_rows + i, len(rows) - 1)
            check = zero
            for d in range(len(origin)):
                check += rows[n, d] * zero  # NaN once a value is not finite
                lanes[g, d, i] = rows[n, d] - origin[d]
            if bad < 0 and check != 0:
                bad = n
    return bad


@kernel
def fill_log_joint(
    form: Any, rows: Any, offset: Any, joint: Any, row_max: Any, first: Any, last: Any
) -> None:
    """Set ``joint`` of shape (n_tiles, n_components, tile_rows) of some components.

    Raises ``row_max`` of shape (n_tiles, tile_rows), the largest log-joint of each row.
    """
    tile_rows = joint.shape[2]
    for g in range(len(joint)):
        for k in range(first, last):
            if offset[k] == -np.inf:  # whatever the form's value is
                for i in range(tile_rows):
                    joint[g, k, i] = -np.inf
                continue
            factor = evaluate(form, rows, g, k, joint)
            for i in range(tile_rows):
                value = offset[k] + factor * joint[g, k, i]
                joint[g, k, i] = value
                row_max[g, i] = larger(value, row_max[g, i])


@kernel
def add_gradient(form: Any, rows: Any, joint: Any, first: Any, last: Any, gradient: Any) -> None:
    """Add ``sum_k r_nk dl_nk / dx_n`` to ``gradient`` of shape (n_tiles, n_features, tile_rows)."""
    for g in range(len(joint)):
        for k in range(first, last):
            if (joint[g, k] > 0).any():
                add_slopes(form, rows, g, k, joint, gradient)
