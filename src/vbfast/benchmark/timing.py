"""Fair timing, and the peak that it is compared with."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.engine.contract import Float64Array

__all__ = ["alternate", "measured_peak", "seconds"]


def seconds(call: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def alternate(calls: Sequence[Callable[[], Any]], repeats: int) -> Float64Array:
    """Return median seconds of each call. They take turns, so that all see the same machine."""
    times = np.array([[seconds(call) for call in calls] for _ in range(repeats)])
    return np.asarray(np.median(times, axis=0))


def measured_peak(dtype: npt.DTypeLike, size: int = 2500, repeats: int = 7) -> float:
    """Return operations a second of a large matrix product through NumPy's BLAS, best of some."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(size, size)).astype(dtype)
    return 2 * size**3 / min(seconds(lambda: a @ a) for _ in range(repeats))
