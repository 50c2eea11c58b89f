"""The terms of the bound and its gradients by their definitions, see plain_arrays.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from odd_arrays import INF, Wide
from plain_arrays import (
    LOWEST,
    about_largest,
    compare,
    entropy_tolerance,
    eps_of,
    flushed,
    largest_finite,
    log_probs,
    log_sum_exp,
    probs_entropy_tolerance,
    spread_of,
    times,
)

__all__ = ["check_bound", "check_sums"]


def check_sums(rows: Any, sums: Any) -> str | None:
    for name in ("elbo", "expected_log_joint", "entropy", "log_evidence", "kl"):
        each = np.asarray(getattr(rows, name)).reshape(-1).astype(Wide)
        with np.errstate(invalid="ignore", over="ignore"):
            total, size = each.sum(), np.where(np.isfinite(each), np.abs(each), 0).sum()
        if size > np.finfo(np.float64).max / 2:  # a part of the sum may overflow
            continue
        tolerance = 1e-13 * size + 1e-300
        wrong = compare(f"sum of {name}", getattr(sums, name), total, tolerance, np.dtype("d"))
        if wrong:
            return wrong
    return None


def check_bound(
    rows: Any, q_rows: Any, q_logits: bool, w: Any, terms: Any, again: Any, gradient: Any,
    dtype: np.dtype[Any],
) -> str | None:  # fmt: skip
    n_rows, n = rows.shape
    for name in ("elbo", "expected_log_joint", "entropy", "log_evidence", "kl"):
        if not np.array_equal(getattr(terms, name), getattr(again, name), equal_nan=True):
            difference = np.abs(np.asarray(getattr(terms, name)) - getattr(again, name))
            if not np.nan_to_num(difference).max() <= 1e-4:
                return f"{name} of elbo and of elbo_and_grad differ: {terms} {again}"
    evidence = log_sum_exp(rows)
    nothing = (rows == -INF).all(axis=1)
    defined = ~(np.isnan(rows) | (rows == INF)).any(axis=1) & ~nothing & (w > 0)
    skipped = w == 0
    log_q = log_probs(rows if q_rows is None else q_rows, q_rows is None or q_logits)
    q = np.exp(log_q)
    _, d = about_largest(rows)
    with np.errstate(invalid="ignore", over="ignore"):
        expected = times(q, rows).sum(axis=1)
        size = times(flushed(log_q, dtype), spread_of(log_q) * (np.abs(d) - log_q)).sum(axis=1)
        entropy = times(q, -log_q).sum(axis=1)
        kl = np.maximum(times(q, log_q - log_probs(rows, True)).sum(axis=1), 0)
        # Mass that may be zero may miss the -inf below it.
        faint = times(np.where(flushed(log_q, dtype) == 0, q, 0), np.abs(d) + np.abs(log_q)).sum(
            axis=1
        )
    eps = eps_of(dtype)
    told = defined & np.isfinite(faint) & (faint < np.finfo(dtype).eps)
    base = largest_finite(rows)
    size = np.where(np.isfinite(size), size, 0)
    # About the largest log-joint, which is added at the end, in float64.
    absolute = 16 * eps * np.maximum(1, size) + 4 * eps_of(np.dtype("d")) * base
    entropy_near = (
        entropy_tolerance(log_q, q, np.nan_to_num(entropy), dtype)
        if q_rows is None or q_logits
        else probs_entropy_tolerance(entropy, dtype)
    )
    if q_rows is None:
        kl = np.zeros_like(kl)
    flat = {name: np.asarray(getattr(terms, name)).reshape(-1) for name in
            ("elbo", "expected_log_joint", "entropy", "log_evidence", "kl")}  # fmt: skip
    wide = np.dtype("d")
    kl_near = 16 * eps * np.maximum(1, size)
    of_evidence = np.maximum(1, np.maximum(base, np.abs(np.nan_to_num(evidence))))
    checks = (
        ("log_evidence", evidence, 4 * eps * of_evidence, ~skipped),
        ("entropy", entropy, entropy_near, told),
        ("expected_log_joint", expected, absolute, told),
        ("elbo", expected + entropy, absolute, told),
        ("kl", kl, kl_near, told),
    )
    for name, exact, tolerance, which in checks:
        with np.errstate(invalid="ignore"):
            weighted = np.where(w == 0, 0, w * exact.astype(np.float64))
            near = w * np.where(np.isfinite(weighted), tolerance, 0)
        wrong = compare(name, flat[name], weighted.astype(Wide), near + 1e-300, wide, which)
        if wrong:
            return wrong
    lost = nothing & ~skipped
    for name, value in (("elbo", -INF), ("log_evidence", -INF), ("entropy", 0), ("kl", 0)):
        if not (flat[name][lost] == value).all():
            return f"{name} of nothing but -inf: {flat[name][lost]}"
        if not (flat[name][skipped] == 0).all():
            return f"{name} of weight zero: {flat[name][skipped]}"
    in_logits = np.asarray(gradient.q_logits).reshape(n_rows, n)
    in_joint = np.asarray(gradient.log_joint).reshape(n_rows, n)
    zero = nothing | skipped
    if in_logits[zero].any() or in_joint[zero].any():
        return "gradient of a row without bound is not zero"
    # Not where only the product with the weight overflows.
    infinite = ~np.isfinite(flat["elbo"]) & ~zero & (base < np.finfo(dtype).max / 8)
    if not np.isnan(in_logits[infinite]).all():
        return f"gradient in q_logits of an infinite bound: {in_logits[infinite][:1]}"
    finite = told & np.isfinite(expected) & (np.abs(expected + entropy) < np.finfo(dtype).max / 8)
    finite &= base < np.finfo(dtype).max / 8
    least = np.exp(Wide(LOWEST[dtype.char]))
    # The distance to the largest is rounded, and again where its exponential is reduced.
    rounded = 16 + 2 * np.nan_to_num(np.abs(log_q), posinf=0)
    near = eps * rounded * q * w[:, None] + w[:, None] * least
    wrong = compare("gradient in log_joint", in_joint, w[:, None] * q, near, dtype, finite)
    if wrong:
        return wrong
    with np.errstate(invalid="ignore", over="ignore"):
        bound_about_largest = (times(q, d).sum(axis=1) + entropy)[:, None]
        slope = times(q, d - log_q - bound_about_largest) * w[:, None]
        spread = (
            np.nan_to_num(np.abs(d), posinf=0)
            + np.nan_to_num(np.abs(log_q), posinf=0)
            + size[:, None]
            + 1
        )
    if q_rows is None:
        slope = np.zeros_like(slope)
    near = w[:, None] * (
        16 * eps * q * spread * (1 + np.nan_to_num(np.abs(log_q), posinf=0) / 8) + least * spread
    )
    return compare("gradient in q_logits", in_logits, slope, near, dtype, finite)
