"""EM by PyTorch's matrix products, in chunks of rows: the peer of bench/cuda.py.

Log-joints, responsibilities and moments of a chunk are whole arrays, as one writes them without
kernels of one's own: squares and products of rows about their mean, moments by one product for all
components, the global step in float64 by batched factorisations. Triangles are multiplied whole.
"""

from __future__ import annotations

import math

import numpy as np
import torch

# Numbers of the largest array of a chunk.
CHUNK_NUMBERS = 1 << 28


class TorchMixture:
    """A mixture whose iterations run on the device of its rows.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
    parameters : GaussianParameters
        The start.
    reg_covar : float
    device : str
    """

    def __init__(self, rows, parameters, reg_covar, device):
        self.kind = parameters.covariance_type
        self.reg_covar = reg_covar
        self.origin = rows.mean(axis=0, dtype=np.float64)
        self.X = torch.from_numpy(rows).to(device)
        self.X = self.X - self._on_device(self.origin)
        N, D = self.X.shape
        K = parameters.n_components
        width = K * D if self.kind == "full" else K + D
        self.chunk_rows = max(1, min(N, CHUNK_NUMBERS // width))
        self.start = [
            torch.from_numpy(np.ascontiguousarray(array, np.float64)).to(device)
            for array in (
                parameters.weights,
                parameters.means - self.origin,
                parameters.precision_cholesky,
            )
        ]

    def _on_device(self, array):
        if isinstance(array, np.ndarray):
            array = torch.from_numpy(array)
        return array.to(self.X)

    def iterate(self, n_iterations, *, moments=True):
        """Return the evidence a row of the last iteration, and wait for it.

        ``moments=False`` is for one E-step.
        """
        weights, means, P = self.start
        for _ in range(n_iterations):
            evidence, sums = self._pass(weights, means, P, moments)
            if moments:
                weights, means, P = self._global_step(*sums)
        return float(evidence) / len(self.X)

    def _pass(self, weights, means, P, moments):
        joint_of = self._log_joint(weights, means, P)
        (K, D), X = means.shape, self.X
        evidence = torch.zeros((), dtype=torch.float64, device=X.device)
        weight = torch.zeros(K, dtype=torch.float64, device=X.device)
        first = torch.zeros(K, D, dtype=torch.float64, device=X.device)
        shape = (K, D, D) if self.kind == "full" else (K, D)
        second = torch.zeros(shape, dtype=torch.float64, device=X.device)
        for x in X.split(self.chunk_rows):
            joint = joint_of(x)
            log_evidence = joint.logsumexp(dim=1)
            evidence += log_evidence.sum(dtype=torch.float64)
            if not moments:
                continue
            resp = joint.sub_(log_evidence[:, None]).exp_()
            weight += resp.sum(dim=0, dtype=torch.float64)
            first += resp.T @ x
            if self.kind == "full":
                weighed = (resp[:, :, None] * x[:, None, :]).reshape(len(x), K * D)
                second += (weighed.T @ x).reshape(K, D, D)
            else:
                second += resp.T @ (x * x)
        return evidence, (weight, first, second)

    def _log_joint(self, weights, means, P):
        """A function from a chunk of rows to its log-joints."""
        K, D = means.shape
        if self.kind == "full":
            log_det = P.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        else:
            log_det = P.log().sum(dim=1) if self.kind == "diag" else D * P.log()
        offset = self._on_device(weights.log() + log_det - 0.5 * D * math.log(2 * math.pi))
        if self.kind == "full":
            factors = self._on_device(P.permute(1, 0, 2).reshape(D, K * D))
            whitened = self._on_device(torch.einsum("kd,kde->ke", means, P).reshape(K * D))

            def joint(x):
                y = torch.addmm(whitened, x, factors, beta=-1)
                return offset - 0.5 * y.square_().reshape(len(x), K, D).sum(dim=2)

            return joint
        precision = P**2 if self.kind == "diag" else (P**2)[:, None].expand(K, D)
        offset = offset - 0.5 * self._on_device((precision * means**2).sum(dim=1))
        slopes = self._on_device((precision * means).T.contiguous())
        if self.kind == "diag":
            halves = self._on_device(0.5 * precision.T.contiguous())
            return lambda x: torch.addmm(offset, x, slopes).sub_((x * x) @ halves)
        half = self._on_device(0.5 * P**2)
        return lambda x: torch.addmm(offset, x, slopes).sub_(x.square().sum(dim=1)[:, None] * half)

    def _global_step(self, weight, first, second):
        means = first / weight[:, None]
        weights = weight / weight.sum()
        if self.kind == "full":
            covariances = second / weight[:, None, None] - means[:, :, None] * means[:, None, :]
            covariances.diagonal(dim1=1, dim2=2).add_(self.reg_covar)
            lower = torch.linalg.cholesky(covariances)
            identity = torch.eye(means.shape[1], dtype=lower.dtype, device=lower.device)
            P = torch.linalg.solve_triangular(lower, identity.expand_as(lower), upper=False)
            return weights, means, P.transpose(1, 2).contiguous()
        variances = second / weight[:, None] - means**2
        if self.kind == "spherical":
            variances = variances.mean(dim=1)
        return weights, means, (variances + self.reg_covar).rsqrt()
