"""The contract in plain NumPy and float64: the oracle of the other backends' tests.

Written for reading: every line is a formula of the contract, nothing is fused, and float32 rows are
computed in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vbfast.backends.blocking import Limits, make_blocking
from vbfast.backends.reference.linalg import ReferenceLinearAlgebra
from vbfast.backends.reference.passes import ReferencePass, ReferenceSeedingPass
from vbfast.backends.reference.truncated import ReferenceTruncatedPass
from vbfast.contract import (
    Backend,
    Blocking,
    Float64Array,
    Identity,
    Linear,
    LogJoint,
    Moments,
    Quadratic,
    Request,
    RowOutputs,
    RowSource,
    Search,
)

__all__ = ["ReferenceBackend", "create_backend"]

# Small enough that tests of a few thousand rows have several partitions, and tiles in them.
LIMITS = Limits(
    partitions=16,
    few_partitions=16,
    few_rows=256,
    partition_rows=256,
    taper=1.5,
    statistics_bytes=64 << 20,
    split_partitions=16,
    group_bytes=256,
    tile_rows=512,
    tile_bytes=1 << 20,
)


class ReferenceBackend:
    """See :class:`vbfast.contract.Backend`. One thread, whatever it is asked for."""

    name = "reference"

    def evaluates(self, log_joint: LogJoint) -> bool:
        """Quadratic forms, under every link, and linear ones."""
        if isinstance(log_joint.form, Linear):
            return isinstance(log_joint.link, Identity)
        return isinstance(log_joint.form, Quadratic)

    def adopt(self, source: RowSource) -> RowSource:
        """Rows are read where they are."""
        return source

    def blocking(
        self,
        n_samples: int,
        row_length: int,
        n_components: int,
        dtype: np.dtype[Any],
        moments: Moments | None,
    ) -> Blocking:
        """Fix the blocking for a pass: never by components, as there is one thread."""
        del moments
        return make_blocking(LIMITS, n_samples, row_length, n_components, dtype, 0)

    def begin(
        self,
        log_joint: LogJoint,
        request: Request,
        blocking: Blocking,
        *,
        outputs: RowOutputs,
        workspace: Any,
        num_threads: int,
    ) -> ReferencePass:
        """Start a pass."""
        del workspace, num_threads
        return ReferencePass(log_joint, request, blocking, outputs)

    def begin_seeding(self, candidates: Float64Array, blocking: Blocking) -> ReferenceSeedingPass:
        """Start a k-means++ pass."""
        return ReferenceSeedingPass(candidates, blocking)

    def begin_truncated(
        self,
        log_joint: LogJoint,
        request: Request,
        search: Search,
        *,
        dtype: np.dtype[Any],
        workspace: Any,
        num_threads: int,
        about: Float64Array | None = None,
    ) -> ReferenceTruncatedPass:
        """Start a pass with truncated posteriors."""
        del workspace, num_threads
        return ReferenceTruncatedPass(log_joint, request, search, dtype, about)

    def workspace(self) -> None:
        """Nothing is kept between passes."""

    def linalg(self, num_threads: int) -> ReferenceLinearAlgebra:
        """SciPy's and NumPy's, one matrix after another."""
        del num_threads
        return _LINALG


_LINALG = ReferenceLinearAlgebra()


def create_backend() -> Backend:
    """Return the backend, for :func:`vbfast.backends.get_backend`."""
    return ReferenceBackend()
