"""The maximum-likelihood global step of Gaussian components.

With responsibilities ``q_nk`` and row weights ``w_n``, ``r_nk = w_n q_nk`` and
``N_k = sum_n r_nk``, the maximizers are (Bishop 2006, eq. 9.24-9.26)

    pi_k = N_k / sum_j N_j,    mu_k = sum_n r_nk x_n / N_k,
    Sigma_k = sum_n r_nk (x_n - mu_k) (x_n - mu_k)^T / N_k,

of which 'diag' keeps the diagonal, 'spherical' its mean, and 'tied' the sum over ``k`` of the
numerators divided by ``sum_k N_k``.
"""

from __future__ import annotations

import numpy as np

from vbfast.config.settings import current_linalg
from vbfast.contract import (
    Float64Array,
    LinearAlgebra,
    NotPositiveDefiniteError,
    Statistics,
)
from vbfast.families.covariances import COVARIANCE_TYPE_OF
from vbfast.families.gaussian_parameters import GaussianParameters

__all__ = ["EMPTY_COMPONENT", "WEIGHT_FLOOR", "maximize", "moments"]

# A component whose N_k is below this many eps has lost its rows.
EMPTY_COMPONENT = 1e3
# What scikit-learn adds to N_k, in eps.
WEIGHT_FLOOR = 10.0


def maximize(
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
    >>> from vbfast.families.gaussian_step import maximize
    >>> statistics = Statistics(
    ...     moments="diag",
    ...     centres=np.zeros((1, 2)),
    ...     weight=np.array([4.0]),
    ...     first=np.array([[4.0, 8.0]]),
    ...     second=np.array([[8.0, 20.0]]),
    ... )
    >>> parameters = maximize(statistics, reg_covar=0.0, eps=2.2e-16)
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
        lift = (lift.T / np.where(occupied[:, 0], statistics.weight, 1.0)).T
        few = (constant.T & (statistics.weight <= WEIGHT_FLOOR)).T & (lift > 0.0)
        covariances[few] = lift[few]
        constant = constant & ~few
    failed = np.reshape(constant, (len(constant), -1)).any(axis=1)
    if failed.any():
        raise NotPositiveDefiniteError(int(np.argmax(failed)))


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
        As in :func:`maximize`.

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
    return (linalg or current_linalg()).gaussian_moments(
        COVARIANCE_TYPE_OF[statistics.moments],
        statistics,
        variance=reg_covar,
        least_count=WEIGHT_FLOOR * eps,
        empty=EMPTY_COMPONENT * eps,
        previous_means=None if previous is None else previous.means,
        previous_covariances=None if previous is None else previous.covariances,
    )
