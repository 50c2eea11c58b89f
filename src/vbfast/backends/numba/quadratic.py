"""Quadratic forms of the contract as kernels take them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vbfast.backends.numba.forms import Diagonal, Spherical, Triangular
from vbfast.contract import NEAR_LIMIT, Float64Array, FloatArray, Quadratic

__all__ = ["Layout", "lay_out_quadratic"]


class Layout(NamedTuple):
    """A form for kernels.

    Attributes
    ----------
    form : tuple of arrays
    origin : ndarray of shape (n_features,)
        Subtracted from the rows, in their dtype.
    pool : ndarray of shape (n_moments,) or None
        A point about which the moments of all components together lose no digits.
    factor : ndarray of shape (1, n_features, n_features) or None
        What the rows are multiplied by, the transpose, lower triangular.
    """

    form: Any
    origin: FloatArray
    pool: FloatArray | None
    factor: FloatArray | None = None


@np.errstate(over="ignore", invalid="ignore")
def lay_out_quadratic(form: Quadratic, used: npt.NDArray[np.bool_], dtype: np.dtype[Any]) -> Layout:
    """Lay a form out, of which some components are used."""
    P, kind = form.precision_cholesky, form.factor_type
    if kind in ("full", "tied"):
        P = np.triu(P)
    origin = _median_point(form.centres[used], form.n_features).astype(dtype)
    centres = form.centres - origin.astype(np.float64)
    near = bool(np.all(_squared_reach(centres, P, kind)[used] <= NEAR_LIMIT[dtype]))  # not for NaN
    low: FloatArray | None = None
    if not near:
        origin, centres = np.zeros_like(origin), form.centres
        if dtype != np.float64:
            rest = centres - centres.astype(dtype)
            low = np.where(np.isfinite(rest), rest, 0.0).astype(dtype)
    pool = origin if near else None
    if kind == "spherical":
        return Layout(_spherical(centres, low, P, dtype), origin, pool)
    if kind == "diag":
        return Layout(Diagonal(centres.astype(dtype), low, _scales(P, dtype)), origin, pool)
    factor = _clipped(P.reshape(-1, *P.shape[-2:]).swapaxes(1, 2), dtype)
    if kind == "tied" and near:  # distances in rows times the factor
        images = np.einsum("ki,ij->kj", centres, P)
        return Layout(_spherical(images, None, np.ones(len(centres)), dtype), origin, pool, factor)
    return Layout(Triangular(centres.astype(dtype), low, factor), origin, pool)


def _spherical(
    centres: Float64Array, low: FloatArray | None, P: Float64Array, dtype: np.dtype[Any]
) -> Spherical:
    largest = float(np.finfo(dtype).max)
    ordinary = largest ** (1 / 3)  # whose squares are numbers of the dtype
    limit = np.sqrt(largest / 16 / centres.shape[1]) - np.abs(centres).max(axis=1)
    limit[(ordinary * P <= 1.0) | (ordinary <= P)] = 0.0
    return Spherical(
        centres.astype(dtype),
        low,
        _scales(P[:, np.newaxis], dtype),
        (0.5 * np.square(P)).astype(dtype),
        limit.astype(dtype),
    )


def _median_point(points: Float64Array, n_features: int) -> Float64Array:
    """Return the coordinate-wise upper median of points, the origin for none."""
    if len(points) == 0:
        return np.zeros(n_features)
    middle = len(points) // 2
    return np.asarray(np.partition(points, middle, axis=0)[middle])


def _clipped(P: Float64Array, dtype: np.dtype[Any]) -> FloatArray:
    """Return precision factors of the dtype, the largest number for those that are beyond it."""
    largest = float(np.finfo(dtype).max)
    return np.ascontiguousarray(np.clip(P, -largest, largest), dtype=dtype)


def _scales(P: Float64Array, dtype: np.dtype[Any]) -> FloatArray:
    """Return inverse deviations of the dtype, none of them zero or infinite."""
    return _clipped(np.maximum(P, float(np.finfo(dtype).tiny)), dtype)


def _squared_reach(centres: Float64Array, P: Float64Array, kind: str) -> Float64Array:
    """Return how far centres are from zero, in deviations of the narrowest direction, squared."""
    if kind in ("full", "tied"):
        return np.asarray(np.square(centres).sum(axis=1) * np.square(P).sum(axis=-2).max(axis=-1))
    scales = P if kind == "diag" else P[:, np.newaxis]
    return np.asarray(np.square(centres * scales).max(axis=1))
