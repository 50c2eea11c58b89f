"""The components that new rows find by walks among neighbours, in place of whole posteriors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from vbfast.backends import get_backend
from vbfast.contract import Components, FloatArray, LogJoint, offers_truncation
from vbfast.passes.chunk_runner import ChunkRunner
from vbfast.passes.runner import LocalRunner
from vbfast.passes.truncated_runner import TruncatedRunner
from vbfast.passes.truncation import Truncation

__all__ = ["Found", "walks"]

# Rows that walk together.
PART_ROWS = 1 << 17
# Components that a walking row keeps, at least, though it ends with fewer: a wider way misses less.
WIDTH = 8


class Found(NamedTuple):
    """What consecutive rows have found.

    Attributes
    ----------
    rows : slice
    kept : ndarray of shape (n_rows, n_kept), int32
        Components, the best first; -1 for none.
    log_evidence : ndarray of shape (n_rows,), dtype of the rows
        The log-sum-exp over them.
    resp : ndarray of shape (n_rows, n_kept), dtype of the rows
    """

    rows: slice
    kept: Components
    log_evidence: FloatArray
    resp: FloatArray


def walks(
    runner: LocalRunner | ChunkRunner, log_joint: LogJoint, neighbors: Components, n_kept: int
) -> Iterator[Found]:
    """Yield what rows find, part by part.

    A row begins with the best of a few components, looks into the cells around them, and walks on
    among the neighbours of the components that it keeps, until there are none better. Where the
    runner's backend has no truncated passes, the native one walks.

    Parameters
    ----------
    runner : LocalRunner or ChunkRunner
    log_joint : LogJoint
    neighbors : ndarray of shape (n_components, n_neighbors), int32, C order
        From a fit.
    n_kept : int
    """
    n_kept = min(n_kept, log_joint.n_components)
    truncation = Truncation(max(n_kept, WIDTH), neighbors.shape[1], n_random=0)
    name = runner.backend_name
    backend = name if offers_truncation(get_backend(name)) else "native"
    for rows, part in runner.parts(PART_ROWS):
        walking = TruncatedRunner(
            part.source,
            truncation=truncation,
            backend=backend,
            workspaces=part.workspaces,
            first_row=part.first_row,
        )
        wide = walking.walk(log_joint, neighbors)
        kept = walking.kept = np.ascontiguousarray(wide[:, :n_kept])
        log_evidence = np.empty(len(kept), part.dtype)
        resp = np.empty(kept.shape, part.dtype)
        walking.outputs_of_kept(log_joint, log_evidence, resp)
        yield Found(rows, kept, log_evidence, resp)
