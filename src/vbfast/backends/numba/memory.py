"""Memory for kernels to work in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["empty_lines"]

CACHE_LINE = 64


def empty_lines(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an array of undefined numbers that begins at the start of a cache line.

    NumPy's begin 16 bytes into one as often as not; every other vector then lies across two lines,
    and kernels take up to a quarter longer.
    """
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(n_bytes + CACHE_LINE, np.uint8)
    start = -memory.__array_interface__["data"][0] % CACHE_LINE
    return memory[start : start + n_bytes].view(dtype).reshape(shape)
