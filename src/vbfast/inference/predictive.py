"""Posterior predictive density of a variational mixture, row by row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vbfast.arrays.functions import logsumexp
from vbfast.contract import FloatArray
from vbfast.families.mixture_posterior import MixturePosterior
from vbfast.families.student_t import StudentT
from vbfast.inference.runner import RowRunner

__all__ = ["log_predictive_density"]

# Memory for the log-densities of a block of rows under every component: about what stays in cache.
BLOCK_BYTES = 4 << 20


def log_predictive_density(runner: RowRunner, posterior: MixturePosterior) -> FloatArray:
    """Evaluate ``log sum_k E[pi_k] St_k(x_n)``, nats (Bishop 2006, eq. 10.81).

    Rows are taken in blocks. A pass over one tells every row's distance from every component, of
    which the density is a function.

    Parameters
    ----------
    runner : RowRunner
    posterior : MixturePosterior

    Returns
    -------
    ndarray of shape (n_samples,), in the dtype of the rows

    Raises
    ------
    NonFiniteRowError
        If a row is not finite; the first such row.
    """
    expected = posterior.log_joint()
    K = expected.n_components
    kernel = replace(expected, offset=np.zeros(K))
    with np.errstate(divide="ignore"):
        log_weights = np.log(posterior.weights.mean)
    densities = StudentT.from_posterior(posterior.components)
    result = np.empty(runner.n_samples, dtype=runner.dtype)
    step = max(1, BLOCK_BYTES // (8 * K))
    for rows, log_kernel in runner.log_joint_blocks(kernel, step):
        log_joint = densities.log_density(log_kernel)
        log_joint += log_weights
        result[rows] = logsumexp(log_joint, axis=1)
    return result
