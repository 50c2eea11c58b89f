"""Gaussian components with a posterior over their parameters: variational Bayes.

The bound of ``q(z) q(pi) prod_k q(mu_k, Lambda_k)`` is (Bishop 2006, eq. 10.70)

    L = sum_n w_n (E_q[l_nk] + H[q_n]) - KL(q(pi) || p(pi)) - sum_k KL(q(mu_k, Lambda_k) || p),

where ``l_nk = E[log pi_k] + E[log N(x_n | mu_k, Lambda_k^-1)]`` is a log-joint like any other, so
that the passes are those of expectation-maximization.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.contract import (
    CovarianceType,
    Float64Array,
    LinearAlgebra,
    Moments,
    PassResult,
    Statistics,
    VariationalSteps,
)
from vbfast.families.attributes import (
    GAUSSIAN_ATTRIBUTES,
    fitted_array,
    gaussian_attributes,
    rounded,
)
from vbfast.families.covariances import MOMENTS_OF, precisions_of, scatter_floor
from vbfast.families.family import Rows
from vbfast.families.gaussian_parameters import draw_gaussians
from vbfast.families.mixing_weights import Dirichlet, MixingWeights, StickBreaking
from vbfast.families.mixture_posterior import MixturePosterior, MixturePrior
from vbfast.families.normal_wishart import NormalWishart
from vbfast.families.normal_wishart_prior import LEAST_COUNT, NormalWishartPrior
from vbfast.families.posterior_coordinates import PosteriorCoordinates
from vbfast.families.splitting import split_components

__all__ = [
    "POSTERIOR_ATTRIBUTES",
    "PRIOR_ATTRIBUTES",
    "VARIATIONAL_ATTRIBUTES",
    "VariationalGaussian",
]

# Up to this number of rows the tolerance is that of a change of the whole bound. Beyond it the
# tolerance grows in proportion, as the bound's rounding does.
ROWS_OF_TOLERANCE = 1000.0

POSTERIOR_ATTRIBUTES = ("weight_concentration_", "mean_precision_", "degrees_of_freedom_")
PRIOR_ATTRIBUTES = (
    "weight_concentration_prior_",
    "mean_precision_prior_",
    "mean_prior_",
    "degrees_of_freedom_prior_",
    "covariance_prior_",
)
VARIATIONAL_ATTRIBUTES = (
    *GAUSSIAN_ATTRIBUTES,
    *POSTERIOR_ATTRIBUTES,
    *PRIOR_ATTRIBUTES,
    "n_active_components_",
)


@dataclass(frozen=True)
class VariationalGaussian:
    """The family that :class:`vbfast.BayesianGaussianMixture` stands on.

    Its parameters are a posterior over weights, means and precisions. What its iterations climb is
    the bound on the log marginal likelihood, whole and not per row.

    Attributes
    ----------
    prior : MixturePrior
    reg_covar : float
        See :meth:`~vbfast.families.normal_wishart.NormalWishart.from_statistics`.
    """

    prior: MixturePrior
    reg_covar: float

    @classmethod
    def of_attributes(
        cls, attributes: Mapping[str, Any], covariance_type: CovarianceType, reg_covar: float
    ) -> VariationalGaussian:
        """Return the family with the prior that fitted attributes hold."""
        sticks = np.ndim(attributes["weight_concentration_"]) == 2
        components = NormalWishartPrior(
            covariance_type,
            attributes["mean_precision_prior_"],
            attributes["mean_prior_"],
            attributes["degrees_of_freedom_prior_"],
            np.asarray(attributes["covariance_prior_"]),
            reg_covar * LEAST_COUNT,
        )
        weights = StickBreaking if sticks else Dirichlet
        concentration = attributes["weight_concentration_prior_"]
        return cls(MixturePrior(weights, concentration, components), reg_covar)

    @property
    def covariance_type(self) -> CovarianceType:
        """That of the components' prior."""
        return self.prior.components.covariance_type

    # What the iterations climb.

    @property
    def moments(self) -> Moments:
        """Those of the covariance type."""
        return MOMENTS_OF[self.covariance_type]

    def scatter_floor(self, counts: Float64Array) -> Float64Array:
        """Return what the global step adds to sums of squares."""
        covariance = self.prior.components.covariance
        return scatter_floor(self.covariance_type, counts, self.reg_covar, covariance)

    def global_step(
        self, sums: PassResult, previous: MixturePosterior, linalg: LinearAlgebra
    ) -> MixturePosterior:
        """Return the best posterior, which does not depend on the previous one."""
        del previous
        assert sums.statistics is not None
        return self.prior.posterior(sums.statistics, reg_covar=self.reg_covar, linalg=linalg)

    def steps(self, posterior: MixturePosterior, dtype: np.dtype[Any]) -> VariationalSteps | None:
        """Return what a loop of a backend begins with.

        ``None`` where the prior has no factor, or that of the posterior is another one.
        """
        del dtype
        weights, components = posterior.weights, posterior.components
        prior = components.prior
        if prior.arrays is None or not posterior.prior.same_as(self.prior):
            return None
        return VariationalSteps(
            prior.covariance_type,
            isinstance(weights, StickBreaking),
            weights.prior_concentration,
            prior.arrays,
            prior.covariance,
            weights.counts,
            weights.expected_log,
            components.arrays,
            components.covariances,
            posterior.log_joint().offset,
            variance=self.reg_covar,
            least_count=prior.least_count,
        )

    def after(self, steps: VariationalSteps, previous: MixturePosterior) -> MixturePosterior:
        """Return the posterior that a loop's steps have led to."""
        prior, arrays = previous.components.prior, steps.posterior
        components = NormalWishart(
            prior,
            arrays.mean_precision,
            arrays.means,
            arrays.degrees_of_freedom,
            steps.covariances,
            arrays.factor,
        )
        weights = type(previous.weights).from_counts(
            steps.concentration, steps.counts, prior.linalg
        )
        return MixturePosterior(weights, components)

    @property
    def weight_of_tolerance(self) -> float:
        """The weight of rows up to which the tolerance is that of a change of the whole bound."""
        return ROWS_OF_TOLERANCE

    @property
    def per_unit_of_weight(self) -> bool:
        """The bound is that of all rows."""
        return False

    def lower_bound(
        self, sums: PassResult, previous: MixturePosterior, updated: MixturePosterior
    ) -> float:
        """Return the bound of the pass's responsibilities and the posterior they led to, nats.

        At the previous posterior the bound is the evidence less the divergence from the prior. By
        how much the global step raises it is the divergence of the previous posterior from the
        updated one, which is where it is largest: at fixed responsibilities the bound is a constant
        less the divergence from there. Nothing cancels in it but what has settled.
        """
        assert sums.statistics is not None
        counts = sums.statistics.weight
        before, after = previous.components, updated.components
        components = before.expected_log_ratio(after)
        # The scale matrices have `reg_covar` in them for every row, which the bound knows nothing
        # of.
        added = self._added(counts)
        components += 0.5 * added * (after.expected_trace - before.expected_trace)
        expected_log = previous.weights.expected_log
        if not counts.all():  # where a component has nothing its weight may be zero
            counts, expected_log = counts[counts > 0.0], expected_log[counts > 0.0]
        weights = updated.weights.log_evidence - np.add.reduce(counts * expected_log)
        return float(sums.log_evidence + weights + np.add.reduce(components))

    @property
    def climbs_merit(self) -> bool:
        """Whether the responsibilities maximize the merit as the global step does."""
        return self.reg_covar == 0.0 or self.covariance_type == "tied"

    def merit(
        self,
        lower_bound: float,
        sums: PassResult,
        previous: MixturePosterior,
        updated: MixturePosterior,
    ) -> float:
        """Return what the iterations climb: the bound if ``reg_covar`` is noise of every row.

        See :meth:`vbfast.families.gaussian.Gaussian.merit`; the trace is expected here.
        """
        del previous
        if self.reg_covar == 0.0:
            return lower_bound
        assert sums.statistics is not None
        added = self._added(sums.statistics.weight)
        return lower_bound - 0.5 * float((added * updated.components.expected_trace).sum())

    def _added(self, counts: Float64Array) -> Float64Array:
        """Return what ``reg_covar`` of every row adds to the diagonals of the scale matrices."""
        return np.asarray(self.reg_covar * counts)

    def threshold(self, tol: float, total_weight: float) -> float:
        """Return the change of the bound below which the iterations have converged."""
        return tol * max(1.0, total_weight / self.weight_of_tolerance)

    # The start.

    @property
    def scale_free(self) -> bool:
        """The weights of the rows are weighed against that of the prior."""
        return False

    def statistics_form(self, n_components: int, rows: Rows) -> None:
        """Moments are about the components' means."""

    def given_start(self) -> MixturePosterior | None:
        """There is none."""
        return None

    def start(self, statistics: Statistics, rows: Rows) -> MixturePosterior:
        """Return the posterior that the statistics of the first responsibilities lead to."""
        return self.prior.posterior(statistics, reg_covar=self.reg_covar, linalg=rows.linalg)

    def bound_at(self, sums: PassResult, parameters: MixturePosterior) -> float:
        """Return the evidence less the divergences from the prior, nats."""
        divergences = parameters.weights.kl + float(parameters.components.kl.sum())
        return sums.log_evidence - divergences

    def statistics_of(self, parameters: MixturePosterior) -> Statistics:
        """Return the statistics that the posterior has beyond its prior (Bishop 2006, 10.58-10.63).

        With the prior mean ``d_k`` before ``m_k``, the sum of ``r (x - m_k)`` is ``beta_0 d_k``.
        """
        posterior, prior = parameters.components, parameters.components.prior
        kind, counts = prior.covariance_type, parameters.weights.counts
        way = posterior.means - prior.mean
        first = prior.mean_precision * way
        pooled = kind == "tied"
        n_shared = len(counts) if pooled else 1
        second = (posterior.covariances.T * posterior.degrees_of_freedom).T * n_shared
        second = second - n_shared * prior.covariance
        if kind in ("full", "tied"):
            outer = way[:, :, np.newaxis] * first[:, np.newaxis, :]
            second -= outer.sum(axis=0) if pooled else outer
        else:
            second -= way * first if kind == "diag" else (way * first).mean(axis=1)
        added = self._added(counts.sum() if pooled else counts)
        if kind in ("full", "tied"):
            added = np.multiply.outer(added, np.eye(way.shape[1]))
        second -= added[:, np.newaxis] if kind == "diag" else added
        return Statistics(self.moments, posterior.means, counts, first, second)

    def split(
        self, posterior: MixturePosterior, n_components: int, dtype: np.dtype[Any]
    ) -> MixturePosterior:
        """Return a start with the widest components cut in two until there are enough."""
        del dtype
        components = posterior.components
        statistics = split_components(
            self.covariance_type,
            posterior.weights.counts,
            components.means,
            components.covariances,
            n_components,
        )
        return self.prior.posterior(statistics, reg_covar=self.reg_covar, linalg=components.linalg)

    # What an estimator shows.

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """Those of scikit-learn's mixtures, and ``n_active_components_``."""
        return VARIATIONAL_ATTRIBUTES

    def attributes(self, parameters: MixturePosterior, dtype: np.dtype[Any]) -> dict[str, Any]:
        """Return the fitted attributes of a posterior in the dtype of the rows, and of its prior.

        The prior's stay in float64, and are copies: it may have been made of fitted attributes.
        """
        weights, components = parameters.weights, parameters.components
        prior = components.prior
        kind, factor = prior.covariance_type, components.precision_cholesky
        values = (
            weights.mean,
            components.means,
            components.covariances,
            precisions_of(kind, factor, components.linalg),
            factor,
            weights.parameters,
            components.mean_precision,
            components.degrees_of_freedom,
        )
        names = (*GAUSSIAN_ATTRIBUTES, *POSTERIOR_ATTRIBUTES)
        fitted = rounded(dict(zip(names, values, strict=True)), dtype)
        if isinstance(weights, StickBreaking):
            fitted["weight_concentration_"] = tuple(fitted["weight_concentration_"])
        priors = (
            weights.prior_concentration,
            prior.mean_precision,
            prior.mean.copy(),
            prior.degrees_of_freedom,
            prior.covariance.copy()[()],
        )
        return {
            **fitted,
            **dict(zip(PRIOR_ATTRIBUTES, priors, strict=True)),
            "n_active_components_": int(parameters.active.sum()),
        }

    def parameters(self, attributes: Mapping[str, Any]) -> MixturePosterior:
        """Return the posterior that fitted attributes hold."""
        shares, means, factor = gaussian_attributes(attributes, self.covariance_type)
        K = len(shares)
        components = NormalWishart(
            self.prior.components,
            fitted_array(attributes, "mean_precision_", (K,), positive=True),
            means,
            fitted_array(
                attributes,
                "degrees_of_freedom_",
                () if self.covariance_type == "tied" else (K,),
                positive=True,
            ),
            fitted_array(attributes, "covariances_", factor.shape),
            factor,
        )
        shape = (2, K) if self.prior.weights is StickBreaking else (K,)
        concentration = fitted_array(attributes, "weight_concentration_", shape, positive=True)
        weights = self.prior.weights.from_parameters(self.prior.weight_concentration, concentration)
        if isinstance(weights, Dirichlet):
            weights = self._with_counts(weights, attributes)
        return MixturePosterior(weights, components)

    def _with_counts(self, weights: Dirichlet, attributes: Mapping[str, Any]) -> MixingWeights:
        """Return the weights' posterior with the rows that a large prior has swallowed.

        The mean precisions have them too, and they are taken from there where both are of the same
        rows, as after a fit, and the prior of the means is the weaker.
        """
        prior, rows_of_mean = weights.prior_concentration, self.prior.components.mean_precision
        given = np.asarray(attributes["weight_concentration_"])
        counts = np.asarray(attributes["mean_precision_"], dtype=np.float64) - rows_of_mean
        rounded_sum = (prior + counts).astype(given.dtype)
        spacing = np.spacing(np.abs(given))
        if prior > rows_of_mean and np.all(np.abs(rounded_sum - given) <= 2.0 * spacing):
            return Dirichlet(prior, weights.concentration, np.maximum(counts, 0.0))
        return weights

    @property
    def coordinates(self) -> PosteriorCoordinates:
        """Those of the mixture of expected weights, means and precisions."""
        return PosteriorCoordinates()

    def n_free_parameters(self, n_components: int, n_features: int) -> None:
        """Return ``None``: the bound takes the place of a penalty on parameters."""

    @property
    def draws(self) -> bool:
        """Gaussians can be drawn from."""
        return True

    def draw(
        self,
        parameters: MixturePosterior,
        counts: npt.NDArray[np.int64],
        random_state: np.random.RandomState,
    ) -> Float64Array:
        """Draw rows of components with their expected means and inverse expected precisions."""
        components = parameters.components
        return draw_gaussians(
            self.covariance_type,
            components.means,
            components.precision_cholesky,
            counts,
            random_state,
            components.linalg,
        )
