"""Fair timing, and the peak that it is compared with."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.contract import Float64Array

__all__ = ["PRODUCT_SIZE", "MatrixProduct", "Reading", "alternate", "seconds"]

# Rows and columns of the matrices whose product is the peak.
PRODUCT_SIZE = 2500


def seconds(call: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def alternate(calls: Sequence[Callable[[], Any]], repeats: int) -> Float64Array:
    """Return median seconds of each call. They take turns, so that all see the same machine."""
    times = np.array([[seconds(call) for call in calls] for _ in range(repeats)])
    return np.asarray(np.median(times, axis=0))


class MatrixProduct:
    """A large matrix product through NumPy's BLAS, which shows what the machine can do.

    Parameters
    ----------
    dtype : float32 or float64
    size : int
        Rows and columns.
    """

    def __init__(self, dtype: npt.DTypeLike, size: int = PRODUCT_SIZE) -> None:
        self.operations = 2 * size**3
        self._factor = np.random.default_rng(0).normal(size=(size, size)).astype(dtype)
        self._product = self._factor @ self._factor  # and BLAS has its threads and memory

    def seconds(self) -> float:
        """Return how long it takes once more."""
        return seconds(lambda: np.matmul(self._factor, self._factor, out=self._product))


class Reading:
    """Sums of a large array, a part on each thread, which show how fast memory can be read.

    Parameters
    ----------
    num_threads : int
    n_bytes : int
        More than fits into caches.
    """

    def __init__(self, num_threads: int, n_bytes: int = 1 << 28) -> None:
        self.bytes = n_bytes
        self._parts = np.array_split(np.ones(n_bytes // 8), num_threads)
        self._pool = ThreadPoolExecutor(num_threads)
        self.seconds()  # and the pool has its threads

    def seconds(self) -> float:
        """Return how long it takes once more."""
        return seconds(lambda: list(self._pool.map(np.add.reduce, self._parts)))
