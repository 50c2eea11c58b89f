"""Logarithms of responsibilities, also of rows whose log-joints are no numbers."""

from __future__ import annotations

import numpy as np

from vbfast.arrays.functions import log_softmax
from vbfast.contract import FloatArray, LogJoint, Request, RowOutputs
from vbfast.inference.runner import RowRunner

__all__ = ["log_responsibilities"]


def log_responsibilities(runner: RowRunner, log_joint: LogJoint) -> tuple[FloatArray, FloatArray]:
    """Return the log-evidence of every row and its log-responsibilities, in the rows' dtype.

    Raises
    ------
    NonFiniteRowError
        If a row is not finite; the first such row.
    """
    log_evidence = np.empty(runner.n_samples, dtype=runner.dtype)
    log_resp = np.empty((runner.n_samples, log_joint.n_components), dtype=runner.dtype)
    outputs = RowOutputs(log_evidence=log_evidence, log_joint=log_resp)
    runner.run(log_joint, Request(), outputs=outputs)
    log_softmax(log_resp, axis=1, out=log_resp)
    beyond = np.flatnonzero(~np.isfinite(log_evidence))
    if len(beyond) > 0:
        # Their log-joints are no numbers, their responsibilities are.
        resp = np.empty((len(beyond), log_joint.n_components), dtype=runner.dtype)
        runner.only(beyond).run(log_joint, Request(), outputs=RowOutputs(resp=resp))
        with np.errstate(divide="ignore"):
            log_resp[beyond] = np.log(resp)
    return log_evidence, log_resp
