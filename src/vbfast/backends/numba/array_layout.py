"""Where the elements of strided arrays lie, and their way into lanes and back.

A *slice* is the elements that are reduced together. A tile is a group of slices side by side, one a
lane; or where slices are long and lie in memory one after another, a single one, whose elements go
round the lanes. Elements of a tile come in rows, one of each lane.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vbfast.backends.numba.compiling import group_rows, group_size, kernel, load_at, store_at

__all__ = [
    "N_PLACES",
    "PLACE_OUT",
    "Layout",
    "find_lanes",
    "lay_out",
    "load_element",
    "load_rows_of_tile",
    "rows_of_slice",
    "slices_of_tile",
    "store_rows_of_tile",
]

# Operands: two inputs, then two outputs of their shape.
PLACE_OUT = 2
N_PLACES = 4

# Rows of a slice from which its elements go round the lanes.
LONG_SLICE = 4

Int64Array = npt.NDArray[np.int64]


class Layout(NamedTuple):
    """Addresses and strides, in bytes, of the operands, of which one that is absent has zeros.

    Slices are counted in C order of the outer dimensions.
    """

    addresses: Int64Array  # (N_PLACES,)
    outer_shape: Int64Array  # (n_outer,)
    outer_strides: Int64Array  # (N_PLACES, n_outer)
    reduced_shape: Int64Array  # (n_reduced,)
    reduced_strides: Int64Array  # (N_PLACES, n_reduced)
    n_slices: int
    n_elements: int
    by_element: bool  # whether a tile is a single slice


def lay_out(
    inputs: Sequence[npt.NDArray[Any]], outputs: Sequence[npt.NDArray[Any]], axes: Sequence[int]
) -> Layout:
    """Return the layout of arrays of one shape, whose slices run over ``axes``."""
    x = inputs[0]
    arrays = dict(enumerate(inputs)) | {PLACE_OUT + i: out for i, out in enumerate(outputs)}
    strides = np.zeros((N_PLACES, x.ndim), np.int64)
    addresses = np.zeros(N_PLACES, np.int64)
    for place, array in arrays.items():
        strides[place] = array.strides
        addresses[place] = array.__array_interface__["data"][0]
    outer = [d for d in range(x.ndim) if d not in axes]
    reduced = sorted(axes, key=lambda d: -abs(x.strides[d]))
    shape, reduced_strides = _joined([x.shape[d] for d in reduced], strides[:, reduced])
    outer_shape = np.array([x.shape[d] for d in outer], np.int64)
    n_slices, n_elements = int(np.prod(outer_shape)), int(np.prod(shape))
    closest = np.abs(strides[0, outer]).min() if outer else np.inf
    is_long = n_elements >= LONG_SLICE * group_size(x.dtype)
    within = len(shape) > 0 and abs(reduced_strides[0, -1]) <= closest
    return Layout(
        addresses,
        outer_shape,
        np.ascontiguousarray(strides[:, outer]),
        shape,
        reduced_strides,
        n_slices,
        n_elements,
        bool(is_long and (within or n_slices == 1)),
    )


def _joined(shape: Sequence[int], strides: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Make one dimension of neighbours that every operand can step through as one."""
    lengths: list[int] = []
    steps: list[Int64Array] = []
    for length, step in zip(shape, strides.T, strict=True):
        if length == 1:
            continue
        if lengths and np.array_equal(steps[-1], step * length):
            lengths[-1] *= length
            steps[-1] = step
        else:
            lengths.append(length)
            steps.append(step)
    joined = np.array(steps, np.int64).reshape(-1, N_PLACES).T
    return np.array(lengths, np.int64), np.ascontiguousarray(joined)


def slices_of_tile(layout: Layout, dtype: np.dtype[Any]) -> int:
    """Return how many slices a tile has."""
    return 1 if layout.by_element else group_size(dtype)


def rows_of_slice(layout: Layout, dtype: np.dtype[Any]) -> int:
    """Return how many rows the elements of a tile make."""
    return -(-layout.n_elements // group_size(dtype)) if layout.by_element else layout.n_elements


@kernel
def _offset(index: Any, shape: Any, strides: Any) -> Any:
    """Return the bytes to an element, counted in C order."""
    offset = 0
    for d in range(len(shape) - 1, 0, -1):
        offset += index % shape[d] * strides[d]
        index //= shape[d]
    if len(shape) > 0:
        offset += index * strides[0]
    return offset


@kernel
def find_lanes(layout: Any, first: Any, n_lanes: Any, lanes: Any) -> None:
    """Set ``lanes`` of shape (N_PLACES, group) to the addresses of the slices from ``first``.

    Lanes beyond the last slice repeat it. A slice of its own is but lane 0.
    """
    shape = layout.outer_shape
    for place in range(len(lanes)):
        address, strides = layout.addresses[place], layout.outer_strides[place]
        if address == 0:
            continue
        if layout.by_element:
            lanes[place, 0] = address + _offset(first, shape, strides)
            continue
        for i in range(lanes.shape[1]):
            offset = _offset(first + min(i, n_lanes - 1), shape, strides)
            lanes[place, i] = address + offset


@kernel
def load_element(layout: Any, place: Any, lanes: Any, index: Any, like: Any) -> Any:
    """Return one element of the first slice of ``lanes``, of the type of ``like``."""
    offset = _offset(index, layout.reduced_shape, layout.reduced_strides[place])
    return load_at(lanes[place, 0] + offset, like)


@kernel
def load_rows_of_tile(
    layout: Any, place: Any, lanes: Any, first: Any, n_rows: Any, fill: Any, values: Any
) -> None:
    """Fill ``values`` of shape (n_rows or more, group); there is ``fill`` behind the last one."""
    group = group_rows(values)
    like = values[0, 0]
    shape, strides = layout.reduced_shape, layout.reduced_strides[place]
    if not layout.by_element:
        for r in range(n_rows):
            offset = _offset(first + r, shape, strides)
            for i in range(group):
                values[r, i] = load_at(lanes[place, i] + offset, like)
        return
    for r in range(n_rows):
        start = (first + r) * group
        if len(shape) == 1 and start + group <= layout.n_elements:
            address, stride = lanes[place, 0] + start * strides[0], strides[0]
            for i in range(group):
                values[r, i] = load_at(address + i * stride, like)
            continue
        for i in range(group):
            values[r, i] = fill
            if start + i < layout.n_elements:
                address = lanes[place, 0] + _offset(start + i, shape, strides)
                values[r, i] = load_at(address, like)


@kernel
def store_rows_of_tile(
    layout: Any, place: Any, lanes: Any, n_lanes: Any, first: Any, n_rows: Any, values: Any
) -> None:
    """Write rows back; otherwise as :func:`load_rows_of_tile`."""
    group = group_rows(values)
    shape, strides = layout.reduced_shape, layout.reduced_strides[place]
    if not layout.by_element:
        for r in range(n_rows):
            offset = _offset(first + r, shape, strides)
            for i in range(n_lanes):
                store_at(lanes[place, i] + offset, values[r, i])
        return
    for r in range(n_rows):
        start = (first + r) * group
        if len(shape) == 1 and start + group <= layout.n_elements:
            address, stride = lanes[place, 0] + start * strides[0], strides[0]
            for i in range(group):
                store_at(address + i * stride, values[r, i])
            continue
        for i in range(min(group, layout.n_elements - start)):
            store_at(lanes[place, 0] + _offset(start + i, shape, strides), values[r, i])
