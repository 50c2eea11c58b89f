"""vbfast's and scikit-learn's mixtures: their fits take as many iterations as ``max_iter``."""

from __future__ import annotations

from typing import Any

import numpy as np


def precisions(task: Any) -> Any:
    """Return the inverse covariances of a task, shaped alike."""
    if task.covariance_type in ("full", "tied"):
        return np.linalg.inv(task.covariances)
    return 1.0 / task.covariances


class _Fits:
    """Fits of a class with scikit-learn's interface."""

    mixture: Any

    def __init__(self, task: Any) -> None:
        self._rows = task.rows
        self._fit = self.mixture(
            len(task.weights),
            covariance_type=task.covariance_type,
            weights_init=task.weights,
            means_init=task.means,
            precisions_init=precisions(task),
            reg_covar=task.reg_covar,
            tol=0.0,
        )

    def run(self, iterations: int) -> None:
        self._fit.set_params(max_iter=iterations).fit(self._rows)

    def parameters(self) -> tuple[Any, Any, Any]:
        return self._fit.weights_, self._fit.means_, self._fit.covariances_


class Ours(_Fits):
    """vbfast."""

    @staticmethod
    def version() -> str:
        import vbfast

        return vbfast.__version__

    @staticmethod
    def mixture(*arguments: Any, **keywords: Any) -> Any:
        from vbfast import GaussianMixture

        return GaussianMixture(*arguments, **keywords)


class ScikitLearn(_Fits):
    """scikit-learn."""

    @staticmethod
    def version() -> str:
        import sklearn

        return str(sklearn.__version__)

    @staticmethod
    def mixture(*arguments: Any, **keywords: Any) -> Any:
        from sklearn.mixture import GaussianMixture

        return GaussianMixture(*arguments, **keywords)
