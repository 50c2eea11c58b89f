"""Loops over the groups of a batch and the components, made with the functions of a form."""

from __future__ import annotations

from typing import Any

import numpy as np

from vbfast.backends.numba.compiling import group_rows, inlined, kernel, larger
from vbfast.backends.numba.forms import add_slopes, evaluate, finish_slopes

__all__ = ["add_gradient", "fill_log_joint", "write_gradient"]


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
                for i in range(group):
                    joint[g, k, i] = -np.inf
                continue
            factor = evaluate(form, rows, g, k, joint)
            for i in range(group):
                value = offset[k] + factor * joint[g, k, i]
                joint[g, k, i] = value
                row_max[g, i] = larger(value, row_max[g, i])


@inlined
def _is_responsible(joint: Any, g: Any, k: Any) -> Any:
    largest = joint[g, k, 0]
    for i in range(1, group_rows(joint)):
        largest = max(largest, joint[g, k, i])
    return largest > 0


@kernel
def add_gradient(form: Any, rows: Any, joint: Any, first: Any, last: Any, gradient: Any) -> None:
    """Add ``sum_k r_nk dl_nk / dx_n`` to ``gradient`` of shape (n_groups, n_features, group)."""
    for g in range(len(joint)):
        for k in range(first, last):
            if _is_responsible(joint, g, k):
                add_slopes(form, rows, g, k, joint, gradient)


@kernel
def write_gradient(form: Any, rows: Any, joint: Any, gradient: Any, out: Any) -> None:
    """Fill ``out`` of shape (n_rows, n_features): slopes, divided by the responsibilities' mass.

    A row without any has gradient zero.
    """
    group = group_rows(joint)
    mass = np.empty_like(joint[0, 0])
    for g in range(len(joint)):
        finish_slopes(form, rows, g, gradient)
        mass[:] = 0
        for k in range(joint.shape[1]):
            for i in range(group):
                mass[i] += joint[g, k, i]
        for i in range(group):
            n = g * group + i
            if n < len(out):
                for d in range(out.shape[1]):
                    out[n, d] = gradient[g, d, i] / mass[i] if mass[i] > 0 else 0
