"""Arrays that a pass is given, checked: kernels go by their shapes, dtypes and order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vbfast.backends.blocking import pieces
from vbfast.contract import Blocking, FloatArray, Linear, LogJoint, Request, RowBlock, RowOutputs

__all__ = ["check_blocks", "check_log_joint", "check_outputs", "check_seeding_blocks"]


INT64 = np.dtype(np.int64)


def check_log_joint(log_joint: LogJoint, blocking: Blocking) -> None:
    """Check that the dtype of the computation has the parameters of a linear form.

    Raises
    ------
    ValueError
        If one is beyond its range: the next number is another model.
    """
    form, dtype = log_joint.form, blocking.dtype
    if isinstance(form, Linear) and np.abs(form.theta).max() > np.finfo(dtype).max:
        raise ValueError(f"theta must be in the range of {dtype}; its largest is beyond")


def check_outputs(
    outputs: RowOutputs, blocking: Blocking, n_components: int, n_features: int
) -> None:
    """Check that outputs have room for what a pass writes.

    Raises
    ------
    ValueError
        If one has another shape or dtype, is not in C order or cannot be written to.
    """
    for name, array in vars(outputs).items():
        if array is None:
            continue
        shape: tuple[int, ...] = (blocking.n_samples,)
        if name in ("resp", "log_joint"):
            shape = (*shape, n_components)
        elif name == "gradient":
            shape = (*shape, n_features)
        dtype = INT64 if name == "labels" else blocking.dtype
        flags = array.flags
        if (array.shape, array.dtype) != (shape, dtype) or not (
            flags.c_contiguous and flags.writeable and flags.aligned
        ):
            raise ValueError(
                f"{name} must be a writable array of shape {shape} and dtype {dtype} in C "
                f"order; got shape {array.shape}, dtype {array.dtype}"
            )


def check_blocks(
    blocks: Sequence[RowBlock],
    blocking: Blocking,
    n_components: int,
    n_features: int,
    request: Request | None = None,
) -> None:
    """Check the arrays of blocks, and that they lie where the blocking has them.

    Raises
    ------
    ValueError
        If an array has another shape, dtype or order, a label is out of range, a block has rows
        beyond those of the pass or begins within a tile, two have rows of one partition, or a
        'given' pass has no responsibilities.
    """
    for block in blocks:
        n_rows = len(block.rows)
        if not 0 <= block.start <= block.start + n_rows <= blocking.n_samples:
            raise ValueError(
                f"rows {block.start} to {block.start + n_rows} are beyond those of the pass, "
                f"{blocking.n_samples}"
            )
        where = f"[{block.start}:{block.start + n_rows}]"
        _check(block.rows, (n_rows, n_features), blocking.dtype, f"rows{where}", ordered=False)
        if block.weights is not None:
            _check(block.weights, (n_rows,), np.dtype(np.float64), f"weights{where}")
        if request is None or request.assignment != "given":
            continue
        if block.resp is None:
            raise ValueError("a 'given' pass needs RowBlock.resp")
        labels = block.resp.ndim == 1
        _check(
            block.resp,
            (n_rows,) if labels else (n_rows, n_components),
            np.dtype(np.int64) if labels else blocking.dtype,
            f"resp{where}",
        )
        if labels and not np.all((block.resp >= -1) & (block.resp < n_components)):
            raise ValueError(f"labels{where} must be in -1..{n_components - 1}")
    taken = set()
    for partition, piece in pieces(blocks, blocking):
        if (piece.start - blocking.bounds[partition]) % blocking.tile_rows != 0:
            raise ValueError(f"row {piece.start} does not begin a tile of its partition")
        if partition in taken:
            raise ValueError(
                "blocks that are run together must have rows of distinct partitions; two have some "
                f"of partition {partition}"
            )
        taken.add(partition)


def check_seeding_blocks(
    blocks: Sequence[RowBlock],
    closest: Sequence[FloatArray],
    lowered: Sequence[FloatArray | None],
    blocking: Blocking,
    candidates: FloatArray,
) -> None:
    """Check the arrays of a seeding pass.

    Raises
    ------
    ValueError
        As :func:`check_blocks`, or if ``closest`` or ``lowered`` do not fit their block.
    """
    n_candidates, n_features = candidates.shape
    check_blocks(blocks, blocking, n_candidates, n_features)
    for block, before, after in zip(blocks, closest, lowered, strict=True):
        n_rows = len(block.rows)
        _check(before, (n_rows,), blocking.dtype, "closest")
        if after is not None:
            _check(after, (n_candidates, n_rows), blocking.dtype, "lowered", ordered=False)
            if n_rows > 1 and after.strides[1] != after.itemsize:
                raise ValueError("lowered must have its rows one after another")
            if not after.flags.writeable:
                raise ValueError("lowered must be writable")


def _check(
    array: Any, shape: tuple[int, ...], dtype: np.dtype[Any], name: str, *, ordered: bool = True
) -> None:
    flags = array.flags
    if not flags.aligned:
        raise ValueError(f"{name} should be aligned")
    if (array.shape, array.dtype) != (shape, dtype):
        raise ValueError(
            f"{name} should have shape {shape} and dtype {dtype}; got {array.shape} and "
            f"{array.dtype}"
        )
    if ordered and not flags.c_contiguous:
        raise ValueError(f"{name} should be in C order")
