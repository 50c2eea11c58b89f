"""Gaussian components: parameters, their kernel layout, and the maximum-likelihood global step.

The four covariance types are scikit-learn's. With responsibilities ``q_nk`` and row weights
``w_n``, ``r_nk = w_n q_nk`` and ``N_k = sum_n r_nk``, the maximisers are (Bishop 2006, eq.
9.24-9.26)

    pi_k = N_k / sum_j N_j,    mu_k = sum_n r_nk x_n / N_k,
    Sigma_k = sum_n r_nk (x_n - mu_k) (x_n - mu_k)^T / N_k,

of which 'diag' keeps the diagonal, 'spherical' its mean, and 'tied' the sum over ``k`` of the
numerators divided by ``sum_k N_k``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vbfast.contract import (
    CovarianceType,
    Float64Array,
    LinearAlgebra,
    LogJoint,
    NotPositiveDefiniteError,
    PassResult,
    Request,
    Statistics,
)
from vbfast.families.covariances import (
    COVARIANCE_TYPE_OF,
    MOMENTS_OF,
    add_to_diagonal,
    covariance_shape,
    log_det_factor,
    precision_factor,
    precision_traces,
    precisions_of,
    scatter_floor,
)
from vbfast.families.evidence import PerUnitOfWeight
from vbfast.families.linalg import gram, upper_cholesky

__all__ = [
    "GaussianParameters",
    "MaximumLikelihood",
    "covariance_shape",
    "gaussian_log_joint",
    "maximise",
    "moments",
]

# A component whose N_k is below this many eps has lost its rows.
EMPTY_COMPONENT = 1e3
# What scikit-learn adds to N_k, in eps.
WEIGHT_FLOOR = 10.0


@dataclass(frozen=True)
class GaussianParameters:
    """Parameters of a Gaussian mixture, all float64.

    Attributes
    ----------
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    weights : ndarray of shape (n_components,)
        Mixing proportions. They sum to one except in a start, where scikit-learn divides the
        responsibilities' sums by the number of rows and leaves it at that.
    means : ndarray of shape (n_components, n_features)
    covariances : ndarray
        Shape (K, D, D) for 'full', (D, D) for 'tied', (K, D) for 'diag' and (K,) for 'spherical'.
    precision_cholesky : ndarray
        Upper triangular ``P`` with ``P @ P.T`` the precision; inverse standard deviations for
        'diag' and 'spherical'. Shaped as ``covariances``.
    """

    covariance_type: CovarianceType
    weights: Float64Array
    means: Float64Array
    covariances: Float64Array
    precision_cholesky: Float64Array

    @classmethod
    def from_covariances(
        cls,
        covariance_type: CovarianceType,
        weights: Float64Array,
        means: Float64Array,
        covariances: Float64Array,
        linalg: LinearAlgebra | None = None,
    ) -> GaussianParameters:
        """Parameters with the precision factor of given covariances.

        It is computed with ``linalg``, by default that of the backend in use.

        Raises
        ------
        NotPositiveDefiniteError
            If a covariance is not positive definite.
        """
        factor = precision_factor(covariance_type, covariances, linalg)
        return cls(covariance_type, weights, means, covariances, factor)

    @classmethod
    def from_precisions(
        cls,
        covariance_type: CovarianceType,
        weights: Float64Array,
        means: Float64Array,
        precisions: Float64Array,
    ) -> GaussianParameters:
        """Parameters with given precisions, shaped as covariances are.

        Raises
        ------
        NotPositiveDefiniteError
            If a precision is not positive definite.
        """
        if covariance_type in ("full", "tied"):
            # The inverse of a precision is Q Q^T with Q the precision factor *of the precision*.
            stack = precisions.reshape(-1, *precisions.shape[-2:])
            covariances = gram(precision_factor("full", stack)).reshape(precisions.shape)
            factor = upper_cholesky(stack).reshape(precisions.shape)
        else:
            covariances = 1.0 / precisions
            factor = np.sqrt(precisions)
        return cls(covariance_type, weights, means, covariances, factor)

    @property
    def n_components(self) -> int:
        """K."""
        return int(self.means.shape[0])

    @property
    def n_features(self) -> int:
        """D."""
        return int(self.means.shape[1])

    @property
    def precisions(self) -> Float64Array:
        """Inverse covariances, shaped as ``covariances``."""
        return precisions_of(self.covariance_type, self.precision_cholesky)

    def log_joint(self) -> LogJoint:
        """Lay the log-joint ``log pi_k + log N(x | mu_k, Sigma_k)`` out as a pass takes it.

        Returns
        -------
        LogJoint
            A component of zero weight has ``offset`` ``-inf``.
        """
        return gaussian_log_joint(
            self.covariance_type, self.weights, self.means, self.precision_cholesky
        )


def gaussian_log_joint(
    covariance_type: CovarianceType,
    weights: Float64Array,
    means: Float64Array,
    precision_cholesky: Float64Array,
) -> LogJoint:
    """Lay the log-joint of a Gaussian mixture out as a pass takes it.

    Parameters
    ----------
    covariance_type, weights, means, precision_cholesky
        As in :class:`GaussianParameters`.

    Returns
    -------
    LogJoint
        With ``offset_k = log pi_k - D/2 log(2 pi) + log det P_k``.
    """
    n_features = means.shape[1]
    log_det = log_det_factor(covariance_type, precision_cholesky, n_features)
    with np.errstate(divide="ignore"):
        offset = np.log(weights) - 0.5 * n_features * math.log(2.0 * math.pi) + log_det
    return LogJoint.quadratic(covariance_type, offset, means, precision_cholesky)


@dataclass(frozen=True)
class MaximumLikelihood(PerUnitOfWeight):
    """What expectation-maximisation climbs: the evidence of a mixture of Gaussians.

    Attributes
    ----------
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    reg_covar : float
        Added to the diagonal of every covariance.
    eps : float
        Machine epsilon of the dtype that the passes compute in.
    """

    covariance_type: CovarianceType
    reg_covar: float
    eps: float

    @property
    def request(self) -> Request:
        """A posterior pass with the statistics of the covariance type."""
        return Request(moments=MOMENTS_OF[self.covariance_type])

    def maximise(
        self, statistics: Statistics, previous: GaussianParameters, linalg: LinearAlgebra
    ) -> GaussianParameters:
        """Take the global step, see :func:`maximise`."""
        return maximise(
            statistics,
            reg_covar=self.reg_covar,
            eps=self.eps,
            previous=previous,
            linalg=linalg,
        )

    def scatter_floor(self, counts: Float64Array) -> Float64Array:
        """Return what the global step adds to sums of squares."""
        return scatter_floor(self.covariance_type, counts, self.reg_covar)

    def lower_bound(
        self, sums: PassResult, previous: GaussianParameters, updated: GaussianParameters
    ) -> float:
        """Return the evidence per unit of weight under the parameters that the pass was run with.

        The bound at exact responsibilities is the evidence, so the updated parameters do not
        enter: they are there for the families whose bound has a prior term.
        """
        del previous, updated
        return sums.log_evidence / sums.total_weight

    @property
    def climbs_merit(self) -> bool:
        """Whether the responsibilities maximise the merit as the global step does."""
        return self.reg_covar == 0.0 or self.covariance_type == "tied"

    @np.errstate(over="ignore")  # where a variance is next to nothing, so is the merit
    def merit(
        self,
        lower_bound: float,
        sums: PassResult,
        previous: GaussianParameters,
        updated: GaussianParameters,
    ) -> float:
        """Return what the iterations climb: the bound if ``reg_covar`` is noise of every row.

        With ``E[e e^T] = reg_covar I``, the expectation of ``log N(x + e | mu_k, Sigma_k)`` is
        ``log N(x | mu_k, Sigma_k) - 1/2 reg_covar tr(Sigma_k^-1)``, and the global step maximises
        the bound with that in the place of the log-density. So do the responsibilities where all
        precisions have one trace, as for 'tied'; elsewhere they nearly do.
        """
        del updated
        if self.reg_covar == 0.0:
            return lower_bound
        assert sums.statistics is not None
        traces = precision_traces(
            self.covariance_type, previous.precision_cholesky, previous.n_features
        )
        counts = sums.statistics.weight
        spread = float((counts * np.where(counts > 0.0, traces, 0.0)).sum())
        return lower_bound - 0.5 * self.reg_covar * spread / sums.total_weight


def maximise(
    statistics: Statistics,
    *,
    reg_covar: float,
    eps: float,
    previous: GaussianParameters | None = None,
    linalg: LinearAlgebra | None = None,
) -> GaussianParameters:
    """Maximum-likelihood parameters for given sufficient statistics: the global step of EM.

    Parameters
    ----------
    statistics : Statistics
        With second moments, which decide the covariance type of the result: 'pooled' make a 'tied'
        one.
    reg_covar : float
        Added to the diagonal of every covariance.
    eps : float
        Machine epsilon of the dtype of the passes; ``10 * eps`` is added to every ``N_k`` that a
        weight comes from or a covariance is divided by, as scikit-learn does. The means are those
        of the rows: to divide sums of x by more than ``N_k``, as scikit-learn does too, draws them
        to the origin and leaves ``10 eps mu mu^T / N_k`` of that in its covariances.
    previous : GaussianParameters, optional
        Where a component with ``N_k < 1000 * eps`` has its mean and covariance from; its weight is
        what it has left. Without it such a component stays at its centre, with covariance
        ``reg_covar``.
    linalg : LinearAlgebra, optional
        Of the backend that took the pass; by default that of the backend in use.

    Returns
    -------
    GaussianParameters

    Raises
    ------
    NotPositiveDefiniteError
        If a covariance is not positive definite; with ``reg_covar=0`` also if a variance is no
        larger than what rounding the rows to ``eps`` makes of zero, of a 'diag' or 'spherical'
        component that holds more than ten rows, or is where the mean of all rows is.

    Examples
    --------
    >>> import numpy as np
    >>> from vbfast.contract import Statistics
    >>> from vbfast.families.gaussian import maximise
    >>> statistics = Statistics(
    ...     moments="diag",
    ...     centres=np.zeros((1, 2)),
    ...     weight=np.array([4.0]),
    ...     first=np.array([[4.0, 8.0]]),
    ...     second=np.array([[8.0, 20.0]]),
    ... )
    >>> parameters = maximise(statistics, reg_covar=0.0, eps=2.2e-16)
    >>> np.round(parameters.means, 6), np.round(parameters.covariances, 6)
    (array([[1., 2.]]), array([[1., 1.]]))
    """
    weights, means, covariances = moments(
        statistics, reg_covar=reg_covar, eps=eps, previous=previous, linalg=linalg
    )
    if reg_covar == 0.0:
        _check_spread(statistics, means, covariances, eps, linalg)
    weights /= weights.sum()
    covariance_type = COVARIANCE_TYPE_OF[statistics.moments]
    return GaussianParameters.from_covariances(covariance_type, weights, means, covariances, linalg)


@np.errstate(over="ignore", invalid="ignore")
def _check_spread(
    statistics: Statistics,
    means: Float64Array,
    covariances: Float64Array,
    eps: float,
    linalg: LinearAlgebra | None,
) -> None:
    """Raise where features are constant but for rounding, whose square may well be positive.

    In components of a few rows scikit-learn fits on, with the variance that the ``10 eps`` in
    ``N_k`` make of the mean: 'diag' and 'spherical' ones get that here, of the distance from the
    mean of all rows, which is the origin of standardised data.
    """
    kind, weight = COVARIANCE_TYPE_OF[statistics.moments], statistics.weight[:, np.newaxis]
    spread = statistics.second_about(means - statistics.centres, linalg)
    if kind in ("full", "tied"):
        spread = np.diagonal(spread, axis1=-2, axis2=-1)
    occupied = weight >= EMPTY_COMPONENT * eps
    if not occupied.any():
        return
    # What the rounding of rows to their dtype makes of a constant.
    noise = np.where(occupied, weight * np.square(eps * means), -np.inf)
    if kind == "tied":
        noise = np.maximum(noise, 0.0).sum(axis=0)[np.newaxis]
    elif kind == "spherical":
        noise = noise.mean(axis=1)
    constant = spread <= noise
    if kind in ("diag", "spherical"):
        centre = means[0] + statistics.weight @ (means - means[0]) / statistics.weight.sum()
        lift = np.square(means - centre)
        lift = WEIGHT_FLOOR * eps * (lift if kind == "diag" else lift.mean(axis=1))
        lift = (lift.T / statistics.weight).T
        few = (constant.T & (statistics.weight <= WEIGHT_FLOOR)).T & (lift > 0.0)
        covariances[few] = lift[few]
        constant = constant & ~few
    failed = np.reshape(constant, (len(constant), -1)).any(axis=1)
    if failed.any():
        raise NotPositiveDefiniteError(int(np.argmax(failed)))


@np.errstate(over="ignore", invalid="ignore")  # no finite covariance is an error of its own
def moments(
    statistics: Statistics,
    *,
    reg_covar: float,
    eps: float,
    previous: GaussianParameters | None = None,
    linalg: LinearAlgebra | None = None,
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Turn sufficient statistics into component weights, means and covariances.

    Parameters
    ----------
    statistics, reg_covar, eps, previous, linalg
        As in :func:`maximise`.

    Returns
    -------
    weight : ndarray of shape (n_components,)
        ``N_k``, in units of the row weights.
    means : ndarray of shape (n_components, n_features)
    covariances : ndarray, shaped by the kind of the statistics

    Raises
    ------
    ValueError
        If the statistics have no second moments.
    """
    if statistics.second is None:
        raise ValueError(f"a global step needs second moments; got moments {statistics.moments!r}")
    covariance_type = COVARIANCE_TYPE_OF[statistics.moments]
    empty = statistics.weight < EMPTY_COMPONENT * eps
    weight = statistics.weight + WEIGHT_FLOOR * eps

    # Steps are taken from the centres, which are the current means: sums of x would cancel.
    step = np.divide(
        statistics.first,
        statistics.weight[:, np.newaxis],
        out=np.zeros_like(statistics.first),
        where=~empty[:, np.newaxis],
    )
    any_empty = bool(empty.any())
    if any_empty and previous is not None:
        step[empty] = previous.means[empty] - statistics.centres[empty]
    means = statistics.centres + step

    covariances = statistics.second_about(step, linalg)
    if covariance_type == "tied":
        covariances /= weight.sum()
    else:
        # A sum of squares of rows that coincide may fall below zero by rounding.
        if covariance_type != "full":
            np.maximum(covariances, 0.0, out=covariances)
        np.divide(covariances.T, weight, out=covariances.T)
    add_to_diagonal(covariance_type, covariances, reg_covar)
    if any_empty:
        weight[empty] = statistics.weight[empty]
        if previous is not None and covariance_type != "tied":
            covariances[empty] = previous.covariances[empty]
    return weight, means, covariances
