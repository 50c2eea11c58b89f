"""Posterior predictive density of a variational mixture, row by row."""

from __future__ import annotations

import numpy as np

from vbfast.engine.contract import (
    Float64Array,
    FloatArray,
    KernelParams,
    NonFiniteRowError,
    Request,
    RowOutputs,
)
from vbfast.engine.engine import new_workspace, run_pass
from vbfast.engine.rows import RowSource, as_row_source
from vbfast.families.student_t import StudentT
from vbfast.families.variational import MixturePosterior
from vbfast.ops import logsumexp

__all__ = ["log_predictive_density"]

# Memory for the log-densities of a block of rows under every component.
BLOCK_BYTES = 32 << 20


def log_predictive_density(source: RowSource, posterior: MixturePosterior) -> FloatArray:
    """Evaluate ``log sum_k E[pi_k] St_k(x_n)``, nats (Bishop 2006, eq. 10.81).

    Parameters
    ----------
    source : RowSource
    posterior : MixturePosterior

    Returns
    -------
    ndarray of shape (n_samples,), in the dtype of the rows

    Raises
    ------
    NonFiniteRowError
        If a row is not finite; the first such row.
    """
    params = posterior.kernel_params()
    n_components = params.n_components
    with np.errstate(divide="ignore"):
        log_weights = np.log(posterior.weights.mean)
    densities = StudentT.from_posterior(posterior.components)
    result = np.empty(source.n_samples, dtype=source.dtype)
    step = max(1, BLOCK_BYTES // (8 * n_components))
    workspace = new_workspace()
    for start in range(0, source.n_samples, step):
        rows = source.block(start, min(start + step, source.n_samples))
        block = as_row_source(rows)
        half_distance = np.empty(len(rows), dtype=source.dtype)
        log_joint = np.empty((n_components, len(rows)))
        for k in range(n_components):
            try:
                run_pass(
                    block,
                    _distance_from(params, k),
                    Request(),
                    outputs=RowOutputs(log_evidence=half_distance),
                    workspace=workspace,
                )
            except NonFiniteRowError as error:
                raise NonFiniteRowError(start + error.row) from None
            distances: Float64Array = half_distance.astype(np.float64)
            log_joint[k] = log_weights[k] + densities.log_density(k, distances)
        result[start : start + len(rows)] = logsumexp(log_joint, axis=0)
    return result


def _distance_from(params: KernelParams, component: int) -> KernelParams:
    """Return the log-joint ``-1/2 ||(x - m_k) P_k||^2`` of one component."""
    k = slice(component, component + 1)
    factor = params.precision_cholesky
    return KernelParams(
        params.covariance_type,
        np.zeros(1),
        params.means[k],
        factor if params.covariance_type == "tied" else factor[k],
    )
