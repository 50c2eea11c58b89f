"""Gaussian components, fitted by maximum likelihood."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.contract import (
    COVARIANCE_TYPES,
    CovarianceType,
    Float64Array,
    LikelihoodSteps,
    LinearAlgebra,
    Moments,
    PassResult,
    Statistics,
)
from vbfast.families.attributes import (
    GAUSSIAN_ATTRIBUTES,
    fitted_array,
    gaussian_attributes,
    rounded,
)
from vbfast.families.covariances import (
    MOMENTS_OF,
    add_to_diagonal,
    covariances_of,
    precision_factor,
    scatter_floor,
    trace_of_product,
)
from vbfast.families.evidence import EvidencePerRow
from vbfast.families.family import Rows
from vbfast.families.gaussian_coordinates import GaussianCoordinates
from vbfast.families.gaussian_parameters import GaussianParameters, draw_gaussians
from vbfast.families.gaussian_step import EMPTY_COMPONENT, WEIGHT_FLOOR, maximize, moments
from vbfast.families.splitting import split_components

__all__ = ["Gaussian", "GaussianWithStart"]


@dataclass(frozen=True)
class Gaussian(EvidencePerRow):
    """A family of Gaussian components, for :class:`vbfast.Mixture`.

    :class:`vbfast.GaussianMixture` is a mixture of these with scikit-learn's interface; from the
    same start both have the same fit, to the bit.

    Parameters
    ----------
    covariance_type : {'full', 'tied', 'diag', 'spherical'}, default='full'
        'full': each component has its own covariance matrix; 'tied': all share one; 'diag': each
        has its own variances; 'spherical': each has a single variance.
    reg_covar : float, default=1e-6
        Added to the diagonal of every covariance.

    Raises
    ------
    ValueError
        If the covariance type is unknown, or ``reg_covar`` negative, not finite or no number.

    Notes
    -----
    The fitted attributes of a mixture are ``weights_``, ``means_``, ``covariances_``,
    ``precisions_`` and ``precisions_cholesky_``, as those of :class:`vbfast.GaussianMixture`.

    Examples
    --------
    >>> import numpy as np
    >>> import vbfast
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(-4.0, 1.0, (500, 2)), rng.normal(4.0, 1.0, (500, 2))])
    >>> mixture = vbfast.Mixture(vbfast.families.Gaussian("diag"), 2, random_state=0).fit(X)
    >>> np.sort(mixture.means_, axis=0).round()
    array([[-4., -4.],
           [ 4.,  4.]])
    """

    covariance_type: CovarianceType = "full"
    reg_covar: float = 1e-6

    def __post_init__(self) -> None:
        if self.covariance_type not in COVARIANCE_TYPES:
            raise ValueError(
                f"covariance_type must be one of {', '.join(map(repr, COVARIANCE_TYPES))}; got "
                f"{self.covariance_type!r}"
            )
        a_number = isinstance(self.reg_covar, (int, float, np.integer, np.floating))
        if not a_number or not 0.0 <= self.reg_covar < np.inf:
            raise ValueError(f"reg_covar must be at least 0 and finite; got {self.reg_covar!r}")

    # What the iterations climb.

    @property
    def moments(self) -> Moments:
        """Those of the covariance type."""
        return MOMENTS_OF[self.covariance_type]

    def scatter_floor(self, counts: Float64Array) -> Float64Array:
        """Return what the global step adds to sums of squares."""
        return scatter_floor(self.covariance_type, counts, self.reg_covar)

    def global_step(
        self, sums: PassResult, previous: GaussianParameters, linalg: LinearAlgebra
    ) -> GaussianParameters:
        """Return the parameters of most likelihood, see :func:`maximize`."""
        assert sums.statistics is not None
        return maximize(
            sums.statistics,
            reg_covar=self.reg_covar,
            eps=_eps(sums.dtype),
            previous=previous,
            linalg=linalg,
        )

    def steps(self, parameters: GaussianParameters, dtype: np.dtype[Any]) -> LikelihoodSteps | None:
        """Return what a loop of a backend begins with.

        ``None`` without ``reg_covar``: spreads are looked at then.
        """
        if self.reg_covar == 0.0:
            return None
        return LikelihoodSteps(
            parameters.covariance_type,
            parameters.weights,
            parameters.means,
            parameters.covariances,
            parameters.precision_cholesky,
            parameters.log_joint().offset,
            variance=self.reg_covar,
            least_count=WEIGHT_FLOOR * _eps(dtype),
            empty=EMPTY_COMPONENT * _eps(dtype),
        )

    def after(self, steps: LikelihoodSteps, previous: GaussianParameters) -> GaussianParameters:
        """Return the parameters that a loop's steps have led to."""
        return GaussianParameters(
            previous.covariance_type,
            steps.weights,
            steps.means,
            steps.covariances,
            steps.precision_cholesky,
            previous.linalg,
        )

    @property
    def weight_of_tolerance(self) -> float:
        """Infinite: the tolerance is that of a change of the bound per unit of weight."""
        return np.inf

    @property
    def climbs_merit(self) -> bool:
        """Whether the responsibilities maximize the merit as the global step does."""
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
        ``log N(x | mu_k, Sigma_k) - 1/2 reg_covar tr(Sigma_k^-1)``, and the global step maximizes
        the bound with that in the place of the log-density. So do the responsibilities where all
        precisions have one trace, as for 'tied'; elsewhere they nearly do.
        """
        del updated
        if self.reg_covar == 0.0:
            return lower_bound
        assert sums.statistics is not None
        kind, factor = self.covariance_type, previous.precision_cholesky
        traces = trace_of_product(kind, factor, factor, previous.n_features)
        counts = sums.statistics.weight
        spread = float((counts * np.where(counts > 0.0, traces, 0.0)).sum())
        return lower_bound - 0.5 * self.reg_covar * spread / sums.total_weight

    # The start.

    @property
    def scale_free(self) -> bool:
        """The likelihood's maximum depends on the ratios of the weights alone."""
        return True

    def statistics_form(self, n_components: int, rows: Rows) -> None:
        """Moments are about the components' means."""

    def given_start(self) -> GaussianParameters | None:
        """There is none."""
        return None

    def start(self, statistics: Statistics, rows: Rows) -> GaussianParameters:
        """Return the parameters that the statistics of the first responsibilities lead to.

        scikit-learn's start does not renormalize: seeded on one row a component, its weights sum to
        far less than one.
        """
        weights, means, covariances = self._estimate(statistics, rows)
        return GaussianParameters.from_covariances(
            self.covariance_type, weights, means, covariances, rows.linalg
        )

    def _estimate(
        self, statistics: Statistics, rows: Rows
    ) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return weights, means and covariances of a start."""
        counts, means, covariances = moments(
            statistics, reg_covar=self.reg_covar, eps=_eps(rows.dtype), linalg=rows.linalg
        )
        return np.asarray(counts / rows.total_weight), means, covariances

    def statistics_of(self, parameters: GaussianParameters) -> Statistics:
        """Return the statistics that :func:`maximize` makes these parameters of, of weight one."""
        kind, weights = self.covariance_type, parameters.weights
        second = parameters.covariances.copy()
        add_to_diagonal(kind, second, -self.reg_covar)
        if kind != "tied":
            second = (second.T * weights).T
        means = parameters.means
        return Statistics(self.moments, means, weights, np.zeros_like(means), second)

    def split(
        self, parameters: GaussianParameters, n_components: int, dtype: np.dtype[Any]
    ) -> GaussianParameters:
        """Return a start with the widest components cut in two until there are enough."""
        statistics = split_components(
            self.covariance_type,
            parameters.weights,
            parameters.means,
            parameters.covariances,
            n_components,
        )
        return maximize(
            statistics, reg_covar=self.reg_covar, eps=_eps(dtype), linalg=parameters.linalg
        )

    # What an estimator shows.

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """Those of scikit-learn's mixtures."""
        return GAUSSIAN_ATTRIBUTES

    def attributes(self, parameters: GaussianParameters, dtype: np.dtype[Any]) -> dict[str, Any]:
        """Return the fitted attributes of parameters, in the dtype of the rows."""
        values = (
            parameters.weights,
            parameters.means,
            parameters.covariances,
            parameters.precisions,
            parameters.precision_cholesky,
        )
        return rounded(dict(zip(GAUSSIAN_ATTRIBUTES, values, strict=True)), dtype)

    def parameters(self, attributes: Mapping[str, Any]) -> GaussianParameters:
        """Return the parameters that fitted attributes hold.

        Covariances, or the precisions' factors, may be missing.
        """
        kind = self.covariance_type
        if "precisions_cholesky_" not in attributes:
            covariances = np.asarray(attributes["covariances_"], dtype=np.float64)
            factor = precision_factor(kind, covariances)
            attributes = {**attributes, "precisions_cholesky_": factor}
        weights, means, factor = gaussian_attributes(attributes, kind)
        if "covariances_" in attributes:
            covariances = fitted_array(attributes, "covariances_", factor.shape)
        else:
            covariances = covariances_of(kind, factor)
        return GaussianParameters(kind, weights, means, covariances, factor)

    @property
    def coordinates(self) -> GaussianCoordinates:
        """Log-weights, means and precision factors."""
        return GaussianCoordinates()

    def n_free_parameters(self, n_components: int, n_features: int) -> int:
        """Return how many numbers weights, means and covariances are functions of."""
        triangle = n_features * (n_features + 1) // 2
        covariances = {
            "full": n_components * triangle,
            "tied": triangle,
            "diag": n_components * n_features,
            "spherical": n_components,
        }[self.covariance_type]
        return covariances + n_components * n_features + n_components - 1

    @property
    def draws(self) -> bool:
        """Gaussians can be drawn from."""
        return True

    def draw(
        self,
        parameters: GaussianParameters,
        counts: npt.NDArray[np.int64],
        random_state: np.random.RandomState,
    ) -> Float64Array:
        """Draw rows, ordered by component."""
        return draw_gaussians(
            self.covariance_type,
            parameters.means,
            parameters.precision_cholesky,
            counts,
            random_state,
            parameters.linalg,
        )


