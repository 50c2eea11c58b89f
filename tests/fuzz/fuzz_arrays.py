"""Array functions on what they are not used to, against their definitions in long double.

A case draws a function, a backend, a shape (zeros among its lengths), axes, a type, values of some
magnitude with infinities, NaN, ties and subnormal numbers among them, strides (negative, zero,
misaligned, the other byte order) and an output that may overlap the input. What they are compared
with, and how near they have to be, is in plain_arrays.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import vbfast
from fuzzing import main
from odd_arrays import (
    INF,
    Wide,
    broadcast_some,
    draw_axis,
    draw_factors,
    draw_logits,
    draw_output,
    draw_probs,
    draw_shape,
    draw_type,
    lay,
)
from plain_arrays import (
    LOWEST,
    about_largest,
    axes_of,
    compare,
    computed_in,
    entropy_tolerance,
    eps_of,
    flushed,
    largest_finite,
    log_probs,
    log_sum_exp,
    probs_entropy_tolerance,
    rows_of,
    scaled_sum,
    shape_without,
    spread_of,
    times,
)
from plain_bounds import check_bound, check_sums

# -------------------------------------------------------------------------------------- functions


def logsumexp(rng: np.random.Generator) -> str | None:
    shape = draw_shape(rng)
    axis, keepdims, sign = draw_axis(rng, len(shape)), rng.random() < 0.5, rng.random() < 0.5
    dtype = draw_type(rng)
    values = broadcast_some(rng, draw_logits(rng, shape, dtype))
    axes = axes_of(axis, values.ndim)
    ours = vbfast.logsumexp(lay(rng, values), axis, keepdims=keepdims, return_sign=sign)
    value, of_sign = ours if sign else (ours, None)
    if dtype == np.float16:  # SciPy's, in its type
        return None
    computed = computed_in(dtype)
    rows = rows_of(values, axes)
    exact = log_sum_exp(rows)
    scale = np.maximum(
        1, np.maximum(largest_finite(rows), np.where(np.isfinite(exact), abs(exact), 0))
    )
    wanted = shape_without(values.shape, axes, keepdims)
    wrong = compare(
        "logsumexp", value, exact.reshape(wanted),
        (4 * eps_of(computed) * scale).reshape(wanted), computed,
    )  # fmt: skip
    if wrong is None and value.dtype != computed:
        wrong = f"dtype {value.dtype}"
    if wrong is None and sign:
        signs = np.where(np.isnan(exact), np.nan, np.where(exact == -INF, 0, 1))
        wrong = compare("sign", of_sign, signs.reshape(wanted).astype(Wide), 0, computed)
    return wrong


def scaled(rng: np.random.Generator) -> str | None:
    shape = draw_shape(rng)
    dtype = np.dtype(("f8", "f4")[rng.integers(2)])
    b_dtype = dtype if rng.random() < 0.7 else np.dtype(("f8", "f4")[rng.integers(2)])
    a, b = draw_logits(rng, shape, dtype), draw_factors(rng, shape, b_dtype)
    whole = np.broadcast_shapes(a.shape, b.shape)
    axis = draw_axis(rng, len(whole))
    axes = axes_of(axis, len(whole))
    computed = np.result_type(dtype, b_dtype)
    value, sign = vbfast.logsumexp(lay(rng, a), axis, lay(rng, b), return_sign=True)
    alone = vbfast.logsumexp(a, axis, b)
    rows = rows_of(np.broadcast_to(a, whole), axes)
    exact, exact_sign, rounded = scaled_sum(rows, rows_of(np.broadcast_to(b, whole), axes))
    wanted = shape_without(whole, axes, False)
    eps = eps_of(computed)
    scale = np.maximum(
        1, np.maximum(largest_finite(rows), np.where(np.isfinite(exact), abs(exact), 0))
    )
    tolerance = eps * (4 * scale + rounded)  # as without factors, and where terms cancel
    # Where terms cancel but for their rounding, no digit of the sum is known, nor its sign.
    undetermined = ~(rounded * eps < 1e-2)
    ours, our_sign = np.asarray(value).reshape(-1), np.asarray(sign).reshape(-1)
    exact = np.where(undetermined, ours.astype(Wide), exact)
    exact_sign = np.where(undetermined, our_sign.astype(Wide), exact_sign)
    wrong = compare("value", ours, exact, tolerance, computed) or compare(
        "sign", our_sign, exact_sign.astype(Wide), 0, computed
    )
    if wrong is None:
        real = np.where(our_sign < 0, np.nan, ours).reshape(wanted)
        wrong = compare(
            "without sign", alone, real.astype(Wide), tolerance.reshape(wanted), computed
        )
    return wrong


def maps(rng: np.random.Generator) -> str | None:
    log = rng.random() < 0.5
    shape = draw_shape(rng)
    axis, dtype = draw_axis(rng, len(shape)), draw_type(rng)
    values = broadcast_some(rng, draw_logits(rng, shape, dtype))
    computed = computed_in(dtype)
    axes = axes_of(axis, values.ndim)
    function = vbfast.log_softmax if log else vbfast.softmax
    if dtype == np.float16:  # SciPy's, in its type
        result = function(values, axis=axis)
        return None if result.shape == values.shape else f"shape {result.shape}"
    view = lay(rng, values)
    view, out = draw_output(rng, view, values.shape, computed)
    ours = function(view, axis=axis, out=out)
    if out is not None and ours is not out:
        return "out is not what is returned"
    rows = rows_of(values, axes)
    largest, d = about_largest(rows)
    log_q = log_probs(rows, True)
    bad = np.isnan(rows).any(axis=1) | ~np.isfinite(largest[:, 0])
    eps = eps_of(computed)
    if log:
        with np.errstate(invalid="ignore"):
            whole = rows - log_sum_exp(rows)[:, None]
        exact = np.where(bad[:, None], whole, log_q)
        size = np.maximum(np.where(np.isfinite(d), np.abs(d), 0), 1)
        tolerance = 4 * eps * np.maximum(size, np.where(np.isfinite(exact), np.abs(exact), 0))
        skip = bad
    else:
        exact = np.where(bad[:, None], np.nan, np.exp(log_q))
        # Columns are summed in chains of 64.
        tolerance = exact * eps * (16 + np.where(np.isfinite(d), np.abs(d), 0))
        tolerance = np.where(bad[:, None], 0, tolerance) + np.exp(Wide(LOWEST[computed.char]))
        skip = np.zeros_like(bad)
    mine = rows_of(np.asarray(ours), axes)
    return compare("log_softmax" if log else "softmax", mine, exact, tolerance, computed, ~skip)


def entropy(rng: np.random.Generator) -> str | None:
    shape = draw_shape(rng, 1)
    axis, keepdims = draw_axis(rng, len(shape)), rng.random() < 0.5
    axes = axes_of(axis, len(shape))
    logits = rng.random() < 0.6
    dtype = draw_type(rng) if logits else np.dtype(("f8", "f4", ">f8")[rng.integers(3)])
    computed = computed_in(dtype)
    values = draw_logits(rng, shape, dtype) if logits else draw_probs(rng, shape, axes, dtype)
    rows = rows_of(values, axes)
    wanted = shape_without(values.shape, axes, keepdims)
    view, out = draw_output(rng, lay(rng, values), wanted, computed)
    if not logits and rows.shape[1] == 0 and rows.shape[0] > 0:
        return expect_error(lambda: vbfast.entropy(view, axis=axis), "sums to 0")
    keywords = {"axis": axis, "keepdims": keepdims, "out": out}
    ours = vbfast.entropy(logits=view, **keywords) if logits else vbfast.entropy(view, **keywords)
    if rows.size == 0:
        return compare("entropy", ours, np.zeros(wanted, Wide), 0, computed)
    log_q = log_probs(rows, logits)
    q = np.exp(log_q)
    exact = times(q, -log_q).sum(axis=1)
    if logits:
        exact = np.where((rows == -INF).all(axis=1), 0, exact)
        exact = np.where((rows == INF).any(axis=1) | np.isnan(rows).any(axis=1), np.nan, exact)
        tolerance = entropy_tolerance(log_q, q, np.nan_to_num(exact), computed)
    else:
        tolerance = probs_entropy_tolerance(exact, computed)
    if (np.asarray(ours) < 0).any():
        return f"negative entropy {np.min(ours)}"
    return compare("entropy", ours, exact.reshape(wanted), tolerance.reshape(wanted), computed)


def kl_divergence(rng: np.random.Generator) -> str | None:
    shape = draw_shape(rng, 1)
    axis, keepdims = draw_axis(rng, len(shape)), rng.random() < 0.5
    axes = axes_of(axis, len(shape))
    arguments, rows, dtypes = {}, [], []
    narrow = tuple(1 if d not in axes and rng.random() < 0.2 else n for d, n in enumerate(shape))
    kinds = [rng.random() < 0.5, rng.random() < 0.5]
    for name, logits, own in zip("qp", kinds, (shape, narrow), strict=True):
        dtype = np.dtype(("f8", "f4")[rng.integers(2)])
        values = (
            draw_logits(rng, own, dtype, specials=False)
            if logits
            else draw_probs(rng, own, axes, dtype)
        )
        if logits and values.size and rng.random() < 0.3:
            values.flat[rng.integers(values.size, size=3)] = -INF
        arguments[f"{name}_{'logits' if logits else 'probs'}"] = lay(rng, values)
        rows.append(rows_of(np.broadcast_to(values, shape), axes))
        dtypes.append(dtype)
    computed = np.result_type(*dtypes)
    wanted = shape_without(shape, axes, keepdims)
    beside = list(arguments)[rng.integers(2)]  # the one in whose memory the output may be
    arguments[beside], out = draw_output(rng, arguments[beside], wanted, computed)
    call = lambda: vbfast.kl_divergence(**arguments, axis=axis, keepdims=keepdims, out=out)  # noqa: E731
    n_rows, n = rows[0].shape
    if n == 0 and n_rows > 0 and not all(kinds):
        return expect_error(call, "sums to 0")
    ours = call()
    if out is not None and ours is not out:
        return "out is not what is returned"
    if rows[0].size == 0:
        return compare("kl", ours, np.zeros(wanted, Wide), 0, computed)
    log_q, log_p = (log_probs(r, k) for r, k in zip(rows, kinds, strict=True))
    q = np.exp(log_q)
    with np.errstate(invalid="ignore", over="ignore"):
        exact = times(q, log_q - log_p).sum(axis=1)
        size = times(flushed(log_q, computed), spread_of(log_q) * (-log_q - log_p)).sum(axis=1)
    exact = np.where((rows[0] == -INF).all(axis=1) & kinds[0], np.nan, exact)
    exact = np.where((rows[1] == -INF).all(axis=1) & kinds[1], 0, exact)
    # Mass that may be zero may miss where p is zero.
    faint = times(np.where(flushed(log_q, computed) == 0, q, 0), np.abs(log_p) + np.abs(log_q)).sum(
        axis=1
    )
    unsure = ~np.isfinite(faint) | (faint > np.finfo(computed).eps)
    exact = np.where(unsure & ~np.isnan(exact), np.asarray(ours).reshape(-1).astype(Wide), exact)
    size = np.where(np.isfinite(size), size, 0)
    tolerance = 16 * eps_of(computed) * np.maximum(1, size)
    if (np.asarray(ours) < 0).any():
        return f"negative divergence {np.min(ours)}"
    return compare("kl", ours, exact.reshape(wanted), tolerance.reshape(wanted), computed)


def expect_error(call: Any, message: str) -> str | None:
    try:
        result = call()
    except ValueError as error:
        return None if message in str(error) else f"message {error}"
    return f"{result!r} instead of an error"


# ------------------------------------------------------------------------------------------ bounds


def bound(rng: np.random.Generator) -> str | None:
    """elbo and elbo_and_grad: every term of every row, sums, gradients, weights, outputs."""
    shape = draw_shape(rng, 1)
    if shape[-1] == 0:
        return expect_error(lambda: vbfast.elbo(np.zeros(shape)), "at least one component")
    kind = ("posterior", "q", "q_logits")[rng.integers(3)]
    dtype = np.dtype(("f8", "f4")[rng.integers(2)])
    joint = broadcast_some(rng, draw_logits(rng, shape, dtype))
    rows = rows_of(joint, (len(shape) - 1,))
    keywords: dict[str, Any] = {}
    computed = dtype
    if kind != "posterior":
        q_dtype = dtype if rng.random() < 0.7 else np.dtype(("f8", "f4")[rng.integers(2)])
        computed = np.result_type(dtype, q_dtype)
        if kind == "q":
            q = draw_probs(rng, shape, (len(shape) - 1,), q_dtype)
        else:
            q = draw_logits(rng, shape, q_dtype, specials=False)
            if q.size and rng.random() < 0.3:
                q.flat[rng.integers(q.size, size=3)] = -INF
            if (q == -INF).all(axis=-1).any():
                return None
        keywords[kind] = lay(rng, q)
    weights = None
    if rng.random() < 0.5:
        weights = np.asarray(rng.choice([0.0, 1.0, 2.5, 1e-3], size=shape[:-1]))
        keywords["sample_weight"] = lay(rng, weights)
    w = np.ones(rows.shape[0], Wide) if weights is None else weights.reshape(-1).astype(Wide)
    view = lay(rng, joint)
    out = None
    if rng.random() < 0.6:
        view, one = draw_output(rng, view, shape, computed)
        other = None
        if kind != "posterior":
            keywords[kind], other = draw_output(rng, keywords[kind], shape, computed)
        pair = [np.empty(shape, computed) if o is None else o for o in (one, other)]
        out = tuple(pair[:: rng.choice([-1, 1])])
    elif (
        rng.random() < 0.3
        and view.dtype == computed
        and view.flags.writeable
        and view.flags.aligned
    ):
        out = (view, np.empty(shape, computed))
    terms = vbfast.elbo(view, **keywords, per_sample=True)
    sums = vbfast.elbo(view, **keywords)
    again, gradient = vbfast.elbo_and_grad(view, **keywords, per_sample=True, out=out)
    return (
        check_bound(rows, None if kind == "posterior" else rows_of(q, (len(shape) - 1,)),
                    kind == "q_logits", w, terms, again, gradient, computed)
        or check_sums(terms, sums)
    )  # fmt: skip


def no_distribution(rng: np.random.Generator) -> str | None:
    """A slice that sums to too much, or has a negative entry, is named; a NaN comes through."""
    n_rows, n = int(rng.integers(1, 50)), int(rng.choice([2, 3, 9, 40, 300]))
    dtype = np.dtype(("f8", "f4")[rng.integers(2)])
    p = draw_probs(rng, (n_rows, n), (1,), dtype)
    other = np.full((n_rows, n), 1 / n, ("f8", "f4")[rng.integers(2)])
    row, kind = int(rng.integers(n_rows)), int(rng.integers(3))
    if kind == 0:
        p[row] *= 1 + 3 * (1e-3 if dtype.char == "f" else 1e-6) * rng.choice([-1.0, 1.0])
    elif kind == 1:
        p[row, rng.integers(n)] = -1e-9
    else:
        p[row, rng.integers(n)] = np.nan
    view = lay(rng, p)
    calls = (
        lambda: vbfast.entropy(view),
        lambda: vbfast.kl_divergence(view, other),
        lambda: vbfast.kl_divergence(other, view),
        lambda: vbfast.elbo(other, q=view, per_sample=True).elbo,
        lambda: vbfast.elbo_and_grad(other, q=view, per_sample=True)[0].elbo,
    )
    call = calls[rng.integers(len(calls))]
    if kind < 2:
        return expect_error(call, f"at row {row} {'sums to' if kind == 0 else 'has a negative'}")
    lost = np.isnan(call())
    return None if np.flatnonzero(lost).tolist() == [row] else f"NaN in row {row}: {lost}"


FUNCTIONS = (no_distribution, logsumexp, scaled, maps, maps, entropy, kl_divergence, bound, bound)
BACKENDS = ("native", "native", "native", "numba")


def case(rng: np.random.Generator) -> str | None:
    function = FUNCTIONS[rng.integers(len(FUNCTIONS))]
    backend = BACKENDS[rng.integers(len(BACKENDS))]
    with vbfast.config_context(backend=backend), np.errstate(all="ignore"):
        wrong = function(rng)
    return wrong and f"{function.__name__}, {backend}: {wrong}"


if __name__ == "__main__":
    main(case)
