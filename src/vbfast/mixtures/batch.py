r"""Many small Gaussian mixtures at once, each at rows of its own, as array mathematics.

What mixture density networks need: a pass over the rows of one mixture costs as much to set up as
some thousands of its log-joints, so that a thousand mixtures of five components with one row each
are some seventy times dearer one by one than together. Here every operation runs over all of them,
axes ``(n_features, n_components, n_mixtures, n_rows)`` with the long ones last, in float64, in
blocks of mixtures that stay in cache; the sums over components are array functions.

With ``d = x - mu_k``, ``y = P_k^T d`` and ``r`` the responsibility times the row's cotangent
(:mod:`vbfast.mixtures.gradient` has the sources),

    dL/dx = -sum_k r P_k y,    dL/dmu_k = sum_n r P_k y,
    dL/dP_k = sum_n r (diag(1 / P_k) - triu(d y^T)).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.arrays import functions
from vbfast.contract import CovarianceType, Float64Array, RowOutputs

__all__ = ["MixtureBatch"]

Array = npt.NDArray[Any]

# Coordinates of a block of mixtures: half a megabyte for each of the arrays of that size.
BLOCK = 1 << 16


@dataclass(frozen=True)
class MixtureBatch:
    """Mixtures of one shape, of which only upper triangles of matrices are read.

    Attributes
    ----------
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    offset : ndarray of shape (n_mixtures, n_components), float64
        Log weight and log-determinant of the factor, with the constant of the density.
    weights : ndarray of shape (n_mixtures, n_components), float64
    means : ndarray of shape (n_mixtures, n_components, n_features), float64
    precisions_cholesky : ndarray of shape (n_mixtures, ...), float64
    """

    covariance_type: CovarianceType
    offset: Float64Array
    weights: Float64Array
    means: Float64Array
    precisions_cholesky: Float64Array

    def value(self, x: Array, outputs: RowOutputs) -> None:
        """Fill in the log evidence of each row under its mixture, and its gradient on request.

        Parameters
        ----------
        x : ndarray of shape (n_mixtures, n_rows, n_features)
        outputs : RowOutputs
            ``log_evidence`` of shape (n_mixtures, n_rows); ``gradient`` of the shape of x, or None.
        """
        for block in self._blocks(x):
            log_joint, d, y = self._whitened(block, x[block])
            resp = None if outputs.gradient is None else _posterior(log_joint, d, y)
            self._fill(outputs, block, log_joint, resp, y)

    def pull_back(
        self, x: Array, cotangent: Array, outputs: RowOutputs | None = None
    ) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Gradients of ``sum(cotangent * log_evidence)`` in the parameters of each mixture.

        Parameters
        ----------
        x : ndarray of shape (n_mixtures, n_rows, n_features)
        cotangent : ndarray of shape (n_mixtures, n_rows)
            One that is not finite makes every gradient of its mixture NaN.
        outputs : RowOutputs, optional
            To be filled as by :meth:`value`.

        Returns
        -------
        weights_logits, means, precisions_cholesky : ndarray, shaped as the parameters
        """
        in_logits = np.empty(self.offset.shape)
        in_means = np.empty(self.means.shape)
        in_factors = np.zeros(self.precisions_cholesky.shape)
        for block in self._blocks(x):
            log_joint, d, y = self._whitened(block, x[block])
            signed = cotangent[block].astype(np.float64)
            signed[~np.isfinite(signed).all(axis=1)] = np.nan
            resp = _posterior(log_joint, d, y)
            if outputs is not None:
                self._fill(outputs, block, log_joint, resp, y)
            resp *= signed
            counts = resp.sum(axis=2)
            in_logits[block] = (counts - self.weights[block].T * counts.sum(axis=0)).T
            for i, z in enumerate(self._unwhitened(block, y)):
                in_means[block, :, i] = np.einsum("kbn,kbn->bk", resp, z)
            self._add_factor_gradient(in_factors[block], block, resp, counts, d, y)
        return in_logits, in_means, in_factors

    def _fill(
        self,
        outputs: RowOutputs,
        block: slice,
        log_joint: Float64Array,
        resp: Float64Array | None,
        y: Float64Array,
    ) -> None:
        """Write the outputs of a block; the responsibilities are for the gradient."""
        assert outputs.log_evidence is not None
        with np.errstate(over="ignore"):
            outputs.log_evidence[block] = functions.logsumexp(log_joint, axis=0)
            if outputs.gradient is not None:
                assert resp is not None
                for i, z in enumerate(self._unwhitened(block, y)):
                    outputs.gradient[block, :, i] = -(resp * z).sum(axis=0)

    def _blocks(self, x: Array) -> Iterator[slice]:
        n_mixtures, n_rows, n_features = x.shape
        size = max(1, BLOCK // max(1, n_rows * n_features * self.offset.shape[1]))
        return (slice(start, start + size) for start in range(0, n_mixtures, size))

    def _factors(self, block: slice) -> Float64Array:
        """Return the factors of a block, the axes of features first and an axis for rows last."""
        P = self.precisions_cholesky[block]
        order = {"full": (2, 3, 1, 0), "tied": (1, 2, 0), "diag": (2, 1, 0), "spherical": (1, 0)}
        P = np.ascontiguousarray(P.transpose(order[self.covariance_type]))
        if self.covariance_type == "tied":
            P = P[:, :, np.newaxis]
        return P[..., np.newaxis]

    def _whitened(self, block: slice, x: Array) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return the log-joint, the distances to the means, and those times the factors."""
        means = np.ascontiguousarray(self.means[block].transpose(2, 1, 0))
        rows = np.ascontiguousarray(x.transpose(2, 0, 1), dtype=np.float64)
        P = self._factors(block)
        with np.errstate(over="ignore", invalid="ignore"):
            d = rows[:, np.newaxis] - means[..., np.newaxis]
            if P.ndim == 5:
                y = np.empty_like(d)
                for j in range(len(y)):
                    np.einsum("i...,i...->...", d[: j + 1], P[: j + 1, j], out=y[j])
            else:
                y = d * P
            log_joint = self.offset[block].T[..., np.newaxis] - 0.5 * np.einsum(
                "i...,i...->...", y, y
            )
        return log_joint, d, y

    def _unwhitened(self, block: slice, y: Float64Array) -> Iterator[Float64Array]:
        """Yield ``P y`` feature by feature, the precision times the distance to the mean."""
        P = self._factors(block)
        for i in range(len(y)):
            if P.ndim == 5:
                yield np.einsum("j...,j...->...", P[i, i:], y[i:])
            else:
                yield y[i] * (P[i] if self.covariance_type == "diag" else P)

    def _add_factor_gradient(
        self,
        gradient: Float64Array,
        block: slice,
        resp: Float64Array,
        counts: Float64Array,
        d: Float64Array,
        y: Float64Array,
    ) -> None:
        """Add the gradient in the factors of a block to what is there."""
        P = self._factors(block)[..., 0]
        if self.covariance_type == "spherical":
            product = resp * np.einsum("i...,i...->...", d, y)
            gradient += (len(d) * counts / P - product.sum(axis=2)).T
            return
        for i in range(len(d)):
            scaled = resp * d[i]
            if self.covariance_type == "diag":
                gradient[:, :, i] += (counts / P[i] - np.einsum("kbn,kbn->kb", scaled, y[i])).T
                continue
            if self.covariance_type == "full":
                gradient[:, :, i, i] += (counts / P[i, i]).T
                gradient[:, :, i, i:] -= np.einsum("kbn,jkbn->bkj", scaled, y[i:])
            else:
                gradient[:, i, i] += (counts / P[i, i]).sum(axis=0)
                gradient[:, i, i:] -= np.einsum("kbn,jkbn->bj", scaled, y[i:])


def _posterior(log_joint: Float64Array, d: Float64Array, y: Float64Array) -> Float64Array:
    """Return responsibilities, zero where there is no density at all.

    Distances to components without a share become zero: they may be infinite.
    """
    resp = functions.posterior(log_joint, axis=0)
    none = resp == 0.0
    np.copyto(d, 0.0, where=none)
    np.copyto(y, 0.0, where=none)
    return resp
