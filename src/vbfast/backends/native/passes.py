"""Passes of the native backend: arrays are passed on, nothing is computed here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vbfast import _vbfast
from vbfast.backends.checks import check_log_joint, check_outputs
from vbfast.contract import (
    Blocking,
    Float64Array,
    FloatArray,
    Linear,
    LogJoint,
    NonFiniteRowError,
    PassResult,
    Quadratic,
    Request,
    RowBlock,
    RowOutputs,
    Statistics,
)

__all__ = ["FORMS", "NativePass", "NativeSeedingPass"]

# What the kernels evaluate: their names of the forms, and the coefficients.
FORMS: dict[type, Callable[[Any], tuple[str, Float64Array]]] = {
    Quadratic: lambda form: (form.factor_type, form.precision_cholesky),
    Linear: lambda form: ("linear", form.theta),
}


class NativePass:
    """A pass of the kernels, see :class:`vbfast.contract.Pass`."""

    def __init__(
        self,
        log_joint: LogJoint,
        request: Request,
        blocking: Blocking,
        outputs: RowOutputs,
        workspace: _vbfast.Workspace,
        num_threads: int,
        bounds: _vbfast.NearestBounds | None = None,
    ) -> None:
        check_log_joint(log_joint, blocking)
        check_outputs(outputs, blocking, log_joint.n_components, log_joint.n_features)
        form, coefficients = FORMS[type(log_joint.form)](log_joint.form)
        self._centres = log_joint.form.centres
        self._dtype = blocking.dtype
        self._request = request
        self._num_threads = num_threads
        self._bounded = bounds is not None
        self._estep = _vbfast.EStep(
            form,
            np.ascontiguousarray(log_joint.offset),
            np.ascontiguousarray(self._centres),
            np.ascontiguousarray(coefficients),
            request.assignment,
            request.moments or "none",
            request.entropy,
            blocking.dtype == np.float32,
            blocking.bounds,
            blocking.tile_rows,
            blocking.split_components,
            blocking.open_partitions,
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
            num_threads,
            bounds,
        )

    def run(self, blocks: Sequence[RowBlock], num_threads: int) -> None:
        """Process blocks of distinct partitions, in parallel."""
        if self._request.assignment == "given" and any(block.resp is None for block in blocks):
            raise ValueError("a 'given' pass needs RowBlock.resp")
        row = self._estep.run(list(blocks), num_threads)
        if row >= 0:
            raise NonFiniteRowError(row)

    def finish(self) -> PassResult:
        """Merge the partitions in their order."""
        statistics = None
        moments = self._request.moments
        if moments is not None:
            sums = self._estep.statistics(self._num_threads)
            statistics = Statistics(moments, self._centres, *sums)
        weight, log_evidence, expected_log_joint, entropy, kl, lowest = self._estep.sums()
        return PassResult.answer(
            self._request,
            weight,
            log_evidence,
            math.nan if self._bounded else expected_log_joint,
            entropy,
            kl,
            statistics,
            lowest,
            self._dtype,
        )


class NativeSeedingPass:
    """A k-means++ pass, see :class:`vbfast.contract.SeedingPass`."""

    def __init__(self, candidates: Float64Array, blocking: Blocking) -> None:
        self._seeding = _vbfast.Seeding(
            np.ascontiguousarray(candidates),
            blocking.dtype == np.float32,
            blocking.bounds,
            blocking.tile_rows,
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
                (block.start, block.rows, block.weights, None, before, after)
                for block, before, after in zip(blocks, closest, lowered, strict=True)
            ],
            num_threads,
        )
        if row >= 0:
            raise NonFiniteRowError(row)

    def finish(self) -> Float64Array:
        """Return the potentials."""
        return self._seeding.potentials()
