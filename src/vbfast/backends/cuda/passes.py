"""Passes on the device: arrays are passed on, and what the device leaves to the host is settled."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.backends.checks import check_log_joint, check_outputs
from vbfast.backends.cuda.extension import load_extension
from vbfast.backends.native import NativeBackend
from vbfast.backends.native.passes import FORMS
from vbfast.contract import (
    Blocking,
    Float64Array,
    FloatArray,
    LogJoint,
    NonFiniteRowError,
    PassResult,
    Request,
    RowBlock,
    RowOutputs,
    Statistics,
)

__all__ = ["CudaPass", "CudaSeedingPass"]

# Memory that seeding passes have ended with: a start makes one pass for every centre.
_spare: deque[Any] = deque(maxlen=1)


class CudaPass:
    """A pass on the device, see :class:`vbfast.contract.Pass`.

    Rows whose every log-joint overflows are the device's in the bound, and the native backend's in
    labels and responsibilities: these take numbers beyond the dtype of the computation, and such
    rows are few.
    """

    def __init__(
        self,
        log_joint: LogJoint,
        request: Request,
        blocking: Blocking,
        outputs: RowOutputs,
        workspace: Any,
    ) -> None:
        check_log_joint(log_joint, blocking)
        check_outputs(outputs, blocking, log_joint.n_components, log_joint.n_features)
        form, coefficients = FORMS[type(log_joint.form)](log_joint.form)
        self._log_joint = log_joint
        self._request = request
        self._outputs = outputs
        self._dtype = blocking.dtype
        self._settled: Statistics | None = None
        self._estep = load_extension().EStep(
            form,
            np.ascontiguousarray(log_joint.offset),
            np.ascontiguousarray(log_joint.form.centres),
            np.ascontiguousarray(coefficients),
            request.assignment,
            request.moments or "none",
            request.entropy,
            blocking.dtype == np.float32,
            blocking.bounds,
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
        )

    def run(self, blocks: Sequence[RowBlock], num_threads: int) -> None:
        """Process blocks of distinct partitions."""
        if self._request.assignment == "given" and any(block.resp is None for block in blocks):
            raise ValueError("a 'given' pass needs RowBlock.resp")
        row, impossible = self._estep.run(list(blocks))
        if row >= 0:
            raise NonFiniteRowError(row)
        if len(impossible) > 0 and np.any(self._log_joint.offset > -np.inf):
            for block in blocks:
                inside = (impossible >= block.start) & (impossible < block.start + len(block.rows))
                if inside.any():
                    self._settle(block, impossible[inside], num_threads)

    def _settle(self, block: RowBlock, rows: npt.NDArray[np.int64], num_threads: int) -> None:
        """Find the labels and responsibilities of rows whose every log-joint overflows."""
        native, outputs = NativeBackend(), self._outputs
        hard = self._request.assignment == "hard"
        request = Request("hard", self._request.moments) if hard else Request()
        K, given = self._log_joint.n_components, self._request.assignment == "given"
        labels = np.empty(len(rows), np.int64)
        found = RowOutputs(labels=labels)
        if outputs.resp is not None and not given:
            found.resp = np.empty((len(rows), K), self._dtype)
        row_length = self._log_joint.form.row_length
        blocking = native.blocking(len(rows), row_length, K, self._dtype, request.moments)
        running = native.begin(
            self._log_joint,
            request,
            blocking,
            outputs=found,
            workspace=native.workspace(),
            num_threads=num_threads,
        )
        here = rows - block.start
        weights = None if block.weights is None else block.weights[here]
        running.run([RowBlock(0, self._rows_of(block, here), weights)], num_threads)
        if outputs.labels is not None:
            outputs.labels[rows] = labels
        if outputs.resp is not None and found.resp is not None:
            outputs.resp[rows] = found.resp
        more = running.finish().statistics
        if more is not None:
            self._settled = more if self._settled is None else self._settled + more

    @staticmethod
    def _rows_of(block: RowBlock, indices: npt.NDArray[np.int64]) -> FloatArray:
        on_device = getattr(block.rows, "on_device", None)
        rows: FloatArray = block.rows[indices] if on_device is None else on_device.take(indices)
        return np.asarray(rows)

    def finish(self) -> PassResult:
        """Merge the partitions in their order."""
        statistics = None
        moments = self._request.moments
        if moments is not None:
            centres = self._log_joint.form.centres
            statistics = Statistics(moments, centres, *self._estep.statistics())
            if self._settled is not None:
                statistics = statistics + self._settled
        weight, log_evidence, expected_log_joint, entropy, kl, lowest = self._estep.sums()
        return PassResult.answer(
            self._request,
            weight,
            log_evidence,
            expected_log_joint,
            entropy,
            kl,
            statistics,
            lowest,
            self._dtype,
        )


class CudaSeedingPass:
    """A k-means++ pass, see :class:`vbfast.contract.SeedingPass`."""

    def __init__(self, candidates: Float64Array, blocking: Blocking) -> None:
        extension = load_extension()
        try:
            self._workspace = _spare.pop()
        except IndexError:
            self._workspace = extension.Workspace()
        self._seeding = extension.Seeding(
            np.ascontiguousarray(candidates),
            blocking.dtype == np.float32,
            blocking.bounds,
            self._workspace,
        )

    def run(
        self,
        blocks: Sequence[RowBlock],
        closest: Sequence[FloatArray],
        lowered: Sequence[FloatArray | None],
        num_threads: int,
    ) -> None:
        """Process blocks, each with its slices of ``closest`` and ``lowered``."""
        del num_threads
        row = self._seeding.run(
            [
                (block.start, block.rows, block.weights, None, before, after)
                for block, before, after in zip(blocks, closest, lowered, strict=True)
            ]
        )
        if row >= 0:
            raise NonFiniteRowError(row)

    def finish(self) -> Float64Array:
        """Return the potentials."""
        potentials: Float64Array = self._seeding.potentials()
        _spare.append(self._workspace)
        return potentials
