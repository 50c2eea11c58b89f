"""EM in array operations, as users of JAX and of PyTorch write it.

The formulas are those of Bishop (2006), 9.24 to 9.27. No array has an axis for rows, components and
features at once: such arrays are larger than caches and slower than products of matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Parameters = tuple[Any, Any, Any]


class Operations:
    """What the libraries call differently.

    Attributes
    ----------
    xp : module
        With NumPy's names.
    logsumexp : callable
    each : callable
        Takes a function and arrays, and stacks what it returns for each component.
    """

    def __init__(self, xp: Any, logsumexp: Callable[..., Any], each: Callable[..., Any]) -> None:
        self.xp, self.logsumexp, self.each = xp, logsumexp, each


def log_joint(ops: Operations, x: Any, parameters: Parameters, kind: str) -> Any:
    """Return the log-joint, shape (n_samples, n_components), less D/2 log 2 pi."""
    xp = ops.xp
    weights, means, covariances = parameters
    if kind == "full":
        factors = xp.linalg.inv(xp.linalg.cholesky(covariances))
        squares = ops.each(
            lambda mean, factor: (((x - mean) @ factor.T) ** 2).sum(1), means, factors
        ).T
        log_det = xp.log(xp.linalg.det(factors))
    elif kind == "tied":
        factor = xp.linalg.inv(xp.linalg.cholesky(covariances))
        squares = distances(x @ factor.T, means @ factor.T)
        log_det = xp.log(xp.linalg.det(factor))
    elif kind == "diag":
        p = 1.0 / covariances
        squares = (x**2) @ p.T - 2.0 * (x @ (means * p).T) + (means**2 * p).sum(1)
        log_det = 0.5 * xp.log(p).sum(1)
    else:
        squares = distances(x, means) / covariances
        log_det = -0.5 * x.shape[1] * xp.log(covariances)
    return xp.log(weights) + log_det - 0.5 * squares


def distances(x: Any, means: Any) -> Any:
    """Return squared distances, shape (n_samples, n_components)."""
    return (x**2).sum(1)[:, None] - 2.0 * (x @ means.T) + (means**2).sum(1)


def step(ops: Operations, x: Any, parameters: Parameters, kind: str, reg: float) -> Any:
    """Return the parameters after one iteration."""
    joint = log_joint(ops, x, parameters, kind)
    q = ops.xp.exp(joint - ops.logsumexp(joint, 1)[:, None])
    counts = q.sum(0)
    means = (q.T @ x) / counts[:, None]
    added = reg * ops.xp.eye(x.shape[1], dtype=x.dtype)

    def covariance(resp: Any, count: Any, mean: Any) -> Any:
        centred = x - mean
        return (centred * resp[:, None]).T @ centred / count + added

    if kind == "full":
        covariances = ops.each(covariance, q.T, counts, means)
    elif kind == "tied":
        covariances = (x.T @ x - (means.T * counts) @ means) / x.shape[0] + added
    else:
        covariances = (q.T @ x**2) / counts[:, None] - means**2 + reg
        if kind == "spherical":
            covariances = covariances.mean(1)
    return counts / x.shape[0], means, covariances


class PyTorch:
    """Eager PyTorch on the processor."""

    def __init__(self, task: Any) -> None:
        import torch

        self._rows = torch.from_numpy(task.rows)
        start = (task.weights, task.means, task.covariances)
        self._start = tuple(torch.from_numpy(a).to(self._rows.dtype) for a in start)
        self._kind, self._reg = task.covariance_type, task.reg_covar
        self._parameters: Any = None

    @staticmethod
    def version() -> str:
        import torch

        return str(torch.__version__)

    def run(self, iterations: int) -> None:
        import torch

        def each(function: Callable[..., Any], *arrays: Any) -> Any:
            return torch.stack([function(*slices) for slices in zip(*arrays, strict=True)])

        ops = Operations(torch, torch.logsumexp, each)
        parameters = self._start
        with torch.inference_mode():
            for _ in range(iterations):
                parameters = step(ops, self._rows, parameters, self._kind, self._reg)
        self._parameters = parameters

    def parameters(self) -> Parameters:
        weights, means, covariances = (a.numpy() for a in self._parameters)
        return weights, means, covariances


class Jax:
    """JAX, an iteration compiled by XLA."""

    def __init__(self, task: Any) -> None:
        import jax
        import jax.numpy as jnp
        from jax.scipy.special import logsumexp

        jax.config.update("jax_enable_x64", task.rows.dtype.itemsize == 8)

        def each(function: Callable[..., Any], *arrays: Any) -> Any:
            return jax.lax.map(lambda slices: function(*slices), arrays)

        ops = Operations(jnp, logsumexp, each)
        kind, reg = task.covariance_type, task.reg_covar
        self._rows = jnp.asarray(task.rows)
        start = (task.weights, task.means, task.covariances)
        self._start = tuple(jnp.asarray(a, self._rows.dtype) for a in start)
        self._parameters: Any = None
        self._step: Callable[..., Any] = jax.jit(
            lambda x, parameters: step(ops, x, parameters, kind, reg)
        )

    @staticmethod
    def version() -> str:
        import jax

        return str(jax.__version__)

    def run(self, iterations: int) -> None:
        import jax

        parameters: Any = self._start
        for _ in range(iterations):
            parameters = self._step(self._rows, parameters)
        self._parameters = jax.block_until_ready(parameters)

    def parameters(self) -> Parameters:
        return self._parameters  # type: ignore[no-any-return]