@dataclass(frozen=True)
class GaussianWithStart(Gaussian):
    """Gaussian components that a fit is to start from, or some of whose parameters.

    Parameters
    ----------
    covariance_type, reg_covar
        As of :class:`Gaussian`.
    weights : ndarray of shape (n_components,), optional
    means : ndarray of shape (n_components, n_features), optional
    precisions : ndarray, shaped by the covariance type, optional
    """

    weights: Float64Array | None = None
    means: Float64Array | None = None
    precisions: Float64Array | None = None

    def given_start(self) -> GaussianParameters | None:
        """Return the start that is given, if it is a whole one."""
        if self.weights is None or self.means is None or self.precisions is None:
            return None
        return GaussianParameters.from_precisions(
            self.covariance_type, self.weights, self.means, self.precisions
        )

    def start(self, statistics: Statistics, rows: Rows) -> GaussianParameters:
        """Return the parameters of the statistics, but for those that are given."""
        weights, means, covariances = self._estimate(statistics, rows)
        weights = weights if self.weights is None else self.weights
        means = means if self.means is None else self.means
        kind, linalg = self.covariance_type, rows.linalg
        if self.precisions is None:
            return GaussianParameters.from_covariances(kind, weights, means, covariances, linalg)
        return GaussianParameters.from_precisions(kind, weights, means, self.precisions, linalg)


def _eps(dtype: np.dtype[Any]) -> float:
    """Machine epsilon of the dtype that passes compute in."""
    return float(np.finfo(dtype).eps)
