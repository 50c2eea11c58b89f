"""The matrix product that the floor is computed from: each iteration is one product."""

from __future__ import annotations

from typing import Any

from vbfast.benchmark.timing import MatrixProduct


class Product:
    """NumPy's BLAS, on matrices of the rows' dtype."""

    def __init__(self, task: Any) -> None:
        self._product = MatrixProduct(task.rows.dtype)

    @staticmethod
    def version() -> str:
        import numpy as np

        return np.__version__

    def run(self, iterations: int) -> None:
        for _ in range(iterations):
            self._product.seconds()
