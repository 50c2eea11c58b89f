"""EM as loops that numba compiles, as a user writes them: parallel over chunks of rows."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import njit, prange

CHUNKS_PER_THREAD = 4  # so that a thread that ends early finds more to do

# Not the flags that assume finite numbers: what a user may switch on without changing the meaning.
_inner = njit(fastmath={"reassoc", "contract", "nsz", "arcp"})
_outer = njit(parallel=True, fastmath={"reassoc", "contract", "nsz", "arcp"})


@_inner
def posterior(joint: Any) -> None:
    """Turn log-joints into responsibilities."""
    top = joint.max()
    total = joint.dtype.type(0)
    for k in range(len(joint)):
        joint[k] = np.exp(joint[k] - top)
        total += joint[k]
    for k in range(len(joint)):
        joint[k] /= total


@_outer
def full_sums(
    x: Any, offset: Any, means: Any, factors: Any, counts: Any, sums: Any, moments: Any
) -> None:
    """Add up the statistics of full covariances, by chunks; moments are about the means."""
    N, D = x.shape
    K, C = len(means), len(counts)
    for c in prange(C):
        q, centred = np.empty(K, x.dtype), np.empty((K, D), x.dtype)
        for n in range(N * c // C, N * (c + 1) // C):
            for k in range(K):
                for i in range(D):
                    centred[k, i] = x[n, i] - means[k, i]
                square = x.dtype.type(0)
                for i in range(D):
                    y = x.dtype.type(0)
                    for j in range(i + 1):
                        y += factors[k, i, j] * centred[k, j]
                    square += y * y
                q[k] = offset[k] - x.dtype.type(0.5) * square
            posterior(q)
            for k in range(K):
                counts[c, k] += q[k]
                for i in range(D):
                    weighted = q[k] * centred[k, i]
                    sums[c, k, i] += weighted
                    for j in range(i + 1):
                        moments[c, k, i, j] += weighted * centred[k, j]


@_outer
def diag_sums(
    x: Any, offset: Any, means: Any, precisions: Any, counts: Any, sums: Any, moments: Any
) -> None:
    """Add up the statistics of diagonal covariances, by chunks; moments are about the means."""
    N, D = x.shape
    K, C = len(means), len(counts)
    for c in prange(C):
        q = np.empty(K, x.dtype)
        for n in range(N * c // C, N * (c + 1) // C):
            for k in range(K):
                square = x.dtype.type(0)
                for i in range(D):
                    square += precisions[k, i] * (x[n, i] - means[k, i]) ** 2
                q[k] = offset[k] - x.dtype.type(0.5) * square
            posterior(q)
            for k in range(K):
                counts[c, k] += q[k]
                for i in range(D):
                    centred = x[n, i] - means[k, i]
                    sums[c, k, i] += q[k] * centred
                    moments[c, k, i] += q[k] * centred * centred


class Numba:
    """The loops, and the small rest in NumPy."""

    def __init__(self, task: Any) -> None:
        self._rows, self._kind, self._reg = task.rows, task.covariance_type, task.reg_covar
        self._start = (task.weights, task.means, task.covariances)
        self._parameters: Any = self._start

    @staticmethod
    def version() -> str:
        return str(numba.__version__)

    def run(self, iterations: int) -> None:
        self._parameters = self._start
        for _ in range(iterations):
            self._parameters = self._step(*self._parameters)

    def _step(self, weights: Any, means: Any, covariances: Any) -> tuple[Any, Any, Any]:
        K, D = means.shape
        dtype = self._rows.dtype
        if self._kind == "full":
            sum_up = full_sums
            coefficients = np.linalg.inv(np.linalg.cholesky(covariances))
            log_det = np.log(np.diagonal(coefficients, axis1=1, axis2=2)).sum(axis=1)
        else:
            sum_up = diag_sums
            coefficients = np.broadcast_to((1.0 / covariances).reshape(K, -1), (K, D))
            log_det = 0.5 * np.log(coefficients).sum(axis=1)
        chunks = CHUNKS_PER_THREAD * numba.get_num_threads()
        statistics = [
            np.zeros((chunks, K, *shape), dtype) for shape in ((), (D,), coefficients.shape[1:])
        ]
        given = (np.log(weights) + log_det, means, coefficients)
        sum_up(self._rows, *(np.ascontiguousarray(a, dtype) for a in given), *statistics)
        counts, sums, moments = (each.sum(axis=0, dtype=np.float64) for each in statistics)
        shift = sums / counts[:, np.newaxis]
        if self._kind == "full":
            lower = np.tril(moments, -1)
            scatter = (moments + lower.transpose(0, 2, 1)) / counts[:, np.newaxis, np.newaxis]
            outer = shift[:, :, np.newaxis] * shift[:, np.newaxis, :]
            covariances = scatter - outer + self._reg * np.eye(D)
        else:
            covariances = moments / counts[:, np.newaxis] - shift**2 + self._reg
            if self._kind == "spherical":
                covariances = covariances.mean(axis=1)
        return counts / len(self._rows), means + shift, covariances

    def parameters(self) -> tuple[Any, Any, Any]:
        weights, means, covariances = self._parameters
        return weights, means, covariances
