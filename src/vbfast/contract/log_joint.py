"""What a pass evaluates: the log-joint of a row and a component, from a form and a link.

    l_nk = offset_k + link_k(form_k(x_n)),

where the form is quadratic, linear or a user's own function of the row, and the link the identity
or that of Student's t. What does not depend on the row is in the offset: log weights, normalisers.
An expected log-joint is a log-joint with other constants (Bishop 2006, eq. 10.46 and 10.64-10.65),
so that variational Bayes takes the passes of expectation-maximization.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vbfast.contract.types import CovarianceType, Float64Array, covariance_shape

__all__ = [
    "NEAR_LIMIT",
    "Form",
    "Identity",
    "Linear",
    "Link",
    "LogJoint",
    "Quadratic",
    "StudentT",
    "UserFunction",
    "quadratic_form",
]

# Backends may sum the moments of a component about a point away from its mean. This is the largest
# squared distance, in standard deviations of its narrowest direction; second moments lose this many
# epsilons.
NEAR_LIMIT = {np.dtype(np.float64): 1e6, np.dtype(np.float32): 1024.0}


class Form(Protocol):
    """A function of the row for every component."""

    @property
    def n_components(self) -> int:
        """Number of components."""

    @property
    def n_features(self) -> int:
        """Number of features of a row."""

    @property
    def row_length(self) -> int:
        """Numbers of a row that a tile has to hold."""

    @property
    def centres(self) -> Float64Array:
        """The points that moments are taken about, shape (n_components, n_moments)."""

    def select(self, components: npt.NDArray[Any]) -> Form:
        """Return the form of some of the components, by index or mask."""


@dataclass(frozen=True)
class Quadratic:
    """The form ``-1/2 ||(x_n - centre_k) P_k||^2``, evaluated as it stands, in centred terms.

    Attributes
    ----------
    factor_type : {'full', 'tied', 'diag', 'spherical'}
        The shape of ``P``.
    centres : ndarray of shape (n_components, n_features), float64
    precision_cholesky : ndarray, float64
        Upper triangular ``P`` with ``P @ P.T`` the precision. Shape (K, D, D) for 'full', (D, D)
        for 'tied', (K, D) for 'diag' and (K,) for 'spherical'.
    """

    factor_type: CovarianceType
    centres: Float64Array
    precision_cholesky: Float64Array

    def __post_init__(self) -> None:
        # Kernels go by these shapes.
        if self.centres.ndim != 2 or 0 in self.centres.shape:
            raise ValueError(
                "centres must have shape (n_components, n_features), at least one of each; got "
                f"shape {self.centres.shape}"
            )
        wanted = covariance_shape(self.factor_type, *self.centres.shape)
        if self.precision_cholesky.shape != wanted:
            raise ValueError(
                f"precision_cholesky must have shape {wanted} for centres of shape "
                f"{self.centres.shape} and factor_type {self.factor_type!r}; got "
                f"{self.precision_cholesky.shape}"
            )

    @property
    def n_components(self) -> int:
        """Number of components."""
        return int(self.centres.shape[0])

    @property
    def n_features(self) -> int:
        """Number of features."""
        return int(self.centres.shape[1])

    @property
    def row_length(self) -> int:
        """Numbers of a row that a tile has to hold."""
        return self.n_features

    def factor(self, k: int) -> Float64Array:
        """Return ``P_k``: a matrix ('full', 'tied'), its diagonal ('diag'), or a number."""
        P = self.precision_cholesky
        return P if self.factor_type == "tied" else np.asarray(P[k])

    def select(self, components: npt.NDArray[Any]) -> Quadratic:
        """Return the form of some of the components, by index or mask."""
        P = self.precision_cholesky
        P = P if self.factor_type == "tied" else P[components]
        return Quadratic(self.factor_type, self.centres[components], P)


def quadratic_form(log_joint: LogJoint) -> Quadratic:
    """Return the form of a log-joint whose form is quadratic.

    Raises
    ------
    TypeError
        If it is another.
    """
    if not isinstance(log_joint.form, Quadratic):
        raise TypeError(f"the form must be quadratic; got {type(log_joint.form).__name__}")
    return log_joint.form


@dataclass(frozen=True)
class Linear:
    """The form ``x_n @ theta_k`` of exponential families of discrete data.

    Moments are taken about the origin: there is no centre.

    Attributes
    ----------
    theta : ndarray of shape (n_components, n_features), float64
        Natural parameters, finite, also in the dtype of the computation.
    """

    theta: Float64Array

    def __post_init__(self) -> None:
        if self.theta.ndim != 2 or 0 in self.theta.shape:
            raise ValueError(
                "theta must have shape (n_components, n_features), at least one of each; got "
                f"shape {self.theta.shape}"
            )
        if not np.isfinite(self.theta).all():
            raise ValueError("theta must be finite: a product of zero and infinity is no number")

    @property
    def n_components(self) -> int:
        """Number of components."""
        return int(self.theta.shape[0])

    @property
    def n_features(self) -> int:
        """Number of features."""
        return int(self.theta.shape[1])

    @property
    def row_length(self) -> int:
        """Numbers of a row that a tile has to hold."""
        return self.n_features

    @property
    def centres(self) -> Float64Array:
        """The origin, for every component."""
        return np.zeros_like(self.theta)

    def select(self, components: npt.NDArray[Any]) -> Linear:
        """Return the form of some of the components, by index or mask."""
        return Linear(self.theta[components])


@dataclass(frozen=True)
class UserFunction:
    """The form ``log_density(x_n, theta_k)``, a function of the user's.

    The moments of a pass are sums ``sum_n w_n q_nk t(x_n)``, with ``t`` the sufficient statistics,
    in the place of first moments.

    Attributes
    ----------
    log_density : callable, compiled by numba
        ``(x, theta) -> float``, of a row of shape (n_features,) and its dtype, and parameters of
        shape (n_parameters,), float64. Where the offset is ``-inf`` it is not evaluated.
    sufficient_statistics : callable, compiled by numba
        ``(x, out)``: fills ``out`` of shape (n_statistics,), float64.
    n_components, n_features, n_statistics : int
    theta : ndarray of shape (n_components, n_parameters), float64, C order, or None
        ``None`` leaves the density out: given responsibilities need none.
    """

    log_density: Callable[..., Any]
    sufficient_statistics: Callable[..., Any]
    n_components: int
    n_features: int
    n_statistics: int
    theta: Float64Array | None

    def __post_init__(self) -> None:
        theta = self.theta
        if theta is not None and (theta.ndim != 2 or len(theta) != self.n_components):
            raise ValueError(
                f"theta must have shape (n_components, n_parameters) with n_components = "
                f"{self.n_components}; got shape {theta.shape}"
            )

    @property
    def row_length(self) -> int:
        """Numbers of a row that a tile has to hold."""
        return max(self.n_features, self.n_statistics)

    @property
    def centres(self) -> Float64Array:
        """The origin of the statistics, for every component."""
        return np.zeros((self.n_components, self.n_statistics))

    def select(self, components: npt.NDArray[Any]) -> UserFunction:
        """Return the form of some of the components, by index or mask."""
        kept = len(np.arange(self.n_components)[components])
        theta = None if self.theta is None else self.theta[components]
        return UserFunction(
            self.log_density,
            self.sufficient_statistics,
            kept,
            self.n_features,
            self.n_statistics,
            theta,
        )


@dataclass(frozen=True)
class Identity:
    """The form is the log-joint but for the offset."""

    def select(self, components: npt.NDArray[Any]) -> Identity:
        """Return the link of some of the components."""
        del components
        return self


@dataclass(frozen=True)
class StudentT:
    """The link ``f -> -(nu_k + D) / 2 log(1 - 2 f / nu_k)`` of a quadratic form ``f``.

    With ``f = -1/2 d^2`` that is Student's t with ``nu`` degrees of freedom (Bishop 2006, eq.
    2.162), a Gaussian whose precision is multiplied by a gamma variate ``u`` of each row. Moments
    of such components are weighted by the expectation of ``u`` as well,
    ``E[u_nk] = (nu_k + D) / (nu_k + d_nk^2)`` (Peel and McLachlan 2000, eq. 20), whose own sum
    takes the place of ``N_k`` in a mean.

    Attributes
    ----------
    degrees_of_freedom : ndarray of shape (n_components,), float64
        ``nu_k``, positive.
    """

    degrees_of_freedom: Float64Array

    def select(self, components: npt.NDArray[Any]) -> StudentT:
        """Return the link of some of the components."""
        return StudentT(self.degrees_of_freedom[components])


Link = Identity | StudentT


@dataclass(frozen=True)
class LogJoint:
    """The log-joint ``l_nk = offset_k + link_k(form_k(x_n))`` that a pass is run with.

    Attributes
    ----------
    offset : ndarray of shape (n_components,), float64
        Everything that does not depend on the row, in nats; ``-inf`` for a component of zero
        weight.
    form : Quadratic, Linear or UserFunction
    link : Identity or StudentT
    """

    offset: Float64Array
    form: Form
    link: Link = Identity()

    def __post_init__(self) -> None:
        if self.offset.shape != (self.form.n_components,) or len(self.offset) == 0:
            raise ValueError(
                f"offset must have shape (n_components,) = {(self.form.n_components,)}, at least "
                f"one; got shape {self.offset.shape}"
            )
        link = self.link
        if isinstance(link, StudentT) and link.degrees_of_freedom.shape != self.offset.shape:
            raise ValueError(
                f"degrees_of_freedom must have shape (n_components,) = {self.offset.shape}; got "
                f"{link.degrees_of_freedom.shape}"
            )

    @classmethod
    def quadratic(
        cls,
        factor_type: CovarianceType,
        offset: Float64Array,
        centres: Float64Array,
        precision_cholesky: Float64Array,
    ) -> LogJoint:
        """Return ``offset_k - 1/2 ||(x_n - centre_k) P_k||^2``, see :class:`Quadratic`."""
        return cls(offset, Quadratic(factor_type, centres, precision_cholesky))

    @property
    def n_components(self) -> int:
        """Number of components."""
        return len(self.offset)

    @property
    def n_features(self) -> int:
        """Number of features of a row."""
        return int(self.form.n_features)

    def select(self, components: npt.NDArray[Any]) -> LogJoint:
        """Return the log-joint of some of the components, by index or mask."""
        return LogJoint(
            self.offset[components], self.form.select(components), self.link.select(components)
        )
