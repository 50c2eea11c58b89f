"""Mean and variance of the columns, by one pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from vbfast.engine.contract import Float64Array, KernelParams, Request, Statistics, StatisticsKind
from vbfast.engine.engine import run_pass
from vbfast.engine.rows import RowSource

__all__ = ["column_moments", "moments_about"]

# How many variances the square of a mean may be, measured from where moments are taken about.
FAR = 100.0


def moments_about(
    source: RowSource,
    centre: Float64Array,
    kind: StatisticsKind,
    *,
    sample_weight: Float64Array | None = None,
    workspace: Any = None,
) -> Statistics:
    """Return the statistics of all rows as one component, about ``centre`` of shape (n_features,).

    Raises
    ------
    NonFiniteRowError
        If a row is not finite; the first such row.
    """
    centred = KernelParams("spherical", np.zeros(1), centre[np.newaxis], np.ones(1))
    result = run_pass(
        source,
        centred,
        Request("hard", kind),
        sample_weight=sample_weight,
        workspace=workspace,
    )
    assert result.statistics is not None
    return result.statistics


@np.errstate(over="ignore", invalid="ignore")  # a variance may be too large for a float64
def column_moments(
    source: RowSource, *, sample_weight: Float64Array | None = None, workspace: Any = None
) -> tuple[Float64Array, Float64Array]:
    """Return the weighted mean and variance of each column.

    Moments are taken about the first row, so that a mean far from zero costs no digits, and once
    more about the mean where the first row is so far from the others that they lost some.

    Parameters
    ----------
    source : RowSource
    sample_weight : ndarray of shape (n_samples,), float64, optional
    workspace : object, optional
        From :func:`vbfast.engine.engine.new_workspace`.

    Returns
    -------
    mean, variance : ndarray of shape (n_features,), float64

    Raises
    ------
    NonFiniteRowError
        If a row is not finite; the first such row.
    """
    first_row = source.block(0, 1)[0].astype(np.float64)
    centre = np.where(np.isfinite(first_row), first_row, 0.0)
    for _ in range(2):
        statistics = moments_about(
            source, centre, "diag", sample_weight=sample_weight, workspace=workspace
        )
        assert statistics.second is not None
        step = statistics.first[0] / statistics.weight[0]
        variance = statistics.second[0] / statistics.weight[0] - step**2
        centre = centre + step
        if not np.any(step**2 > FAR * variance):
            break
    return centre, np.maximum(variance, 0.0)
