"""Log-joint l_nk = offset_k - 1/2 ||(x_n - mu_k) P_k||^2 of a batch, lanes across rows.

``joint`` of shape (n_groups, n_components, group) serves as the accumulator too: four features
at a time are squared and added, so that a vector of it is loaded and stored once for four times the
arithmetic. Every kernel treats the components ``first`` to ``last``, all groups of the batch, and
raises ``row_max`` of shape (n_groups, group), the largest log-joint of each row.

Rows come as ``features``, minus the shift that means are about, and for the components that are
``far`` from it once more as they are, in ``raw``. Those have means of two parts, ``means`` as near
as the dtype has it and ``low`` the rest: the difference of the first part and a row is exact for
rows that are close to the mean. Without a far component all three are None, which the compiler
sees.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vbfast.backends.numba.compiling import group_rows, kernel, larger, smaller

__all__ = [
    "apply_column",
    "diagonal_log_joint",
    "difference",
    "factor_log_joint",
    "rows_for",
    "whiten",
]


@kernel
def rows_for(features: Any, raw: Any, far: Any, k: Any) -> Any:
    """Return the rows that component ``k`` is to be compared with."""
    if raw is None:
        return features
    return raw if far[k] else features


@kernel
def difference(mean: Any, x: Any, low: Any, k: Any, d: Any) -> Any:
    """Return a mean minus a row's value."""
    if low is None:
        return mean - x
    return (mean - x) + low[k, d]


@kernel
def _finish(joint: Any, row_max: Any, g: Any, k: Any, offset: Any, weight: Any) -> None:
    """Turn sums of squares into log-joints."""
    group = group_rows(joint)
    for i in range(group):
        value = offset - weight * joint[g, k, i]
        joint[g, k, i] = value
        row_max[g, i] = larger(value, row_max[g, i])


@kernel
def _scale(scales: Any, means: Any, k: Any, d: Any) -> Any:
    # A constant one, by which the compiler leaves the multiplication out.
    if scales is None:
        return means.dtype.type(1)
    return scales[k, d]


@kernel
def diagonal_log_joint(
    features: Any,
    raw: Any,
    far: Any,
    means: Any,
    low: Any,
    scales: Any,
    half_precision: Any,
    offset: Any,
    joint: Any,
    row_max: Any,
    first: Any,
    last: Any,
) -> None:
    """With ``offset_k - half_precision_k ||(x_n - mu_k) * scales_k||^2``.

    ``scales`` has the shape (n_components, n_features); without it, by None, they are one.
    """
    group = group_rows(features)
    n_features = means.shape[1]
    whole = n_features // 4 * 4
    for g in range(len(features)):
        for k in range(first, last):
            x = rows_for(features, raw, far, k)
            for i in range(group):
                joint[g, k, i] = 0
            for d in range(0, whole, 4):
                m0, m1, m2, m3 = means[k, d], means[k, d + 1], means[k, d + 2], means[k, d + 3]
                s0, s1 = _scale(scales, means, k, d), _scale(scales, means, k, d + 1)
                s2, s3 = _scale(scales, means, k, d + 2), _scale(scales, means, k, d + 3)
                # Mean minus row: the load is part of the subtraction.
                for i in range(group):
                    t0 = difference(m0, x[g, d, i], low, k, d) * s0
                    t1 = difference(m1, x[g, d + 1, i], low, k, d + 1) * s1
                    t2 = difference(m2, x[g, d + 2, i], low, k, d + 2) * s2
                    t3 = difference(m3, x[g, d + 3, i], low, k, d + 3) * s3
                    joint[g, k, i] += t0 * t0 + t1 * t1 + t2 * t2 + t3 * t3
            for d in range(whole, n_features):
                m0, s0 = means[k, d], _scale(scales, means, k, d)
                for i in range(group):
                    t0 = difference(m0, x[g, d, i], low, k, d) * s0
                    joint[g, k, i] += t0 * t0
            _finish(joint, row_max, g, k, offset[k], half_precision[k])


@kernel
def apply_column(x: Any, factor: Any, kf: Any, j: Any, y: Any) -> None:
    """Set ``y_i = sum_d x_di P_dj``, with column ``j`` of the factor in a row of its transpose."""
    group = group_rows(x)
    for i in range(group):
        y[i] = 0
    whole = (j + 1) // 4 * 4
    for d in range(0, whole, 4):
        p0, p1 = factor[kf, j, d], factor[kf, j, d + 1]
        p2, p3 = factor[kf, j, d + 2], factor[kf, j, d + 3]
        for i in range(group):
            y[i] += (x[d, i] * p0 + x[d + 1, i] * p1) + (x[d + 2, i] * p2 + x[d + 3, i] * p3)
    for d in range(whole, j + 1):
        p0 = factor[kf, j, d]
        for i in range(group):
            y[i] += x[d, i] * p0


@kernel
def factor_log_joint(
    features: Any,
    raw: Any,
    far: Any,
    means: Any,
    low: Any,
    factor: Any,
    half_precision: Any,
    offset: Any,
    work: Any,
    joint: Any,
    row_max: Any,
    first: Any,
    last: Any,
) -> None:
    """With lower triangular ``P^T``, one a component or a single one for all.

    ``factor`` has the shape (n_components or 1, n_features, n_features), ``work``
    (n_features + 1, group).
    """
    group = group_rows(features)
    n_features = means.shape[1]
    y = work[n_features]
    infinity = means.dtype.type(np.inf)
    for g in range(len(features)):
        for k in range(first, last):
            kf = min(k, len(factor) - 1)
            x = rows_for(features, raw, far, k)
            for d in range(n_features):
                mean = means[k, d]
                for i in range(group):
                    work[d, i] = difference(mean, x[g, d, i], low, k, d)
            for i in range(group):
                joint[g, k, i] = 0
            for j in range(n_features):
                apply_column(work, factor, kf, j, y)
                for i in range(group):
                    joint[g, k, i] += y[i] * y[i]
            for i in range(group):
                # Infinite differences may have met a zero, or each other with both signs.
                joint[g, k, i] = smaller(joint[g, k, i], infinity)
            _finish(joint, row_max, g, k, offset[k], half_precision[k])


@kernel
def whiten(features: Any, factor: Any, whitened: Any) -> None:
    """Set ``whitened_n = x_n P``, for a factor that all components share, of shape (1, D, D)."""
    for g in range(len(features)):
        for j in range(factor.shape[1]):
            apply_column(features[g], factor, 0, j, whitened[g, j])
