"""The gradient of a Gaussian mixture's log evidence, from the statistics that EM needs.

By Fisher's identity the gradient of ``L = sum_n w_n log p(x_n)`` is that of the expected log-joint
at the posterior ``q`` (Salakhutdinov, Roweis and Ghahramani 2003), so the sufficient statistics
of an E-step hold all of it. With ``r_nk = w_n q_nk``, ``N_k = sum_n r_nk``, and ``f_k``
and ``S_k`` the first and second moments ``sum_n r_nk d`` and ``sum_n r_nk d d^T`` of
``d = x_n - mu_k`` (Petersen and Pedersen 2012, eq. 57, 61 and 86, for the matrix derivatives),

    dL/dpi_k    = N_k / pi_k
    dL/dmu_k    = Lambda_k f_k
    dL/dSigma_k = 1/2 (Lambda_k S_k Lambda_k - N_k Lambda_k)
    dL/dP_k     = triu(N_k P_k^{-T} - S_k P_k),        Lambda_k = P_k P_k^T,

of which 'diag' has the diagonals, 'spherical' their traces, and 'tied' the sum over ``k``.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from vbfast.contract import (
    Float64Array,
    FloatArray,
    LinearAlgebra,
    LogJoint,
    Request,
    RowOutputs,
    Statistics,
    quadratic_form,
)
from vbfast.families.covariances import MOMENTS_OF
from vbfast.families.gaussian_parameters import gaussian_log_joint
from vbfast.passes.base_runner import BaseRunner
from vbfast.results import MixtureGradient

__all__ = [
    "gradient_from_statistics",
    "log_evidence_and_grad",
    "pull_back",
]

# Below this weight a component's N_k / pi_k is summed from its density: passes flush
# responsibilities below 1e-30 to zero, and a weight of zero leaves no responsibility to divide.
RARE_WEIGHT = 1e-16


def log_evidence_and_grad(
    runner: BaseRunner,
    log_joint: LogJoint,
    weights: Float64Array,
    *,
    wrt_x: bool = False,
) -> tuple[float, MixtureGradient]:
    """Weighted log evidence of all rows and its gradient, in one pass over them.

    A component of weight below 1e-16 costs a pass of its own, with one component, as its
    ``dL/dpi_k = sum_n w_n p(x_n | k) / p(x_n)`` is not among the statistics.

    Parameters
    ----------
    runner : BaseRunner
        Of rows with weights that are not negative.
    log_joint : LogJoint
        From :func:`vbfast.families.gaussian_parameters.gaussian_log_joint`.
    weights : ndarray of shape (n_components,), float64
        The mixing proportions that are in its offset.
    wrt_x : bool, default=False
        Whether the gradient in the rows is wanted too.

    Returns
    -------
    log_evidence : float
        ``sum_n w_n log p(x_n)``, in nats.
    gradient : MixtureGradient

    Raises
    ------
    NonFiniteRowError
        If a row is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from vbfast.families.gaussian_parameters import gaussian_log_joint
    >>> from vbfast.mixtures.gradient import log_evidence_and_grad
    >>> from vbfast.passes.rows import as_row_source
    >>> from vbfast.passes.runner import LocalRunner
    >>> weights = np.array([1.0])
    >>> log_joint = gaussian_log_joint("spherical", weights, np.zeros((1, 2)), np.ones(1))
    >>> runner = LocalRunner(as_row_source([[1.0, 2.0]]))
    >>> _, gradient = log_evidence_and_grad(runner, log_joint, weights, wrt_x=True)
    >>> print(gradient.means, gradient.covariances, gradient.X)
    [[1. 2.]] [1.5] [[-1. -2.]]
    """
    rare = np.flatnonzero(weights < RARE_WEIGHT)
    outputs = RowOutputs(
        log_evidence=np.empty(runner.n_samples, runner.dtype) if rare.size else None,
        gradient=np.empty((runner.n_samples, runner.n_features), runner.dtype) if wrt_x else None,
    )
    request = Request(moments=MOMENTS_OF[quadratic_form(log_joint).factor_type])
    sums = runner.run(log_joint, request, outputs=outputs)
    assert sums.statistics is not None
    if outputs.gradient is not None and runner.sample_weight is not None:
        outputs.gradient *= runner.sample_weight[:, np.newaxis]
    gradient = gradient_from_statistics(
        sums.statistics, log_joint, weights, runner.linalg, X=outputs.gradient
    )
    if outputs.log_evidence is not None:
        for k in rare.tolist():
            gradient.weights[k] = _density_ratio(runner, log_joint, k, outputs.log_evidence)
    return sums.log_evidence, gradient


def gradient_from_statistics(
    statistics: Statistics,
    log_joint: LogJoint,
    weights: Float64Array,
    linalg: LinearAlgebra,
    *,
    X: FloatArray | None = None,
) -> MixtureGradient:
    """Turn the statistics of a posterior pass into the gradient of the log evidence.

    Parameters
    ----------
    statistics : Statistics
        About the means, of the moments that the covariance type needs.
    log_joint : LogJoint
        What the pass was run with.
    weights : ndarray of shape (n_components,), float64
        The mixing proportions; the gradient in one that is zero is NaN.
    linalg : LinearAlgebra
        Of the backend that took the pass.
    X : ndarray of shape (n_samples, n_features), optional
        The gradient in the rows, passed on.

    Returns
    -------
    MixtureGradient
    """
    form = quadratic_form(log_joint)
    assert statistics.moments == MOMENTS_OF[form.factor_type]
    assert statistics.second is not None
    N, first, second = statistics.weight, statistics.first, statistics.second
    P = form.precision_cholesky
    if form.factor_type in ("full", "tied"):
        # One matrix for each component, or one for all.
        count = N if form.factor_type == "full" else N.sum(keepdims=True)
        stack = (len(count), -1, form.n_features)
        gradients = linalg.matrix_gradients(
            count, first.reshape(stack), second.reshape(stack), P.reshape(stack)
        )
        means, covariances, factors = (
            gradient.reshape(moment.shape)
            for gradient, moment in zip(gradients, (first, second, second), strict=True)
        )
    else:
        diagonal = form.factor_type == "diag"
        count, p = (N[:, np.newaxis], P) if diagonal else (N, P)
        size = 1 if diagonal else form.n_features  # 'spherical' moments are means over these
        means = first * np.square(p.reshape(len(N), -1))
        covariances = 0.5 * size * np.square(p) * (np.square(p) * second - count)
        factors = size * (count / p - second * p)
    with np.errstate(invalid="ignore"):
        partials = np.where(weights > 0.0, N, np.nan) / weights
    return MixtureGradient(
        weights=partials,
        logits=N - weights * N.sum(),
        means=means,
        covariances=covariances,
        precisions_cholesky=factors,
        X=X,
    )


def _density_ratio(
    runner: BaseRunner, log_joint: LogJoint, k: int, log_evidence: FloatArray
) -> float:
    """Return ``sum_n w_n p(x_n | k) / p(x_n)``; a row of evidence zero has gradient zero."""
    form = quadratic_form(log_joint).select(np.array([k]))
    alone = gaussian_log_joint(form.factor_type, np.ones(1), form.centres, form.precision_cholesky)
    log_density = np.empty(runner.n_samples, runner.dtype)
    runner.run(alone, Request(), outputs=RowOutputs(log_evidence=log_density))
    sample_weight = runner.sample_weight
    counts = log_evidence > -np.inf
    if sample_weight is not None:
        counts &= sample_weight > 0.0
    with np.errstate(over="ignore"):  # a ratio beyond the largest number is infinite
        ratio = np.exp(log_density[counts].astype(np.float64) - log_evidence[counts])
    return float(ratio.sum() if sample_weight is None else ratio @ sample_weight[counts])


def pull_back(
    runner: BaseRunner,
    log_joint: LogJoint,
    weights: Float64Array,
    cotangent: Float64Array,
    *,
    outputs: RowOutputs | None = None,
) -> MixtureGradient:
    """Gradient of ``sum_n c_n log p(x_n)`` in the parameters, for numbers ``c`` of any sign.

    This is the vector-Jacobian product of the rows' log evidence. The weights of a pass may not be
    negative, so that rows with positive and with negative ``c`` take one pass each.

    Parameters
    ----------
    runner : BaseRunner
    log_joint : LogJoint
    weights : ndarray of shape (n_components,), float64
    cotangent : ndarray of shape (n_samples,), float64
        One that is not finite makes every gradient NaN.
    outputs : RowOutputs, optional
        Arrays that the first pass fills, whatever the rows' cotangents are.

    Returns
    -------
    MixtureGradient
        Without the gradient in the rows, and without the extra passes for weights below 1e-16: the
        gradient in those is that of the statistics, NaN at zero.
    """
    finite = np.all(np.isfinite(cotangent))
    total = _filled(log_joint, 0.0 if finite else np.nan)
    signs = [sign for sign in (1.0, -1.0) if finite and np.any(sign * cotangent > 0.0)]
    if outputs is not None and not signs:
        runner.run(log_joint, Request(), outputs=outputs)
    request = Request(moments=MOMENTS_OF[quadratic_form(log_joint).factor_type])
    for sign in signs:
        part = np.maximum(sign * cotangent, 0.0)
        sums = runner.weighted(part).run(log_joint, request, outputs=outputs)
        outputs = None
        assert sums.statistics is not None
        gradient = gradient_from_statistics(sums.statistics, log_joint, weights, runner.linalg)
        for field in fields(total):
            array = getattr(total, field.name)
            if array is not None:
                array += sign * getattr(gradient, field.name)
    return total


def _filled(log_joint: LogJoint, value: float) -> MixtureGradient:
    form = quadratic_form(log_joint)
    shapes = (
        log_joint.offset.shape,
        log_joint.offset.shape,
        form.centres.shape,
        form.precision_cholesky.shape,
        form.precision_cholesky.shape,
    )
    return MixtureGradient(*(np.full(shape, value) for shape in shapes))
