"""Quadratic forms of the contract as kernels take them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vbfast.backends.numba.forms import Diagonal, Triangular, Whitened
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
    scaled : tuple of arrays or None
        The form that multiplies differences before it squares them, for rows so far away that
        their squares overflow; None where ``form`` does that itself.
    """

    form: Any
    origin: FloatArray
    pool: FloatArray | None
    scaled: Any = None


def lay_out_quadratic(form: Quadratic, used: npt.NDArray[np.bool_], dtype: np.dtype[Any]) -> Layout:
    """Lay a form out, of which some components have a weight."""
    P = form.precision_cholesky
    with np.errstate(over="ignore", invalid="ignore"):
        origin = _median_point(form.centres[used], form.n_features).astype(dtype)
        centres = form.centres - origin.astype(np.float64)
        reach = _squared_reach(centres, form)[used]
        near = bool(np.all(reach <= NEAR_LIMIT[dtype]))  # not for NaN
        low: FloatArray | None = None
        if not near:
            origin = np.zeros_like(origin)
            centres = form.centres
            if dtype != np.float64:
                high = centres.astype(dtype)
                rest = np.where(np.isfinite(high), centres - high, 0.0)
                low = rest.astype(dtype)
        own = centres.astype(dtype)
        pool = origin if near else None
        if form.factor_type in ("diag", "spherical"):
            squared_first = form.factor_type == "spherical"
            scaled = _scaled(form, own, low, dtype) if squared_first else None
            return Layout(_diagonal(form, own, low, dtype), origin, pool, scaled)
        factor = np.triu(P.reshape(-1, *P.shape[-2:]))
        transposed = _as_factor(factor.swapaxes(1, 2), dtype)
        if form.factor_type == "tied" and near:
            images = np.einsum("ki,ij->kj", centres, factor[0]).astype(dtype)
            return Layout(Whitened(own, low, transposed, images), origin, pool)
        return Layout(Triangular(own, low, transposed), origin, pool)


def _diagonal(
    form: Quadratic, centres: FloatArray, low: FloatArray | None, dtype: np.dtype[Any]
) -> Diagonal:
    P = form.precision_cholesky
    ordinary = float(np.finfo(dtype).max) ** (1 / 3)
    if form.factor_type == "spherical" and np.all((ordinary * P > 1.0) & (ordinary > P)):
        return Diagonal(centres, low, None, np.asarray(0.5 * np.square(P), dtype=dtype))
    # Squares of P, or of distances before they are multiplied by it, overflow.
    return _scaled(form, centres, low, dtype)


def _scaled(
    form: Quadratic, centres: FloatArray, low: FloatArray | None, dtype: np.dtype[Any]
) -> Diagonal:
    P = np.broadcast_to(form.precision_cholesky.reshape(form.n_components, -1), centres.shape)
    # None of them zero or infinite.
    scales = _as_factor(np.maximum(P, float(np.finfo(dtype).tiny)), dtype)
    low = None if low is None else low * scales
    return Diagonal(centres, low, scales, np.full(form.n_components, 0.5, dtype))


def _median_point(points: Float64Array, n_features: int) -> Float64Array:
    """Return the coordinate-wise upper median of points, the origin for none."""
    if len(points) == 0:
        return np.zeros(n_features)
    middle = len(points) // 2
    return np.asarray(np.partition(points, middle, axis=0)[middle])


def _as_factor(P: Float64Array, dtype: np.dtype[Any]) -> FloatArray:
    """Return precision factors of the dtype, the largest number for those that are beyond it."""
    largest = float(np.finfo(dtype).max)
    return np.ascontiguousarray(np.clip(P, -largest, largest), dtype=dtype)


def _squared_reach(centres: Float64Array, form: Quadratic) -> Float64Array:
    """Return how far centres are from the origin, in deviations of the narrowest direction.

    Squared.
    """
    P = form.precision_cholesky
    if form.factor_type == "diag":
        return np.asarray(np.square(centres * P).max(axis=1))
    if form.factor_type == "spherical":
        return np.asarray(np.square(centres * P[:, np.newaxis]).max(axis=1))
    narrowest = np.square(np.triu(P)).sum(axis=-2).max(axis=-1)
    return np.asarray(np.square(centres).sum(axis=1) * narrowest)
