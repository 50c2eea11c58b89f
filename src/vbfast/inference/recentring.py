"""Second moments about the new means, for components that move far in one iteration.

A pass takes moments about the means that it is given. Where a component then moves by many of its
standard deviations, as from a start far from the rows, moving its second moments along subtracts
``N s s^T`` from a number hardly larger, and what rounding left of it is no covariance. One more
pass with the same responsibilities, about the means that the first one led to, has nothing to
subtract.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from vbfast.engine.contract import (
    Float64Array,
    FloatArray,
    KernelParams,
    Request,
    RowOutputs,
    Statistics,
)
from vbfast.engine.engine import run_pass
from vbfast.engine.rows import RowSource, as_row_source
from vbfast.families.covariances import scatter_about
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


class PosteriorResponsibilities:
    """The responsibilities of given parameters, made block by block."""

    in_memory = False

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
    tolerated = LOSS[source.dtype] / float(np.finfo(source.dtype).eps)
    if not _cancelled(statistics, step, tolerated, floor):
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
    statistics: Statistics, step: Float64Array, tolerated: float, floor: Float64Array
) -> bool:
    """Whether a squared step is more than ``tolerated`` times a variance."""
    assert statistics.second is not None
    moved = statistics.weight[:, np.newaxis] * np.square(step)
    shared = {"spherical": 1, "tied": 0}.get(statistics.kind)  # the axis of one variance for all
    if shared is not None:
        moved = (moved.mean if shared else moved.sum)(axis=shared, keepdims=True)
    suspect = moved > tolerated * floor
    if not suspect.any():
        return False
    kept = scatter_about(statistics, statistics.second, step)
    if statistics.kind in ("full", "tied"):
        kept = np.diagonal(kept, axis1=-2, axis2=-1)
    elif statistics.kind == "spherical":
        kept = kept[:, np.newaxis]
    return bool((suspect & (moved > tolerated * (kept + floor))).any())
