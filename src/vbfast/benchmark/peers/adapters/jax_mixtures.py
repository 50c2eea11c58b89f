"""Mixtures of another package on JAX: gmmx."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np


class Gmmx:
    """gmmx, which has float32 alone, with a tolerance that is always met."""

    def __init__(self, task: Any) -> None:
        import jax.numpy as jnp
        from gmmx import GaussianMixtureModelJax

        self._rows = jnp.asarray(task.rows)
        means, covariances, weights = (
            np.asarray(array, np.float32) for array in (task.means, task.covariances, task.weights)
        )
        self._start = GaussianMixtureModelJax.from_squeezed(
            means, covariances, weights, task.covariance_type
        )
        self._reg_covar = task.reg_covar
        self._model: Any = None

    @staticmethod
    def version() -> str:
        return version("gmmx")

    def run(self, iterations: int) -> None:
        import jax
        from gmmx import EMFitter

        fitter = EMFitter(max_iter=iterations, tol=0.0, reg_covar=self._reg_covar)
        self._model = jax.block_until_ready(fitter.fit(self._rows, self._start).gmm)

    def parameters(self) -> tuple[Any, Any, Any]:
        model = self._model
        covariances = np.asarray(model.covariances.values_numpy)
        return np.asarray(model.weights_numpy), np.asarray(model.means_numpy), covariances
