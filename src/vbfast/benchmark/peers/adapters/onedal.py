"""Intel's oneDAL through daal4py, whose interpreter is that of an environment of its own."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np


class OneDAL:
    """The EM of oneDAL, with a threshold that is never met."""

    def __init__(self, task: Any) -> None:
        dtype = task.rows.dtype
        self._rows = task.rows
        self._weights = task.weights[np.newaxis].astype(dtype)
        self._means = task.means.astype(dtype)
        covariances = task.covariances.astype(dtype)
        self._full = task.covariance_type == "full"
        self._covariances = [c if self._full else c[np.newaxis] for c in covariances]
        self._type = "double" if dtype == np.float64 else "float"
        self._result: Any = None

    @staticmethod
    def version() -> str:
        return version("daal4py")

    def run(self, iterations: int) -> None:
        import daal4py

        algorithm = daal4py.em_gmm(
            len(self._means),
            fptype=self._type,
            maxIterations=iterations,
            accuracyThreshold=0.0,
            covarianceStorage="full" if self._full else "diagonal",
        )
        self._result = algorithm.compute(self._rows, self._weights, self._means, self._covariances)

    def parameters(self) -> tuple[Any, Any, Any]:
        covariances = np.stack(self._result.covariances)
        if not self._full:
            covariances = covariances[:, 0]
        return self._result.weights[0], self._result.means, covariances
