"""Array functions on what they are not used to, against their definitions in long double.

A case draws a function, a backend, a shape (zeros among its lengths), axes, a type, values of some
magnitude with infinities, NaN, ties and subnormal numbers among them, strides (negative, zero,
misaligned, the other byte order) and an output that may overlap the input. The oracles are the
definitions, one slice a row, in 80 bits; tolerances are those of the numerical contract.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import vbfast
from fuzzing import main

Wide = np.longdouble
INF = np.inf
LENGTHS = (0, 1, 1, 2, 3, 4, 5, 7, 8, 16, 17, 33, 64, 65, 130, 257)
MOST_ELEMENTS = 30_000
SCALES = (1e-30, 1e-3, 1.0, 1.0, 3.0, 30.0, 400.0, 1e5, 1e30, 3e37)
# Logits so far below the largest count for nothing: their exponentials may be zero.
LOWEST = {"f": -86.0, "d": -707.0}
# What a sum of many may lose more than one of few: the parts of a long slice are added one after
# another, and of equal numbers all roundings go the same way.
PER_ELEMENT = {"f": 1 / 4096, "d": 1 / 4096}


# ------------------------------------------------------------------------------------------ inputs


def draw_shape(rng: np.random.Generator, least: int = 0) -> tuple[int, ...]:
    if rng.random() < 0.03:
        return ((70_001,), (3, 20_001), (20_001, 3))[rng.integers(3)]
    while True:
        shape = tuple(int(n) for n in rng.choice(LENGTHS, size=rng.integers(least, 5)))
        if math.prod(shape) <= MOST_ELEMENTS:
            return shape


def draw_axis(rng: np.random.Generator, ndim: int) -> Any:
    kind = rng.integers(5)
    if kind == 0 or ndim == 0:
        return None if rng.random() < 0.7 or ndim else int(rng.integers(-1, 1))
    if kind == 1:
        chosen = rng.permutation(ndim)[: rng.integers(0, ndim + 1)]
        return tuple(int(d) - (ndim if rng.random() < 0.5 else 0) for d in chosen)
    return int(rng.integers(-ndim, ndim))


def draw_type(rng: np.random.Generator) -> np.dtype[Any]:
    names = ("f8", "f8", "f4", "f4", ">f8", ">f4", "f2", "i4", "u1", "i8", "?")
    return np.dtype(names[rng.integers(len(names))])


def computed_in(dtype: np.dtype[Any]) -> np.dtype[Any]:
    single = dtype.kind == "f" and dtype.itemsize <= 4
    return np.dtype(np.float32 if single else np.float64)


def draw_logits(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any], specials: bool = True
) -> np.ndarray[Any, Any]:
    """Values of one magnitude in a type; sometimes near its end, with ties, or with specials."""
    if dtype.kind != "f":
        low, high = (0, 2) if dtype.kind == "b" else (0, 90) if dtype.kind == "u" else (-90, 90)
        return rng.integers(low, high, shape).astype(dtype)
    values = rng.normal(scale=rng.choice(SCALES), size=shape) + rng.choice([0, 0, -700, 1e4])
    kind = rng.integers(8)
    if kind == 0:
        values = np.round(values)
    elif kind == 1:
        largest = float(np.finfo(dtype).max)
        values = rng.uniform(-1, 1, shape) * largest
    elif kind == 2:
        values = np.full(shape, values.flat[0] if values.size else 0.0)
    elif kind == 3:  # one far above the others, by little or by much
        values = -np.abs(values) - rng.uniform(0, 100)
        if values.size:
            values.flat[rng.integers(values.size)] = 0.0
    with np.errstate(over="ignore"):
        values = np.asarray(values, dtype)
    if dtype.itemsize > 2:
        finfo = np.finfo(dtype)
        values = np.clip(values, finfo.min, finfo.max)
    if specials and values.size and rng.random() < 0.4:
        several = [-INF, INF, np.nan, -0.0, np.finfo(dtype).smallest_subnormal]
        for value in rng.choice(several, size=rng.integers(1, 4)):
            values.flat[rng.integers(values.size, size=rng.integers(1, 4))] = value
        if values.ndim and rng.random() < 0.3:
            values[..., rng.integers(values.shape[-1]) :] = -INF
    return values


def draw_probs(
    rng: np.random.Generator, shape: tuple[int, ...], axes: tuple[int, ...], dtype: np.dtype[Any]
) -> np.ndarray[Any, Any]:
    """Distributions over axes, off one by less than the tolerance, of any sparsity."""
    z = rng.normal(scale=rng.choice([0.0, 1.0, 30.0, 300.0]), size=shape).astype(Wide)
    if z.size == 0:
        return z.astype(dtype)
    z -= z.max(axis=axes, keepdims=True)
    p = np.exp(z)
    p /= p.sum(axis=axes, keepdims=True)
    if rng.random() < 0.3:
        p *= Wide(1 + 5e-7 * rng.uniform(-1, 1))
    return p.astype(dtype)


def lay(rng: np.random.Generator, a: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same values in other strides, alignment or byte order."""
    kind = rng.integers(8)
    if kind == 0 and a.ndim:
        return np.asfortranarray(a)
    if kind == 1:
        return a[tuple(slice(None, None, -1) for _ in a.shape)].copy()[
            tuple(slice(None, None, -1) for _ in a.shape)
        ]
    if kind == 2 and a.ndim:
        wide = np.zeros(tuple(2 * n + 1 for n in a.shape), a.dtype)
        view = wide[tuple(slice(1, None, 2) for _ in a.shape)]
        view[...] = a
        return view
    if kind == 3:
        memory = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
        memory[...] = a
        return memory
    if kind == 4 and a.ndim > 1:
        order = rng.permutation(a.ndim)
        return a.transpose(order).copy().transpose(np.argsort(order))
    if kind == 5:
        return a.astype(a.dtype.newbyteorder())
    return a


