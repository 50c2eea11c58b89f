"""The array functions as loops that numba compiles: parallel over rows, sums in any order."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

# Not the flags that assume finite numbers: what a user may switch on without changing the meaning.
compiled = njit(parallel=True, cache=True, fastmath={"reassoc", "contract", "nsz", "arcp"})


@compiled
def logsumexp(x, out):
    for n in prange(x.shape[0]):
        top = x[n].max()
        total = x.dtype.type(0)
        for k in range(x.shape[1]):
            total += np.exp(x[n, k] - top)
        out[n] = top + np.log(total)


@compiled
def softmax(x, out):
    for n in prange(x.shape[0]):
        top = x[n].max()
        total = x.dtype.type(0)
        for k in range(x.shape[1]):
            out[n, k] = np.exp(x[n, k] - top)
            total += out[n, k]
        for k in range(x.shape[1]):
            out[n, k] /= total


@compiled
def log_softmax(x, out):
    for n in prange(x.shape[0]):
        top = x[n].max()
        total = x.dtype.type(0)
        for k in range(x.shape[1]):
            total += np.exp(x[n, k] - top)
        shift = top + np.log(total)
        for k in range(x.shape[1]):
            out[n, k] = x[n, k] - shift


@compiled
def entropy(x, out):
    for n in prange(x.shape[0]):
        top = x[n].max()
        total = x.dtype.type(0)
        moment = x.dtype.type(0)
        for k in range(x.shape[1]):
            d = x[n, k] - top
            e = np.exp(d)
            total += e
            moment += e * d
        out[n] = np.log(total) - moment / total


@compiled
def elbo_at_posterior(x, out):
    """Evidence, entropy and expected log-joint of every row."""
    for n in prange(x.shape[0]):
        top = x[n].max()
        total = x.dtype.type(0)
        moment = x.dtype.type(0)
        for k in range(x.shape[1]):
            d = x[n, k] - top
            e = np.exp(d)
            total += e
            moment += e * d
        out[n, 0] = top + np.log(total)
        out[n, 1] = np.log(total) - moment / total
        out[n, 2] = top + moment / total


@compiled
def elbo(q_logits, x, out):
    """Evidence, entropy and expected log-joint of every row."""
    for n in prange(x.shape[0]):
        top, q_top = x[n].max(), q_logits[n].max()
        evidence = x.dtype.type(0)
        total = x.dtype.type(0)
        moment = x.dtype.type(0)
        expected = x.dtype.type(0)
        for k in range(x.shape[1]):
            evidence += np.exp(x[n, k] - top)
            d = q_logits[n, k] - q_top
            e = np.exp(d)
            total += e
            moment += e * d
            expected += e * x[n, k]
        out[n, 0] = top + np.log(evidence)
        out[n, 1] = np.log(total) - moment / total
        out[n, 2] = expected / total


@compiled
def elbo_and_grad(q_logits, x, gradient, q, out):
    for n in prange(x.shape[0]):
        top = q_logits[n].max()
        total = x.dtype.type(0)
        gap = x.dtype.type(0)
        for k in range(x.shape[1]):
            d = q_logits[n, k] - top
            e = np.exp(d)
            q[n, k] = e
            total += e
            gap += e * (x[n, k] - d)
        gap /= total
        out[n] = gap + np.log(total)
        for k in range(x.shape[1]):
            q[n, k] /= total
            gradient[n, k] = q[n, k] * (x[n, k] - (q_logits[n, k] - top) - gap)
