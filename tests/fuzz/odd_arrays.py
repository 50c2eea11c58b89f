"""Arrays that array functions are not used to: shapes, axes, types, values, layouts, outputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = [
    "INF",
    "Wide",
    "broadcast_some",
    "draw_axis",
    "draw_factors",
    "draw_logits",
    "draw_output",
    "draw_probs",
    "draw_shape",
    "draw_type",
    "lay",
]

Wide = np.longdouble
INF = np.inf
LENGTHS = (0, 1, 1, 2, 3, 4, 5, 7, 8, 16, 17, 33, 64, 65, 130, 257)
MOST_ELEMENTS = 30_000
SCALES = (1e-30, 1e-3, 1.0, 1.0, 3.0, 30.0, 400.0, 1e5, 1e30, 3e37)


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
