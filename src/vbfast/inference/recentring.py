"""Second moments about the new means, for components that move far in one iteration.

A pass takes moments about the means that it is given. Where a component then moves by many of its
standard deviations, as from a start far from the rows, moving its second moments along subtracts
``N s s^T`` from a number hardly larger, and what rounding left of it is no covariance. One more
pass with the same responsibilities, about the means that the first one led to, has nothing to
subtract. So it is with a component that collapses onto a few rows: for what was its variance, a
pass may have taken its moments about a point some deviations off.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from vbfast.engine.contract import (
    NEAR_LIMIT,
    Float64Array,
    FloatArray,
    KernelParams,
    Request,
    RowOutputs,
    Statistics,
)
from vbfast.engine.engine import run_pass
from vbfast.engine.responsibilities import RespSource
from vbfast.engine.rows import RowSource, as_row_source
from vbfast.inference.kmeans import distance_params

__all__ = ["CentredObjective", "PosteriorResponsibilities", "recentre"]

# The part of a variance that cancellation may cost.
LOSS = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-3}


@runtime_checkable
class CentredObjective(Protocol):
    """An objective of Gaussian components, whose second moments are about their means."""

    def scatter_floor(self, counts: Float64Array) -> Float64Array:
        """Return what the global step adds to sums of squares: smaller errors do not matter.

        See :func:`vbfast.families.covariances.scatter_floor`; ``counts`` are the ``N_k``.
        """


class PosteriorResponsibilities(RespSource):
    """The responsibilities of given parameters, made block by block."""

    def __init__(self, source: RowSource, params: KernelParams) -> None:
        self._source = source
        self._params = params

    def block(self, start: int, stop: int) -> FloatArray:
        """Return the responsibilities of the rows ``start`` to ``stop``, C order."""
        rows = as_row_source(self._source.block(start, stop))
        resp = np.empty((stop - start, self._params.n_components), dtype=rows.dtype)
        run_pass(rows, self._params, Request(), outputs=RowOutputs(resp=resp))
        return resp


def recentre(
    source: RowSource,
    params: KernelParams,
    statistics: Statistics,
    *,
    floor: Float64Array,
    sample_weight: Float64Array | None = None,
    workspace: Any = None,
) -> Statistics | None:
    """Take the statistics of a 'posterior' pass again where their second moments have cancelled.

    Parameters
    ----------
    source : RowSource
    params : KernelParams
        What the pass was run with.
    statistics : Statistics
        What it returned.
    floor : ndarray
        What will be added to the sums of squares, so that smaller errors do not matter: see
        :func:`vbfast.families.covariances.scatter_floor`.
    sample_weight : ndarray of shape (n_samples,), float64, optional
    workspace : object, optional
        From :func:`vbfast.engine.engine.new_workspace`.

    Returns
    -------
    Statistics or None
        About the new means; ``None`` where the given ones are good.
    """
    if statistics.second is None:
        return None
    weight = statistics.weight[:, np.newaxis]
    step = np.divide(
        statistics.first, weight, out=np.zeros_like(statistics.first), where=weight > 0
    )
    if not _cancelled(params, statistics, step, source.dtype, floor):
        return None
    means = statistics.centres + step
    return run_pass(
        source,
        distance_params(means),
        Request("given", statistics.kind),
        sample_weight=sample_weight,
        resp=PosteriorResponsibilities(source, params),
        workspace=workspace,
    ).statistics


@np.errstate(over="ignore", invalid="ignore")
def _cancelled(
    params: KernelParams,
    statistics: Statistics,
    step: Float64Array,
    dtype: np.dtype[Any],
    floor: Float64Array,
) -> bool:
    """Whether what has been subtracted from a sum of squares leaves too few digits of it."""
    assert statistics.second is not None
    kind, weight = statistics.kind, statistics.weight[:, np.newaxis]
    tolerated = LOSS[dtype] / float(np.finfo(dtype).eps)
    subtracted = weight * (np.square(step) + _squared_reach(params, dtype))
    along = 2.0 * (statistics.first - 0.5 * weight * step) * step
    shared = {"spherical": 1, "tied": 0}.get(kind)  # the axis of one variance for all
    if shared is not None:
        subtracted, along = (
            (values.mean if shared else values.sum)(axis=shared, keepdims=True)
            for values in (subtracted, along)
        )
    second = statistics.second
    if kind in ("full", "tied"):
        second = np.diagonal(second, axis1=-2, axis2=-1)
    elif kind == "spherical":
        second = second[:, np.newaxis]
    return bool((subtracted > tolerated * (second - along + floor)).any())


def _squared_reach(params: KernelParams, dtype: np.dtype[Any]) -> Float64Array:
    """Return how far, squared, points may be from the means that a pass took moments about.

    That point is in the middle of the components, and means that are farther from it than
    :data:`~vbfast.engine.contract.NEAR_LIMIT` says have moments about themselves.
    """
    possible = np.isfinite(params.offset)
    if not possible.any():
        return np.zeros_like(params.means)
    squared = np.square(params.means - np.median(params.means[possible], axis=0))
    P = params.precision_cholesky
    if params.covariance_type in ("full", "tied"):
        steepest = np.square(P).sum(axis=-2).max(axis=-1)
        distance = squared.sum(axis=1) * steepest
    else:
        distance = (squared * np.square(P.reshape(len(P), -1))).max(axis=1)
    near = distance <= 4.0 * NEAR_LIMIT[dtype]  # the middle is not the same for all backends
    return np.where(near[:, np.newaxis], squared, 0.0)
