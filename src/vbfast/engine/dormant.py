"""Passes without the components that no row can notice.

A component's log-joint is at most its offset, as the quadratic form is never negative. Where the
offset lies so far below the log evidence of every row that the component's responsibilities are
below 1e-30, no sum has a digit for them: the component is dormant, and is left out at no cost.
Mixtures fitted with more components than the data needs have many.

The evidence of a pass is known after it. So a pass goes by the lowest evidence of the one before
it, with a margin, and is repeated with every component should its own evidence not bear that out.

Not every component that has lost its rows is dormant. The offset of an empty component of a
variational mixture is that of its prior, whose density is broad, and what the weight takes off
decides: about 1 / concentration nats under a Dirichlet prior, as much again for every stick after
the last occupied one of a Dirichlet process, but only about log N for an empty stick before an
occupied one. To such sticks rows in the tails do give responsibilities that no sum can do without:
up to 1e-5, altogether 1e-5 rows a stick, with 40 'full' sticks for 20,000 rows of five clusters in
eight dimensions (1e-6 with 'diag'), where rounding is of the order of 1e-16. No sharper criterion
may leave them out, and an order that has them last is another posterior than scikit-learn's.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.engine.contract import (
    Float64Array,
    KernelParams,
    PassParams,
    PassResult,
    Request,
    Statistics,
)
from vbfast.engine.engine import run_pass
from vbfast.engine.rows import RowSource

__all__ = ["dormant_components", "run_pass_of_awake"]

# In nats below a row's largest log-joint: exp(-69) is 1e-30, which numba's kernels take for zero.
NEGLIGIBLE = 69.0
# How far the lowest evidence may fall from one pass to the next before a pass has to be repeated.
MARGIN = 20.0


def dormant_components(
    offset: Float64Array, lowest_log_evidence: float, *, margin: float = 0.0
) -> npt.NDArray[np.bool_]:
    """Return which components no row of at least the given log evidence can notice.

    Parameters
    ----------
    offset : ndarray of shape (n_components,)
        Of the log-joint.
    lowest_log_evidence : float
        Over the rows, nats; of any number of the components, but not of the dormant ones alone.
        With NaN none is dormant.
    margin : float
        By how much the evidence may be lower, nats.

    Returns
    -------
    ndarray of shape (n_components,), bool
    """
    # A row's largest log-joint is at least its evidence less log K.
    reach = NEGLIGIBLE + math.log(len(offset)) + margin
    return np.asarray(offset < lowest_log_evidence - reach)


def run_pass_of_awake(
    source: RowSource,
    params: PassParams,
    request: Request,
    *,
    lowest_log_evidence: float,
    sample_weight: Float64Array | None = None,
    workspace: Any = None,
) -> PassResult:
    """Visit every row once, leaving dormant components out.

    Parameters
    ----------
    source : RowSource
    params : KernelParams or CustomParams
        Of all components. Only of the former any is dormant.
    request : Request
        Of a 'posterior' pass.
    lowest_log_evidence : float
        Of the pass before with similar parameters; ``-inf`` where there was none.
    sample_weight, workspace
        As for :func:`vbfast.engine.engine.run_pass`, whose exceptions are raised.

    Returns
    -------
    PassResult
        Of all components: a dormant one's statistics are zero.

    Examples
    --------
    >>> import numpy as np
    >>> from vbfast.engine.contract import KernelParams, Request
    >>> from vbfast.engine.dormant import run_pass_of_awake
    >>> from vbfast.engine.rows import as_row_source
    >>> X = np.array([[0.0], [2.0]])
    >>> params = KernelParams(
    ...     "spherical", np.array([0.0, -200.0]), np.zeros((2, 1)), np.ones(2)
    ... )
    >>> result = run_pass_of_awake(
    ...     as_row_source(X), params, Request(statistics="diag"), lowest_log_evidence=-2.0
    ... )
    >>> result.statistics.weight
    array([2., 0.])
    """
    # A custom density may lie above its offset: what it adds to it is known row by row.
    dormant = dormant_components(params.offset, lowest_log_evidence, margin=MARGIN)
    if isinstance(params, KernelParams) and dormant.any() and not dormant.all():
        result = run_pass(
            source,
            _only(params, ~dormant),
            request,
            sample_weight=sample_weight,
            workspace=workspace,
            plan_components=params.n_components,
        )
        seen = dormant_components(params.offset, result.lowest_log_evidence)
        if np.all(seen[dormant]):
            return _of_all(result, params, ~dormant)
    return run_pass(source, params, request, sample_weight=sample_weight, workspace=workspace)


def _only(params: KernelParams, kept: npt.NDArray[np.bool_]) -> KernelParams:
    tied = params.covariance_type == "tied"
    return KernelParams(
        params.covariance_type,
        params.offset[kept],
        params.means[kept],
        params.precision_cholesky if tied else params.precision_cholesky[kept],
    )


def _of_all(result: PassResult, params: KernelParams, kept: npt.NDArray[np.bool_]) -> PassResult:
    """Give the components that were left out their statistics: nothing."""
    statistics = result.statistics
    if statistics is None:
        return result

    def spread(values: Float64Array) -> Float64Array:
        whole = np.zeros((len(kept), *values.shape[1:]))
        whole[kept] = values
        return whole

    second = statistics.second
    if second is not None and statistics.kind != "tied":
        second = spread(second)
    whole = Statistics(
        statistics.kind, params.means, spread(statistics.weight), spread(statistics.first), second
    )
    return dataclasses.replace(result, statistics=whole)
