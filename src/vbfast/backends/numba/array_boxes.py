"""Arrays cut into boxes, which a thread copies into memory of its own and back."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.backends.numba.array_kernels import Box
from vbfast.backends.numba.blocking import BOX_ELEMENTS, GROUP_BYTES, LONG_SLICE
from vbfast.backends.numba.memory import empty_lines

__all__ = ["Boxes", "size_of"]

Array = npt.NDArray[Any]
Arrays = Sequence[Array]


class Boxes:
    """Arrays of one shape: blocks of slices, each cut into the same ranges of their elements.

    Where these are cut follows from the shape and the first array's strides alone.
    """

    def __init__(self, inputs: Arrays, outputs: Arrays, axes: Sequence[int], scaled: bool) -> None:
        x, group = inputs[0], GROUP_BYTES // inputs[0].itemsize
        outer = [d for d in range(x.ndim) if d not in axes]
        reduced = sorted(axes, key=lambda d: -abs(x.strides[d]))
        self.slice_shape, shape = ([x.shape[d] for d in each] for each in (outer, reduced))
        n_slices, n_elements = math.prod(self.slice_shape), math.prod(shape)
        nearest = min(range(x.ndim), key=lambda d: abs(x.strides[d]), default=None)
        is_long = nearest in axes and n_elements >= LONG_SLICE * group
        self._by_slice = is_long or n_slices < min(n_elements, group)
        width = max(1 if self._by_slice else group, BOX_ELEMENTS // max(1, n_elements))
        self.blocks = _cut(self.slice_shape, width)
        self.ranges = _cut(shape, max(1, BOX_ELEMENTS // max(1, size_of(self.blocks[0]))))
        self._inputs, self._outputs = (
            [array.transpose(outer + reduced) for array in each] for each in (inputs, outputs)
        )
        axis = tuple(range(x.ndim))
        self._order = axis if self._by_slice else axis[len(outer) :] + axis[: len(outer)]
        self._scaled, self._dtype = scaled, x.dtype
        self._memory: dict[int, list[Array]] = {}  # of each thread
        self._loaded: dict[int, tuple[tuple[int, int], Box]] = {}  # what is in it

    def load(self, b: int, c: int, worker: int) -> Box:
        """Return a range of a block in a thread's memory; it is copied, unless it is there."""
        if worker not in self._memory:
            most = size_of(self.blocks[0]) * size_of(self.ranges[0])
            self._memory[worker] = [empty_lines((most,), self._dtype) for _ in range(2)]
        if worker not in self._loaded or self._loaded[worker][0] != (b, c):
            n_slices, n_elements = size_of(self.blocks[b]), size_of(self.ranges[c])
            shape = (n_slices, n_elements) if self._by_slice else (n_elements, n_slices)
            x, y = (each[: math.prod(shape)].reshape(shape) for each in self._memory[worker])
            box = Box(x, y, self._by_slice)
            for array, values in self._both(self._inputs, b, c, box):
                np.copyto(values, array)
            if self._scaled:  # a factor of zero counts for nothing, whatever it multiplies
                x[y == 0] = -np.inf
            self._loaded[worker] = (b, c), box
        return self._loaded[worker][1]

    def store(self, b: int, c: int, box: Box) -> None:
        """Copy a box to the outputs."""
        for array, values in self._both(self._outputs, b, c, box):
            np.copyto(array, values)

    def slices(self, b: int, which: Array) -> Iterator[Array]:
        """Go through copies of slices of a block, of each input, of shape (n_slices, n)."""
        block: tuple[Any, ...] = (*self.blocks[b], ...)
        for array in self._inputs:
            part = array[block]
            if self.slice_shape:
                part = part[np.unravel_index(which, part.shape[: len(self.slice_shape)])]
            yield part.reshape(len(which), -1)

    def _both(self, arrays: Arrays, b: int, c: int, box: Box) -> Iterator[tuple[Array, Array]]:
        where: tuple[Any, ...] = (*self.blocks[b], *self.ranges[c], ...)
        for array, values in zip(arrays, (box.x, box.y), strict=False):
            part = array[where].transpose(self._order)
            yield part, values.reshape(part.shape)


def size_of(index: tuple[slice, ...]) -> int:
    """Return how many numbers there are at an index."""
    return math.prod(each.stop - each.start for each in index)


def _cut(shape: Sequence[int], size: int) -> list[tuple[slice, ...]]:
    """Halve the longest dimensions until the product of all is no more than a size."""
    steps = [1 << max(0, n - 1).bit_length() for n in shape]
    while math.prod(steps) > size:
        steps[int(np.argmax(steps))] //= 2
    pieces = [
        [slice(i, min(i + step, n)) for i in range(0, max(1, n), step)]
        for n, step in zip(shape, steps, strict=True)
    ]
    return list(itertools.product(*pieces))
