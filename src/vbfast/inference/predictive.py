"""Posterior predictive density of a variational mixture, row by row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vbfast.engine.contract import FloatArray
from vbfast.engine.engine import new_workspace
from vbfast.engine.rows import RowSource
from vbfast.families.student_t import StudentT
from vbfast.families.variational import MixturePosterior
from vbfast.inference.log_joint_blocks import log_joint_blocks
from vbfast.ops import logsumexp

__all__ = ["log_predictive_density"]

# Memory for the log-densities of a block of rows under every component: about what stays in cache.
BLOCK_BYTES = 4 << 20


def log_predictive_density(source: RowSource, posterior: MixturePosterior) -> FloatArray:
    """Evaluate ``log sum_k E[pi_k] St_k(x_n)``, nats (Bishop 2006, eq. 10.81).

    Rows are taken in blocks. A pass over one tells every row's distance from every component, of
    which the density is a function.

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
    K = params.n_components
    params = replace(params, offset=np.zeros(K))
    with np.errstate(divide="ignore"):
        log_weights = np.log(posterior.weights.mean)
    densities = StudentT.from_posterior(posterior.components)
    result = np.empty(source.n_samples, dtype=source.dtype)
    step = max(1, BLOCK_BYTES // (8 * K))
    for rows, log_kernel in log_joint_blocks(source, params, step, new_workspace()):
        log_joint = densities.log_density(log_kernel)
        log_joint += log_weights
        result[rows] = logsumexp(log_joint, axis=1)
    return result
