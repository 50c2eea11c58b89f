"""The summary step: the moments of the rows of each component, summed up by partition.

Moments are about the component's own centre, in every form. Sums over a tile are in the precision
of the rows, from there on float64. Where few rows of a tile count for a component, they are
gathered first.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from vbfast.backends.numba.batch import Batch
from vbfast.backends.numba.blocking import SPARSE, second_shape
from vbfast.backends.numba.compiling import kernel, reduction
from vbfast.backends.numba.memory import empty_lines
from vbfast.backends.numba.models import Model
from vbfast.contract import Blocking, Float64Array, FloatArray, Request, Statistics

__all__ = ["SummaryStep", "add_moments"]


class Sums(NamedTuple):
    """Sums of some components."""

    weight: Float64Array  # (n_components,)
    first: Float64Array  # (n_components, n_moments)
    # Of squares, shape (n_components, 1, n_moments); or lower triangles of products, shape
    # (n_components, n_moments, n_moments); of length one where it is of all components together,
    # and zero where there is none.
    second: Float64Array


class Memory(NamedTuple):
    """What a thread works in."""

    weights: FloatArray  # (tile_rows,)
    weighted: FloatArray  # (tile_rows,), weights times differences of one moment
    centred: FloatArray  # (n_moments, tile_rows)
    gathered: FloatArray  # (n_moments, tile_rows)


@reduction
def _weigh(a: Any, b: Any, weights: Any) -> Any:
    """Set ``weights`` to products; returns their sum, and how many are not zero."""
    total, count = weights.dtype.type(0), 0
    for i in range(len(weights)):
        weights[i] = a[i] * b[i]
        total += weights[i]
        count += weights[i] > 0
    return total, count


@kernel
def _difference(x: Any, centre: Any) -> Any:
    return x - centre


@reduction
def _two_moments(weights: Any, x: Any, centre: Any, n: Any) -> Any:
    """Return the sums of ``w_i t_i`` and ``w_i t_i^2`` with ``t = x - centre``."""
    first, second = weights.dtype.type(0), weights.dtype.type(0)
    for i in range(n):
        t = _difference(x[i], centre)
        first += weights[i] * t
        second += weights[i] * t * t
    return first, second


@reduction
def _dot(a: Any, b: Any, n: Any) -> Any:
    total = a.dtype.type(0)
    for i in range(n):
        total += a[i] * b[i]
    return total


@kernel
def _in_float64(weights: Any, x: Any, n: Any, centre: Any, d: Any, f: Any) -> Any:
    """Return the sum of ``w_i t_di t_fi``, or ``w_i t_di`` for ``f = -1``, of rows that count."""
    total = 0.0
    for i in range(n):
        if weights[i] > 0:
            term = np.float64(weights[i]) * (np.float64(x[d, i]) - np.float64(centre[d]))
            if f >= 0:
                term *= np.float64(x[f, i]) - np.float64(centre[f])
            total += term
    return total


@kernel
def _add_rows(x: Any, n: Any, centre: Any, k: Any, memory: Any, sums: Any) -> None:
    """Add the moments of ``n`` rows of component ``k``.

    What is beyond the range of the rows may be in that of float64, and a difference may be beyond
    it that has no weight.
    """
    first, second = sums.first, sums.second
    weights, weighted, centred, _ = memory
    own = min(k, len(second) - 1)
    products = len(second) > 0 and second.shape[1] > 1
    for d in range(len(centre)):
        one, two = _two_moments(weights, x[d], centre[d], n)
        finite = np.isfinite(two)
        first[k, d] += one if finite else _in_float64(weights, x, n, centre, d, -1)
        if len(second) > 0:
            of_squares = two if finite else _in_float64(weights, x, n, centre, d, d)
            second[own, d if products else 0, d] += of_squares
        if products:
            for i in range(n):
                centred[d, i] = x[d, i] - centre[d]
                weighted[i] = weights[i] * centred[d, i]
            for f in range(d):
                product = np.float64(_dot(weighted, centred[f], n))
                if not np.isfinite(product):
                    product = _in_float64(weights, x, n, centre, d, f)
                second[own, d, f] += product


@kernel
def add_moments(
    centres: Any, points: Any, joint: Any, scale: Any, first: Any, last: Any, memory: Any, sums: Any
) -> None:
    """Add the moments of components ``first`` to ``last`` about ``centres`` to float64 ``sums``.

    ``points`` of shape (n_tiles, n_moments, tile_rows) count ``joint * scale`` times.
    """
    weights, _, _, gathered = memory
    tile_rows, n_moments = joint.shape[2], centres.shape[1]
    for g in range(len(joint)):
        for k in range(first, last):
            total, n_responsible = _weigh(joint[g, k], scale[g], weights)
            sums.weight[k] += total
            if SPARSE * n_responsible > tile_rows:
                _add_rows(points[g], tile_rows, centres[k], k, memory, sums)
            elif n_responsible > 0:
                n = 0
                for i in range(tile_rows):
                    if weights[i] > 0:
                        weights[n] = weights[i]
                        for d in range(n_moments):
                            gathered[d, n] = points[g, d, i]
                        n += 1
                _add_rows(gathered, n, centres[k], k, memory, sums)


class SummaryStep:
    """The moments that a request asks for, of a model's points.

    Attributes
    ----------
    cost : float
        Multiplications a row and component beside those of the log-joint.
    """

    def __init__(self, model: Model, request: Request, blocking: Blocking) -> None:
        assert request.moments is not None
        self._model, self._moments = model, request.moments
        self._centres, dtype = model.centres, model.points_dtype
        K, D = self._centres.shape
        largest = float(np.finfo(dtype).max)
        self._rounded = np.clip(self._centres, -largest, largest).astype(dtype)
        shapes = (K,), (K, D), second_shape(request.moments, K, D)
        self._sums = [Sums(*map(np.zeros, shapes)) for _ in range(blocking.n_partitions)]
        lanes = D, blocking.tile_rows
        of_memory = lanes[1:], lanes[1:], lanes, lanes
        self._memory: dict[int, Memory] = defaultdict(  # of each thread
            lambda: Memory(*(empty_lines(shape, dtype) for shape in of_memory))
        )
        # Pooled posterior moments are summed once for all where the origin is a point for it.
        posterior = request.assignment == "posterior"
        self._about_origin = request.moments == "pooled" and posterior and model.layout.near
        self.cost = float(D * D) if request.moments == "full" else 0.0

    def add(self, batch: Batch, partition: int, worker: int, first: int, last: int) -> None:
        """Add the moments of some components; what all share, together with component 0."""
        points, scale = self._model.points(batch), batch.scale
        sums, memory = self._sums[partition], self._memory[worker]
        if self._about_origin:
            if first == 0:
                mass = batch.joint.sum(axis=1, keepdims=True)
                origin = np.zeros_like(self._rounded[:1])
                all_of = Sums(np.zeros(1), np.zeros(origin.shape), sums.second)
                add_moments(origin, points, mass, scale, 0, 1, memory, all_of)
            sums = sums._replace(second=sums.second[:0])
        add_moments(self._rounded, points, batch.joint, scale, first, last, memory, sums)

    def statistics(self) -> Statistics:
        """Add the partitions up in their order, and return the contract's statistics."""
        weight, first, sums = (reduce(np.add, part) for part in zip(*self._sums, strict=True))
        moments, rounded = self._moments, self._rounded.astype(np.float64)
        second = None
        if moments in ("diag", "spherical"):
            second = sums[:, 0] if moments == "diag" else sums[:, 0].mean(axis=1)
        elif moments != "first":
            whole = sums + np.tril(sums, -1).swapaxes(1, 2)
            second = whole if moments == "full" else whole[0]
        result = Statistics(moments, rounded, weight, first, second)
        if self._about_origin:
            first = first + weight[:, np.newaxis] * rounded
            result = replace(result, second=replace(result, first=first).second_about(rounded))
        if not np.array_equal(rounded, self._centres):
            result = result.about(self._centres)
        if moments in ("diag", "spherical") and result.second is not None:
            result = replace(result, second=np.maximum(result.second, 0.0))
        return replace(result, centres=self._model.log_joint.form.centres)
