"""Mixtures of other packages on PyTorch: pomegranate and tgmm."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np


def _tensors(task: Any) -> tuple[Any, ...]:
    """Return rows, weights, means and covariances in the rows' dtype."""
    import torch

    rows = torch.from_numpy(task.rows)
    start = (task.weights, task.means, task.covariances)
    return rows, *(torch.from_numpy(array).to(rows.dtype) for array in start)


class Pomegranate:
    """pomegranate: what its ``fit`` repeats, without the stop."""

    def __init__(self, task: Any) -> None:
        self._rows, *self._start = _tensors(task)
        self._kind = task.covariance_type
        self._model: Any = None

    @staticmethod
    def version() -> str:
        return version("pomegranate")

    def run(self, iterations: int) -> None:
        from pomegranate.distributions import Normal
        from pomegranate.gmm import GeneralMixtureModel

        weights, means, covariances = (array.clone() for array in self._start)
        self._model = GeneralMixtureModel(
            [
                Normal(mean, covariance, covariance_type=self._kind)
                for mean, covariance in zip(means, covariances, strict=True)
            ],
            priors=weights,
        )
        for _ in range(iterations):
            self._model.summarize(self._rows)
            self._model.from_summaries()

    def parameters(self) -> tuple[Any, Any, Any]:
        components = self._model.distributions
        means = np.stack([component.means.detach().numpy() for component in components])
        covariances = np.stack([component.covs.detach().numpy() for component in components])
        return self._model.priors.detach().numpy(), means, covariances


class Tgmm:
    """tgmm, with a tolerance that is never met."""

    def __init__(self, task: Any) -> None:
        self._rows, weights, means, covariances = _tensors(task)
        self._arguments = {
            "n_components": len(weights),
            "n_features": means.shape[1],
            "covariance_type": task.covariance_type,
            "init_weights": weights,
            "init_means": means,
            "init_covariances": covariances,
            "reg_covar": task.reg_covar,
            "tol": 1e-300,
            "device": "cpu",
        }
        self._model: Any = None

    @staticmethod
    def version() -> str:
        return version("tgmm")

    def run(self, iterations: int) -> None:
        from tgmm import GaussianMixture

        self._model = GaussianMixture(**self._arguments, max_iter=iterations).fit(self._rows)

    def parameters(self) -> tuple[Any, Any, Any]:
        model = self._model
        return model.weights_.numpy(), model.means_.numpy(), model.covariances_.numpy()
