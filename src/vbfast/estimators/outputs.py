"""Outputs of a pass that are as long as the rows, in arrays of the caller's or new ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.contract import FloatArray, LogJoint, Request, RowOutputs, RowSource
from vbfast.inputs.outputs import check_out
from vbfast.passes.runner import runner_over

__all__ = ["filled", "where_rows_are"]


def filled(
    out: Any, rows: RowSource, log_joint: LogJoint, output: str, request: Request | None = None
) -> npt.NDArray[Any]:
    """Run a pass that fills one output, and return it.

    Parameters
    ----------
    out : ndarray or None
        What is filled and returned, a new array by default: where the rows are on a device, one of
        their library there.
    rows : RowSource
    log_joint : LogJoint
    output : {'labels', 'resp', 'log_evidence', 'log_joint'}
        A field of :class:`~vbfast.contract.RowOutputs`.
    request : Request, optional
        A 'posterior' pass by default.

    Raises
    ------
    TypeError
        If ``out`` is not an array.
    ValueError
        If it has another shape or dtype, or cannot be written to.
    """
    shape: tuple[int, ...] = (rows.n_samples,)
    if output in ("resp", "log_joint"):
        shape = (*shape, log_joint.n_components)
    dtype = np.dtype(np.int64) if output == "labels" else rows.dtype
    if out is not None:
        check_out(out, shape, dtype, "out")
    written = out
    # A pass goes on reading rows after it has written for others.
    if out is None or not out.flags.c_contiguous or _may_overlap(out, rows):
        written = np.empty(shape, dtype=dtype)
    outputs = RowOutputs(**{output: written})
    runner_over(rows).run(log_joint, request or Request(), outputs=outputs)
    if out is None:
        put: npt.NDArray[Any] = where_rows_are(rows, written)
        return put
    if written is out:
        return np.asanyarray(written)
    out[...] = written
    return np.asanyarray(out)


def where_rows_are(rows: RowSource, array: npt.NDArray[Any]) -> Any:
    """Return an array as one of the library, and on the device, that rows are of, or as it is."""
    give_back = getattr(rows, "give_back", None)
    return array if give_back is None else give_back(array)


def _may_overlap(out: FloatArray, rows: RowSource) -> bool:
    return isinstance(rows.data, np.ndarray) and bool(np.may_share_memory(out, rows.data))
