"""What sufficient statistics say of the expected log-joint: no pass over the rows is needed."""

from __future__ import annotations

import numpy as np

from vbfast.contract import (
    Identity,
    Linear,
    LinearAlgebra,
    LogJoint,
    Quadratic,
    Statistics,
)
from vbfast.families.covariances import COVARIANCE_TYPE_OF, precisions_of, trace_of_product

__all__ = ["expected_log_joint"]


def expected_log_joint(
    statistics: Statistics, log_joint: LogJoint, linalg: LinearAlgebra
) -> float | None:
    """Return ``sum_n w_n E_q[l_nk]`` of the rows and the ``q`` that statistics were summed over.

    For the quadratic form that is ``sum_k N_k offset_k - 1/2 tr(Lambda_k S_k)``, with ``S_k`` the
    second moments about the form's centre (Bishop 2006, eq. 10.71), and for the linear one
    ``sum_k N_k offset_k + f_k @ theta_k``.

    Parameters
    ----------
    statistics : Statistics
        With second moments that are shaped as the form's factor.
    log_joint : LogJoint
        Any of as many components, also one that the responsibilities are not of.
    linalg : LinearAlgebra

    Returns
    -------
    float or None
        Nats. ``None`` where the statistics do not tell: of users' functions, under a Student link,
        or where they have no such second moments.
    """
    form, held = log_joint.form, statistics.weight > 0.0
    if not isinstance(log_joint.link, Identity):
        return None
    # A component without rows may have a weight of zero.
    offsets = float(statistics.weight[held] @ log_joint.offset[held])
    if isinstance(form, Linear):
        return offsets + float(np.sum(statistics.first * form.theta))
    kind = COVARIANCE_TYPE_OF.get(statistics.moments)
    if not isinstance(form, Quadratic) or kind != form.factor_type:
        return None
    second = statistics.about(form.centres, linalg).second
    assert second is not None
    precisions = precisions_of(kind, form.precision_cholesky)
    traces = trace_of_product(kind, precisions, second, form.n_features)
    return offsets - 0.5 * float(np.sum(traces))
