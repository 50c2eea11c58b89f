"""Hand-written kernels, chosen by instruction set; see ``csrc/``."""

from __future__ import annotations

from typing import Any

import numpy as np

from vbfast import _vbfast
from vbfast.backends.native import blocking
from vbfast.backends.native.linalg import NativeLinearAlgebra, native_linalg
from vbfast.backends.native.loops import NativeLoops
from vbfast.backends.native.passes import FORMS, NativePass, NativeSeedingPass
from vbfast.backends.native.truncated import NativeTruncatedPass
from vbfast.contract import (
    Backend,
    Blocking,
    Float64Array,
    Identity,
    LogJoint,
    Request,
    RowOutputs,
    RowSource,
    Search,
)

__all__ = ["NativeBackend", "create_backend"]


class NativeBackend(NativeLoops):
    """See :class:`vbfast.contract.Backend`."""

    name = "native"
    blocking = staticmethod(blocking.blocking)

    def evaluates(self, log_joint: LogJoint) -> bool:
        """Quadratic and linear forms, under the identity."""
        return type(log_joint.form) in FORMS and isinstance(log_joint.link, Identity)

    def adopt(self, source: RowSource) -> RowSource:
        """Kernels read rows where they lie, whatever their strides."""
        return source

    def begin(
        self,
        log_joint: LogJoint,
        request: Request,
        blocking: Blocking,
        *,
        outputs: RowOutputs,
        workspace: Any,
        num_threads: int,
    ) -> NativePass:
        """Start a pass."""
        return NativePass(log_joint, request, blocking, outputs, workspace, num_threads)

    def nearest_bounds(self, n_samples: int) -> _vbfast.NearestBounds:
        """Labels and bounds of distances, up to 56 bytes a row."""
        return _vbfast.NearestBounds(n_samples)

    def begin_bounded(
        self,
        log_joint: LogJoint,
        request: Request,
        blocking: Blocking,
        *,
        outputs: RowOutputs,
        workspace: Any,
        num_threads: int,
        bounds: _vbfast.NearestBounds,
    ) -> NativePass:
        """Start a pass that may leave out distances."""
        return NativePass(log_joint, request, blocking, outputs, workspace, num_threads, bounds)

    def begin_seeding(self, candidates: Float64Array, blocking: Blocking) -> NativeSeedingPass:
        """Start a k-means++ pass."""
        return NativeSeedingPass(candidates, blocking)

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
    ) -> NativeTruncatedPass:
        """Start a pass with truncated posteriors."""
        return NativeTruncatedPass(log_joint, request, search, dtype, workspace, num_threads, about)

    def workspace(self) -> _vbfast.Workspace:
        """Memory for one pass at a time."""
        return _vbfast.Workspace()

    def linalg(self, num_threads: int) -> NativeLinearAlgebra:
        """Native as well, batched over the components."""
        return native_linalg(num_threads)


def create_backend() -> Backend:
    """Return the backend, for :func:`vbfast.backends.get_backend`."""
    return NativeBackend()