def broadcast_some(rng: np.random.Generator, a: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Sometimes an array of the same shape with strides of zero."""
    if a.ndim == 0 or a.size == 0 or rng.random() < 0.9:
        return a
    d = int(rng.integers(a.ndim))
    first = a[tuple(slice(0, 1) if d == e else slice(None) for e in range(a.ndim))]
    return np.broadcast_to(first, a.shape)


# ----------------------------------------------------------------------------------------- slices


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    named = axis if isinstance(axis, tuple) else (axis,)
    return tuple(d % ndim for d in named) if ndim else ()


def rows_of(a: np.ndarray[Any, Any], axes: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """The slices of an array as rows of long double."""
    outer = [d for d in range(a.ndim) if d not in axes]
    moved = a.astype(Wide).transpose([*outer, *axes])
    n_rows = math.prod(a.shape[d] for d in outer)
    return moved.reshape(n_rows, math.prod(a.shape[d] for d in axes))


def shape_without(shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool) -> Any:
    if keepdims:
        return tuple(1 if d in axes else n for d, n in enumerate(shape))
    return tuple(n for d, n in enumerate(shape) if d not in axes)


def about_largest(rows: Any) -> tuple[Any, Any]:
    """The largest of each row, 0 where it is not finite, and the rows about it."""
    largest = rows.max(axis=1, initial=-INF, keepdims=True)
    base = np.where(np.isfinite(largest), largest, 0)
    return largest, rows - base


def log_sum_exp(rows: Any) -> Any:
    largest, d = about_largest(rows)
    base = np.where(np.isfinite(largest), largest, 0)[:, 0]
    below = np.where(rows < largest, np.exp(d), 0).sum(axis=1)
    at = (rows == largest).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        result = base + np.log(at.astype(Wide)) + np.log1p(below / at)
    result = np.where(largest[:, 0] == -INF, -INF, result)
    result = np.where(largest[:, 0] == INF, INF, result)
    return np.where(np.isnan(rows).any(axis=1), np.nan, result)


def log_probs(rows: Any, logits: bool) -> Any:
    """Logarithms of distributions."""
    if not logits:
        with np.errstate(divide="ignore"):
            return np.log(rows) - np.log(rows.sum(axis=1, keepdims=True))
    largest, d = about_largest(rows)
    below = np.where(rows < largest, np.exp(d), 0).sum(axis=1, keepdims=True)
    at = (rows == largest).sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return d - np.log(at.astype(Wide)) - np.log1p(below / at)


def times(q: Any, value: Any) -> Any:
    """q value, where 0 times anything is 0."""
    return np.where(q == 0, 0, q * np.where(q == 0, 0, value))


def flushed(log_q: Any, dtype: np.dtype[Any]) -> Any:
    """q without the mass that may be zero."""
    return np.where(log_q < LOWEST[dtype.char] + 20, 0, np.exp(log_q))


def spread_of(log_q: Any) -> Any:
    """How much more than once q is rounded: as often as its logit, which was rounded, is large."""
    return np.maximum(1, -log_q / 8)


def largest_finite(rows: Any) -> Any:
    return np.where(np.isfinite(rows), np.abs(rows), 0).max(axis=1, initial=0)


def compare(
    name: str, ours: Any, exact: Any, tolerance: Any, dtype: np.dtype[Any], which: Any = True
) -> str | None:
    """Say where numbers differ by more than the tolerance, and what was to be infinite is not."""
    ours, exact = np.asarray(ours).astype(Wide), np.asarray(exact)
    tolerance = np.broadcast_to(tolerance, exact.shape)
    if ours.shape != exact.shape:
        return f"{name}: shape {ours.shape} instead of {exact.shape}"
    end = Wide(np.finfo(dtype).max)
    with np.errstate(invalid="ignore"):
        rounds = np.abs(exact) > end * (1 - Wide(np.finfo(dtype).eps))  # may be infinite, too
        same = (ours == exact) | (np.isnan(ours) & np.isnan(exact))
        near = np.abs(ours - exact) <= tolerance
        beyond = rounds & (np.abs(ours) >= end * (1 - 4 * Wide(np.finfo(dtype).eps)))
        good = same | (near & np.isfinite(exact)) | (beyond & (np.sign(ours) == np.sign(exact)))
    good = good | ~np.broadcast_to(which, exact.T.shape).T
    if good.all():
        return None
    worst = np.unravel_index(int(np.argmin(good)), good.shape) if good.ndim else ()
    numbers = f"{ours[worst]!r} instead of {exact[worst]!r}, tolerance {tolerance[worst]:.3g}"
    return f"{name}{list(map(int, worst))}: {numbers}"


def eps_of(dtype: np.dtype[Any], n: int) -> Wide:
    """The rounding of a type, with what a sum of n may add."""
    return Wide(np.finfo(dtype).eps) * (1 + n * PER_ELEMENT[dtype.char])


# -------------------------------------------------------------------------------------- functions


def draw_output(
    rng: np.random.Generator, a: Any, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> tuple[Any, Any]:
    """An input and an output, or None: new, strided, or in the memory of the input."""
    kind = rng.integers(5)
    if kind == 0:
        return a, np.empty(shape, dtype)
    if kind == 1 and shape:
        wide = np.empty(tuple(2 * n for n in shape), dtype)
        return a, wide[tuple(slice(None, None, 2) for _ in shape)]
    if kind == 2 and a.dtype == dtype and a.ndim:
        size = math.prod(shape)
        offset = int(rng.integers(0, 9)) if rng.random() < 0.7 else 0
        memory = np.zeros(max(a.size, size) + 9, dtype)
        inside = memory[: a.size].reshape(a.shape)
        inside[...] = a
        return inside, memory[offset : offset + size].reshape(shape)
    return a, None


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
        (4 * eps_of(computed, rows.shape[1]) * scale).reshape(wanted), computed,
    )  # fmt: skip
    if wrong is None and value.dtype != computed:
        wrong = f"dtype {value.dtype}"
    if wrong is None and sign:
        signs = np.where(np.isnan(exact), np.nan, np.where(exact == -INF, 0, 1))
        wrong = compare("sign", of_sign, signs.reshape(wanted).astype(Wide), 0, computed)
    return wrong


def draw_factors(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    kept = tuple(n if rng.random() < 0.7 else 1 for n in shape)[
        int(rng.integers(0, 2)) * (rng.random() < 0.3) :
    ]
    scale = rng.choice([1e-300, 1e-38, 1e-20, 1.0, 1.0, 1.0, 1e20, 1e38, 1e300])
    with np.errstate(over="ignore", under="ignore"):
        b = (rng.normal(size=kept) * scale).astype(dtype)
    if rng.random() < 0.5:
        b = abs(b)
    if b.size and rng.random() < 0.4:
        several = [0.0, INF, -INF, np.nan, -0.0, 1.0, np.finfo(dtype).max, np.finfo(dtype).tiny / 8]
        for value in rng.choice(several, size=rng.integers(1, 3)):
            b.flat[rng.integers(b.size, size=rng.integers(1, 3))] = value
    return b


def scaled_sum(a: Any, b: Any) -> tuple[Any, Any, Any]:
    """log|sum b exp(a)| of rows, its sign, and by how much rounding of terms is amplified."""
    counts = b != 0
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(counts, a + np.log(np.abs(b)), -INF)
    infinite = counts & ((a == INF) | np.isinf(b))
    positive, negative = (infinite & (b > 0)).any(axis=1), (infinite & (b < 0)).any(axis=1)
    nan = (counts & (np.isnan(a) | np.isnan(b) | (np.isinf(b) & (a == -INF)))).any(axis=1)
    finite = np.where(np.isfinite(t) & ~infinite, t, -INF)
    largest, d = about_largest(finite)
    terms = np.where(finite == -INF, 0, np.exp(d) * np.sign(np.where(np.isnan(b), 0, b)))
    total, size = terms.sum(axis=1), np.abs(terms).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        base = np.where(np.isfinite(largest), largest, 0)[:, 0]
        value, amplified = base + np.log(np.abs(total)), np.where(size > 0, size / np.abs(total), 1)
    value = np.where(positive | negative, INF, value)
    value = np.where(nan | (positive & negative), np.nan, value)
    sign = np.where(positive | negative, np.where(positive, 1, -1), np.sign(total))
    return value, np.where(np.isnan(value), np.nan, sign), amplified


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
    exact, exact_sign, amplified = scaled_sum(rows, rows_of(np.broadcast_to(b, whole), axes))
    wanted = shape_without(whole, axes, False)
    eps = eps_of(computed, rows.shape[1])
    told = amplified < 1e-2 / float(eps) / np.maximum(1, largest_finite(rows))
    scale = np.maximum(
        1, np.maximum(largest_finite(rows), np.where(np.isfinite(exact), abs(exact), 0))
    )
    tolerance = 16 * eps * scale * np.where(told, amplified, 1)
    undetermined = ~told & np.isfinite(amplified) | (amplified == INF) & np.isfinite(rows).all(
        axis=1
    )
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
    eps = eps_of(computed, rows.shape[1])
    if log:
        with np.errstate(invalid="ignore"):
            whole = rows - log_sum_exp(rows)[:, None]
        exact = np.where(bad[:, None], whole, log_q)
        size = np.maximum(np.where(np.isfinite(d), np.abs(d), 0), 1)
        tolerance = 4 * eps * np.maximum(size, np.where(np.isfinite(exact), np.abs(exact), 0))
        skip = bad
    else:
        exact = np.where(bad[:, None], np.nan, np.exp(log_q))
        tolerance = exact * eps * (16 + np.where(np.isfinite(d), np.abs(d), 0))
        tolerance = np.where(bad[:, None], 0, tolerance) + np.exp(Wide(LOWEST[computed.char]))
        skip = np.zeros_like(bad)
    mine = rows_of(np.asarray(ours), axes)
    return compare("log_softmax" if log else "softmax", mine, exact, tolerance, computed, ~skip)


def entropy_tolerance(log_q: Any, q: Any, exact: Any, dtype: np.dtype[Any]) -> Any:
    """8 eps times the largest gap that counts, of the entropy itself."""
    n = log_q.shape[1]
    terms = times(q, -log_q)
    counting = terms > (np.finfo(dtype).eps * exact / max(n, 1))[:, None]
    gap = np.where(counting, -log_q, 0).max(axis=1, initial=0)
    lowest = Wide(LOWEST[dtype.char])
    return 8 * eps_of(dtype, n) * np.maximum(1, gap) * exact - n * lowest * np.exp(lowest)


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
        tolerance = 8 * eps_of(computed, rows.shape[1]) * np.maximum(1, exact)
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
    out = np.empty(wanted, computed) if rng.random() < 0.3 else None
    call = lambda: vbfast.kl_divergence(**arguments, axis=axis, keepdims=keepdims, out=out)  # noqa: E731
    n_rows, n = rows[0].shape
    if n == 0 and n_rows > 0 and not all(kinds):
        return expect_error(call, "sums to 0")
    ours = call()
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
    tolerance = 16 * eps_of(computed, n) * np.maximum(1, size) + np.finfo(computed).eps
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
    terms = vbfast.elbo(view, **keywords, per_sample=True)
    sums = vbfast.elbo(view, **keywords)
    out = None
    if rng.random() < 0.3:
        out = (np.empty(shape, computed), np.empty(shape, computed))
    elif (
        rng.random() < 0.3
        and view.dtype == computed
        and view.flags.writeable
        and view.flags.aligned
    ):
        out = (view, np.empty(shape, computed))
    again, gradient = vbfast.elbo_and_grad(view, **keywords, per_sample=True, out=out)
    return (
        check_bound(rows, None if kind == "posterior" else rows_of(q, (len(shape) - 1,)),
                    kind == "q_logits", w, terms, again, gradient, computed)
        or check_sums(terms, sums)
    )  # fmt: skip


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
    eps = eps_of(dtype, n)
    told = defined & np.isfinite(faint) & (faint < np.finfo(dtype).eps)
    base = largest_finite(rows)
    size = np.where(np.isfinite(size), size, 0)
    absolute = 8 * eps * np.maximum(1, np.maximum(base, size))
    entropy_near = (
        entropy_tolerance(log_q, q, np.nan_to_num(entropy), dtype)
        if q_rows is None or q_logits
        else 8 * eps * np.maximum(1, entropy)
    )
    if q_rows is None:
        kl = np.zeros_like(kl)
    flat = {name: np.asarray(getattr(terms, name)).reshape(-1) for name in
            ("elbo", "expected_log_joint", "entropy", "log_evidence", "kl")}  # fmt: skip
    wide = np.dtype("d")
    kl_near = 16 * eps * np.maximum(1, size) + 2 * np.finfo(dtype).eps
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
