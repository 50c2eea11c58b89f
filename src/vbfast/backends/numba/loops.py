"""Loops over the groups of a batch and the components, compiled with the functions of a form."""

from __future__ import annotations

from typing import Any

import numpy as np

from vbfast.backends.numba.compiling import group_rows, kernel, larger
from vbfast.backends.numba.forms import add_slopes, apply_column, apply_transpose, evaluate

__all__ = ["add_gradient", "fill_log_joint", "whiten", "write_gradient"]


@kernel
def whiten(rows: Any, factor: Any) -> None:
    """Multiply the lanes by a factor, of shape (1, n_features, n_features) as in forms."""
    for g in range(len(rows.lanes)):
        for j in range(factor.shape[1] - 1, -1, -1):  # a column takes none of the later features
            apply_column(rows.lanes[g], factor, 0, j, rows.image[0])
            rows.lanes[g, j] = rows.image[0]


@kernel
def fill_log_joint(
    form: Any, rows: Any, offset: Any, joint: Any, row_max: Any, first: Any, last: Any
) -> None:
    """Set ``joint`` of shape (n_groups, n_components, group) of some components.

    Raises ``row_max`` of shape (n_groups, group), the largest log-joint of each row.
    """
    group = group_rows(joint)
    for g in range(len(joint)):
        for k in range(first, last):
            if offset[k] == -np.inf:  # whatever the form's value is
                joint[g, k] = -np.inf
                continue
            factor = evaluate(form, rows, g, k, joint)
            for i in range(group):
                value = offset[k] + factor * joint[g, k, i]
                joint[g, k, i] = value
                row_max[g, i] = larger(value, row_max[g, i])


@kernel
def add_gradient(form: Any, rows: Any, joint: Any, first: Any, last: Any, gradient: Any) -> None:
    """Add ``sum_k r_nk dl_nk / dx_n`` to ``gradient`` of shape (n_groups, n_features, group)."""
    for g in range(len(joint)):
        for k in range(first, last):
            if joint[g, k].max() > 0:
                add_slopes(form, rows, g, k, joint, gradient)


@kernel
def write_gradient(factor: Any, rows: Any, joint: Any, gradient: Any, out: Any) -> None:
    """Fill ``out`` of shape (n_rows, n_features): slopes, divided by the responsibilities' mass.

    Slopes in lanes that were whitened are multiplied by the factor. A row without responsibilities
    has gradient zero.
    """
    group = group_rows(joint)
    mass = np.empty_like(joint[0, 0])
    for g in range(len(joint)):
        if len(factor) > 0:
            rows.image[:] = 0
            apply_transpose(gradient[g], factor, 0, rows.image)
            gradient[g] = rows.image
        mass[:] = 0
        for k in range(joint.shape[1]):
            for i in range(group):
                mass[i] += joint[g, k, i]
        for i in range(min(group, len(out) - g * group)):
            for d in range(out.shape[1]):
                out[g * group + i, d] = gradient[g, d, i] / mass[i] if mass[i] > 0 else 0
