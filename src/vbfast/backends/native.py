"""The E-step contract in C++: arrays are passed on, nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vbfast import _vbfast
from vbfast.engine.config import current_num_threads
from vbfast.engine.contract import (
    Backend,
    Float64Array,
    FloatArray,
    KernelParams,
    NonFiniteRowError,
    Pass,
    PassResult,
    Request,
    RowBlock,
    RowOutputs,
    SeedingPass,
    Statistics,
)
from vbfast.engine.plan import Plan


class _NativePass:
    def __init__(
        self,
        params: KernelParams,
        request: Request,
        plan: Plan,
        outputs: RowOutputs,
        workspace: _vbfast.Workspace,
    ) -> None:
        self._params = params
        self._request = request
        self._estep = _vbfast.EStep(
            params.covariance_type,
            np.ascontiguousarray(params.offset),
            np.ascontiguousarray(params.means),
            np.ascontiguousarray(params.precision_cholesky),
            request.assignment,
            request.statistics or "none",
            request.entropy,
            plan.dtype == np.float32,
            plan.n_partitions,
            plan.tile_rows,
            plan.split_components,
            (
                outputs.log_evidence,
                outputs.labels,
                outputs.resp,
                outputs.entropy,
                outputs.expected_log_joint,
                outputs.gradient,
                outputs.log_joint,
            ),
            workspace,
            current_num_threads(),
        )

    def run(self, blocks: Sequence[RowBlock], num_threads: int) -> None:
        """Process blocks of distinct partitions, in parallel."""
        if self._request.assignment == "given" and any(block.resp is None for block in blocks):
            raise ValueError("a 'given' pass needs RowBlock.resp")
        row = self._estep.run(
            [(b.partition, b.start, b.rows, b.weights, b.resp) for b in blocks], num_threads
        )
        if row >= 0:
            raise NonFiniteRowError(row)

    def finish(self) -> PassResult:
        """Merge the partitions in their order."""
        request = self._request
        weight, log_evidence, expected_log_joint, entropy, kl, lowest = self._estep.sums()
        statistics = None
        if request.statistics is not None:
            statistics = Statistics(
                request.statistics,
                self._params.means,
                *self._estep.statistics(current_num_threads()),
            )
        nan = float("nan")
        posterior = request.assignment == "posterior"
        return PassResult(
            total_weight=weight,
            log_evidence=log_evidence if posterior or request.entropy else nan,
            expected_log_joint=nan if posterior and not request.entropy else expected_log_joint,
            entropy=entropy if request.entropy else nan,
            kl=kl if request.entropy else nan,
            statistics=statistics,
            lowest_log_evidence=lowest if posterior else nan,
        )


class _NativeSeedingPass:
    def __init__(self, candidates: Float64Array, plan: Plan) -> None:
        self._seeding = _vbfast.Seeding(
            np.ascontiguousarray(candidates),
            plan.dtype == np.float32,
            plan.n_partitions,
            plan.tile_rows,
        )

    def run(
        self,
        blocks: Sequence[RowBlock],
        closest: Sequence[FloatArray],
        lowered: Sequence[FloatArray | None],
        num_threads: int,
    ) -> None:
        """Process blocks, each with its slices of ``closest`` and ``lowered``."""
        row = self._seeding.run(
            [
                (block.partition, block.start, block.rows, block.weights, None, before, after)
                for block, before, after in zip(blocks, closest, lowered, strict=True)
            ],
            num_threads,
        )
        if row >= 0:
            raise NonFiniteRowError(row)

    def finish(self) -> Float64Array:
        """Return the potentials."""
        return self._seeding.potentials()


class NativeBackend:
    """Hand-written kernels, chosen by instruction set; see ``csrc/``."""

    name = "native"

    def begin(
        self,
        params: KernelParams,
        request: Request,
        plan: Plan,
        outputs: RowOutputs | None = None,
        workspace: Any = None,
    ) -> Pass:
        """Start a pass."""
        memory = self.workspace() if workspace is None else workspace
        return _NativePass(params, request, plan, outputs or RowOutputs(), memory)

    def begin_seeding(self, candidates: Float64Array, plan: Plan) -> SeedingPass:
        """Start a k-means++ pass."""
        return _NativeSeedingPass(candidates, plan)

    def workspace(self) -> _vbfast.Workspace:
        """Memory for one pass at a time."""
        return _vbfast.Workspace()


def create_backend() -> Backend:
    """Return the backend, for :func:`vbfast.backends.get_backend`."""
    return NativeBackend()
