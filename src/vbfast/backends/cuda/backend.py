"""The backend: what runs on the device, and where rows lie."""

from __future__ import annotations

from typing import Any

import numpy as np

from vbfast.backends.blocking import Limits, make_blocking
from vbfast.backends.cuda.extension import load_extension
from vbfast.backends.cuda.passes import CudaPass, CudaSeedingPass
from vbfast.backends.cuda.rows import adopt
from vbfast.backends.native.linalg import NativeLinearAlgebra, native_linalg
from vbfast.backends.native.passes import FORMS
from vbfast.contract import (
    Blocking,
    Float64Array,
    Identity,
    LogJoint,
    Moments,
    Request,
    RowOutputs,
    RowSource,
)

__all__ = ["CudaBackend"]

# Tiles have the length of a group of tiles of the kernels (csrc/cuda/chunk.h). A block of threads
# sums the rows of a partition, for one component or a few: partitions are many where statistics are
# small, so that blocks fill the device, and of statistics that are large there are enough
# components.
LIMITS = Limits(
    partitions=256,
    few_partitions=1,
    few_rows=256,
    partition_rows=1024,
    taper=1.0,
    statistics_bytes=64 << 20,
    split_partitions=1,
    group_bytes=8,
    tile_rows=1024,
    tile_bytes=1 << 62,
)


def statistics_size(moments: Moments | None, n_components: int, n_features: int) -> int:
    """Return how many float64 numbers one partial statistic has."""
    if moments is None:
        return 0
    triangle = n_features * (n_features + 1) // 2
    second = {
        "first": 0,
        "diag": n_components * n_features,
        "spherical": n_components * n_features,
        "pooled": triangle,
        "full": n_components * triangle,
    }
    return n_components * (1 + n_features) + second[moments]


class CudaBackend:
    """See :class:`vbfast.contract.Backend`."""

    name = "cuda"

    def evaluates(self, log_joint: LogJoint) -> bool:
        """Quadratic and linear forms, under the identity."""
        return type(log_joint.form) in FORMS and isinstance(log_joint.link, Identity)

    def adopt(self, source: RowSource) -> RowSource:
        """Copy rows to the device, where they are in memory and fit there."""
        return adopt(source)

    def blocking(
        self,
        n_samples: int,
        row_length: int,
        n_components: int,
        dtype: np.dtype[Any],
        moments: Moments | None,
    ) -> Blocking:
        """Fix the blocking for a pass."""
        size = 8 * statistics_size(moments, n_components, row_length)
        return make_blocking(LIMITS, n_samples, row_length, n_components, dtype, size)

    def begin(
        self,
        log_joint: LogJoint,
        request: Request,
        blocking: Blocking,
        *,
        outputs: RowOutputs,
        workspace: Any,
        num_threads: int,
    ) -> CudaPass:
        """Start a pass."""
        del num_threads
        return CudaPass(log_joint, request, blocking, outputs, workspace)

    def begin_seeding(self, candidates: Float64Array, blocking: Blocking) -> CudaSeedingPass:
        """Start a k-means++ pass."""
        return CudaSeedingPass(candidates, blocking)

    def workspace(self) -> Any:
        """Device memory for one pass at a time."""
        return load_extension().Workspace()

    def linalg(self, num_threads: int) -> NativeLinearAlgebra:
        """Return the native one, on the host."""
        return native_linalg(num_threads)
