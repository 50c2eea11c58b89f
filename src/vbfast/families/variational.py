"""Variational Gaussian mixtures: the posterior as a log-joint, the global step and the bound.

The bound of ``q(z) q(pi) prod_k q(mu_k, Lambda_k)`` is (Bishop 2006, eq. 10.70)

    L = sum_n w_n (E_q[l_nk] + H[q_n]) - KL(q(pi) || p(pi)) - sum_k KL(q(mu_k, Lambda_k) || p),

where ``l_nk = E[log pi_k] + E[log N(x_n | mu_k, Lambda_k^-1)]`` is a log-joint like any other, so
that the passes are those of expectation-maximisation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vbfast.contract import (
    Float64Array,
    LinearAlgebra,
    LogJoint,
    PassResult,
    Request,
    Statistics,
)
from vbfast.families.covariances import MOMENTS_OF, scatter_floor
from vbfast.families.mixing_weights import MixingWeights
from vbfast.families.normal_wishart import NormalWishart, NormalWishartPrior

__all__ = ["MixturePosterior", "MixturePrior", "VariationalBayes"]

# A component that holds less has lost its rows: they have another home, and what it holds is the
# tails of their responsibilities, to which a posterior as broad as its prior always has some claim.
ACTIVE_ROWS = 0.5

# Up to so many rows a change of the whole bound is compared with the tolerance, beyond it a change
# in proportion: the bound's rounding grows with the rows.
ROWS_OF_TOLERANCE = 1000.0


@dataclass(frozen=True)
class MixturePrior:
    """Prior of a mixture: which family its weights have, and the components'.

    Attributes
    ----------
    weights : type
        :class:`~vbfast.families.mixing_weights.Dirichlet` or
        :class:`~vbfast.families.mixing_weights.StickBreaking`.
    weight_concentration : float
    components : NormalWishartPrior
    """

    weights: type[MixingWeights]
    weight_concentration: float
    components: NormalWishartPrior

    def posterior(
        self, statistics: Statistics, *, reg_covar: float, linalg: LinearAlgebra | None = None
    ) -> MixturePosterior:
        """Return the posterior that maximises the bound for given sufficient statistics.

        Computed with ``linalg``, by default that of the backend in use.

        Raises
        ------
        NotPositiveDefiniteError
            If a scale matrix is not positive definite.
        """
        return MixturePosterior(
            self.weights.from_counts(self.weight_concentration, statistics.weight),
            NormalWishart.from_statistics(
                self.components, statistics, reg_covar=reg_covar, linalg=linalg
            ),
        )


@dataclass(frozen=True)
class MixturePosterior:
    """Posterior ``q(pi) prod_k q(mu_k, Lambda_k)``, with its priors."""

    weights: MixingWeights
    components: NormalWishart

    @property
    def prior(self) -> MixturePrior:
        """The priors."""
        weights = self.weights
        return MixturePrior(type(weights), weights.prior_concentration, self.components.prior)

    def log_joint(self) -> LogJoint:
        """Lay the expected log-joint out as a pass takes it (Bishop 2006, eq. 10.46)."""
        components = self.components
        return LogJoint.quadratic(
            components.prior.covariance_type,
            self.weights.expected_log + components.expected_log_density,
            components.means,
            components.precision_cholesky,
        )

    @property
    def active(self) -> npt.NDArray[np.bool_]:
        """Which components hold at least :data:`ACTIVE_ROWS` rows, shape (n_components,)."""
        return np.asarray(self.weights.counts >= ACTIVE_ROWS)

    def restricted_to(self, kept: npt.NDArray[np.bool_]) -> MixturePosterior:
        """Return the posterior of the components ``kept``, the others' rows being nobody's."""
        weights = self.weights.from_counts(
            self.weights.prior_concentration, self.weights.counts[kept]
        )
        return MixturePosterior(weights, self.components.restricted_to(kept))


@dataclass(frozen=True)
class VariationalBayes:
    """What coordinate-ascent variational Bayes climbs: the bound on the marginal likelihood.

    Attributes
    ----------
    prior : MixturePrior
    reg_covar : float
        See :meth:`~vbfast.families.normal_wishart.NormalWishart.from_statistics`.
    """

    prior: MixturePrior
    reg_covar: float

    @property
    def request(self) -> Request:
        """A posterior pass with the statistics of the covariance type."""
        return Request(moments=MOMENTS_OF[self.prior.components.covariance_type])

    def maximise(
        self, statistics: Statistics, previous: MixturePosterior, linalg: LinearAlgebra
    ) -> MixturePosterior:
        """Take the global step: the posterior does not depend on the previous one."""
        del previous
        return self.prior.posterior(statistics, reg_covar=self.reg_covar, linalg=linalg)

    def scatter_floor(self, counts: Float64Array) -> Float64Array:
        """Return what the global step adds to sums of squares."""
        prior = self.prior.components
        return scatter_floor(prior.covariance_type, counts, self.reg_covar, prior.covariance)

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
        held = counts > 0.0
        weights = updated.weights.log_evidence - counts[held] @ previous.weights.expected_log[held]
        return float(sums.log_evidence + weights + components.sum())

    @property
    def climbs_merit(self) -> bool:
        """Whether the responsibilities maximise the merit as the global step does."""
        return self.reg_covar == 0.0 or self.prior.components.covariance_type == "tied"

    def merit(
        self,
        lower_bound: float,
        sums: PassResult,
        previous: MixturePosterior,
        updated: MixturePosterior,
    ) -> float:
        """Return what the iterations climb: the bound if ``reg_covar`` is noise of every row.

        See :meth:`vbfast.families.gaussian.MaximumLikelihood.merit`; the trace is expected here.
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
        """Return the change of the bound below which the ascent has converged."""
        return tol * max(1.0, total_weight / ROWS_OF_TOLERANCE)
