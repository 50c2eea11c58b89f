"""Memory for kernels to work in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.backends.numba.constants import CACHE_LINE

__all__ = ["empty_lines", "side_by_side"]


def empty_lines(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an array of undefined numbers that begins at the start of a cache line."""
    return side_by_side([shape], dtype)[0]


def side_by_side(shapes: list[tuple[int, ...]], dtype: npt.DTypeLike) -> list[npt.NDArray[Any]]:
    """Return such arrays one after another in memory.

    Arrays of a few lines that are written in turn must not lie a multiple of 4096 bytes apart:
    processors take a load from one to depend on a store to the other.
    """
    sizes = [math.prod(shape) * np.dtype(dtype).itemsize for shape in shapes]
    lines = [-(-size // CACHE_LINE) * CACHE_LINE for size in sizes]
    memory = np.empty(sum(lines) + CACHE_LINE, np.uint8)
    start = -memory.__array_interface__["data"][0] % CACHE_LINE
    arrays = []
    for shape, size, length in zip(shapes, sizes, lines, strict=True):
        arrays.append(memory[start : start + size].view(dtype).reshape(shape))
        start += length
    return arrays
