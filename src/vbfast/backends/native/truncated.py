"""Truncated passes of the native backend: arrays are passed on, nothing is computed here."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vbfast import _vbfast
from vbfast.backends.native.passes import FORMS
from vbfast.contract import (
    Components,
    Float64Array,
    FloatArray,
    LogJoint,
    NearnessSums,
    NonFiniteRowError,
    PassResult,
    Request,
    Search,
    Statistics,
)

__all__ = ["NativeTruncatedPass"]


class NativeTruncatedPass:
    """A truncated pass of the kernels, see :class:`vbfast.contract.TruncatedPass`."""

    def __init__(
        self,
        log_joint: LogJoint,
        request: Request,
        search: Search,
        dtype: np.dtype[Any],
        workspace: _vbfast.Workspace,
        num_threads: int,
        about: Float64Array | None,
    ) -> None:
        form, coefficients = FORMS[type(log_joint.form)](log_joint.form)
        centres = np.ascontiguousarray(log_joint.form.centres)
        self._about = centres if about is None else np.ascontiguousarray(about)
        self._request, self._dtype, self._num_threads = request, dtype, num_threads
        self._pass = _vbfast.TruncatedPass(
            form,
            np.ascontiguousarray(log_joint.offset),
            centres,
            np.ascontiguousarray(coefficients),
            request.assignment,
            request.moments or "none",
            request.entropy,
            dtype == np.float32,
            search.n_kept,
            search.neighbors,
            search.n_neighbors,
            search.candidates,
            search.cells,
            search.n_random,
            search.key,
            search.learn,
            about,
            workspace,
            num_threads,
        )

    def run(
        self,
        start: int,
        rows: FloatArray,
        weights: Float64Array | None,
        kept: Components,
        *,
        log_evidence: FloatArray | None = None,
        resp: FloatArray | None = None,
    ) -> None:
        """Visit consecutive rows."""
        row = self._pass.run(start, rows, weights, kept, log_evidence, resp, self._num_threads)
        if row >= 0:
            raise NonFiniteRowError(row)

    def finish(self) -> PassResult:
        """Return the sums."""
        statistics = None
        moments = self._request.moments
        if moments is not None:
            sums = self._pass.statistics(self._num_threads)
            statistics = Statistics(moments, self._about, *sums)
        weight, log_evidence, expected_log_joint, entropy, lowest = self._pass.sums()
        return PassResult.answer(
            self._request,
            weight,
            log_evidence,
            expected_log_joint,
            entropy,
            math.nan,
            statistics,
            lowest,
            self._dtype,
        )

    def learned(self) -> NearnessSums:
        """Return what was learned."""
        return NearnessSums(*self._pass.learned())
