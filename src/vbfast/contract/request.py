"""What a pass is asked for, and the arrays that it fills."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from vbfast.contract.statistics import Moments
from vbfast.contract.types import FloatArray

__all__ = ["Assignment", "Request", "RowOutputs"]

Assignment = Literal["posterior", "hard", "given"]


@dataclass(frozen=True)
class Request:
    """What a pass is asked for.

    Attributes
    ----------
    assignment : {'posterior', 'hard', 'given'}
        'posterior': ``q = softmax(l)``. 'hard': all mass on the first component of largest ``l``
        (k-means). 'given': ``q`` is read from :attr:`RowBlock.resp`.
    moments : {'first', 'diag', 'spherical', 'pooled', 'full'} or None
        What to sum up beside the components' weights, see :class:`vbfast.contract.Statistics`;
        whatever the form of the log-joint is.
    entropy : bool
        Whether the sums of entropy, expected log-joint and KL are wanted. Without it a 'posterior'
        pass returns the evidence alone. 'hard' and 'given' passes always return the expected
        log-joint.
    """

    assignment: Assignment = "posterior"
    moments: Moments | None = None
    entropy: bool = False


@dataclass
class RowOutputs:
    """Arrays that a pass fills row by row; ``None`` where an output is not wanted.

    Attributes
    ----------
    log_evidence : ndarray of shape (n_samples,), dtype of the computation, optional
        ``log p(x_n) = logsumexp_k l_nk``.
    labels : ndarray of shape (n_samples,), int64, optional
        The first component of largest ``l_nk``, also where that overflows.
    resp : ndarray of shape (n_samples, n_components), dtype of the computation, C order, optional
        ``q_nk``, exact also where it is too small to matter for the statistics. A row that is so
        far from all components that every log-joint is ``-inf`` has the limit, all mass on the
        largest log-joint or shared by those that are equal to it, though it counts nowhere else;
        only where every offset is ``-inf`` it is zero.
    entropy : ndarray of shape (n_samples,), dtype of the computation, optional
        ``H[q_n]`` in nats.
    expected_log_joint : ndarray of shape (n_samples,), dtype of the computation, optional
        ``sum_k q_nk l_nk``.
    gradient : ndarray of shape (n_samples, n_features), dtype of the computation, C order, optional
        ``d log p(x_n) / d x_n = sum_k q_nk P_k P_k^T (mu_k - x_n)``, of the linear form
        ``sum_k q_nk theta_k``, whatever the row's weight; zero where the evidence is ``-inf``.
        'posterior' passes only.
    log_joint : ndarray of shape (n_samples, n_components), dtype of the computation, C order, \
optional
        ``l_nk``. 'posterior' passes only.
    """

    log_evidence: FloatArray | None = None
    labels: npt.NDArray[np.int64] | None = None
    resp: FloatArray | None = None
    entropy: FloatArray | None = None
    expected_log_joint: FloatArray | None = None
    gradient: FloatArray | None = None
    log_joint: FloatArray | None = None
