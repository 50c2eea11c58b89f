"""Prior and posterior of a variational mixture of Gaussians: weights and components together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vbfast.contract import Float64Array, LinearAlgebra, LogJoint, Statistics
from vbfast.families.mixing_weights import MixingWeights
from vbfast.families.normal_wishart import NormalWishart
from vbfast.families.normal_wishart_prior import NormalWishartPrior

__all__ = ["MixturePosterior", "MixturePrior"]

# A component that holds less has lost its rows: they have another home, and what it holds is the
# tails of their responsibilities, to which a posterior as broad as its prior always has some claim.
ACTIVE_ROWS = 0.5


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

    def same_as(self, other: MixturePrior) -> bool:
        """Whether all numbers are the same."""
        return (
            self.weights is other.weights
            and self.weight_concentration == other.weight_concentration
            and self.components.same_as(other.components)
        )

    def posterior(
        self, statistics: Statistics, *, reg_covar: float, linalg: LinearAlgebra | None = None
    ) -> MixturePosterior:
        """Return the posterior that maximizes the bound for given sufficient statistics.

        Computed with ``linalg``, and so is what it is asked for later. By default that is what the
        prior is computed with.

        Raises
        ------
        NotPositiveDefiniteError
            If a scale matrix is not positive definite.
        """
        linalg = linalg or self.components.linalg
        return MixturePosterior(
            self.weights.from_counts(self.weight_concentration, statistics.weight, linalg),
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

    def log_density(self) -> LogJoint:
        """Return the expected log-joint without the weights: expected log-densities."""
        return replace(self.log_joint(), offset=self.components.expected_log_density)

    @property
    def log_weights(self) -> Float64Array:
        """``E[log pi_k]``, nats."""
        return self.weights.expected_log

    @property
    def active(self) -> npt.NDArray[np.bool_]:
        """Which components hold at least :data:`ACTIVE_ROWS` rows, shape (n_components,)."""
        return np.asarray(self.weights.counts >= ACTIVE_ROWS)

    def restricted_to(self, kept: npt.NDArray[np.bool_]) -> MixturePosterior:
        """Return the posterior of the components ``kept``, the others' rows being nobody's."""
        weights = self.weights
        some = weights.from_counts(
            weights.prior_concentration, weights.counts[kept], weights.linalg
        )
        return MixturePosterior(some, self.components.restricted_to(kept))
