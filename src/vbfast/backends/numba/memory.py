"""Memory for kernels to work in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["empty_lines"]

# NumPy's memory begins 16 bytes into a cache line as often as not; every other vector then lies
# across two lines, and kernels took up to a quarter longer.
CACHE_LINE = 64


def empty_lines(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an array of undefined numbers that begins at the start of a cache line."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + CACHE_LINE, np.uint8)
    start = -memory.__array_interface__["data"][0] % CACHE_LINE
    return memory[start : start + size].view(dtype).reshape(shape)
