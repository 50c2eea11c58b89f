"""Memory for kernels to work in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.backends.numba.blocking import CACHE_LINE

__all__ = ["empty_lines"]


def empty_lines(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an array of undefined numbers that begins at the start of a cache line."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + CACHE_LINE, np.uint8)
    start = -memory.__array_interface__["data"][0] % CACHE_LINE
    return memory[start : start + size].view(dtype).reshape(shape)
