"""Log-joints of rows, a block at a time, for what sums them up in another way than a pass does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from vbfast.engine.contract import (
    FloatArray,
    NonFiniteRowError,
    PassParams,
    Request,
    RowOutputs,
)
from vbfast.engine.engine import run_pass
from vbfast.engine.rows import RowSource, as_row_source

__all__ = ["log_joint_blocks"]


def log_joint_blocks(
    source: RowSource, params: PassParams, block_rows: int, workspace: Any
) -> Iterator[tuple[slice, FloatArray]]:
    """Yield blocks of consecutive rows and their log-joints.

    Parameters
    ----------
    source : RowSource
    params : KernelParams or CustomParams
    block_rows : int
        The most rows of a block.
    workspace : object
        From :func:`vbfast.engine.engine.new_workspace`.

    Yields
    ------
    rows : slice
    log_joint : ndarray of shape (n_rows, n_components), dtype of the rows
        In memory that the next block is written to.

    Raises
    ------
    NonFiniteRowError
        If a row is not finite; the first such row.
    """
    memory = np.empty((min(source.n_samples, block_rows), params.n_components), source.dtype)
    for start in range(0, source.n_samples, block_rows):
        stop = min(start + block_rows, source.n_samples)
        log_joint = memory[: stop - start]
        try:
            run_pass(
                as_row_source(source.block(start, stop)),
                params,
                Request(),
                outputs=RowOutputs(log_joint=log_joint),
                workspace=workspace,
            )
        except NonFiniteRowError as error:
            raise NonFiniteRowError(start + error.row) from None
        yield slice(start, stop), log_joint
