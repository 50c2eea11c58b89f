"""Estimates of the marginal likelihood."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["EvidenceEstimate"]

# Shapes of the importance weights' tail (Yao, Vehtari, Simpson and Gelman 2018, section 3): below
# the first their variance is finite, above the second an estimate needs impractically many draws.
KHAT_GOOD = 0.5
KHAT_USABLE = 0.7


@dataclass(frozen=True)
class EvidenceEstimate:
    r"""The log marginal likelihood by importance sampling from a variational posterior.

    Draws :math:`\theta_s \sim q(\theta)` weigh :math:`w_s = p(x, \theta_s) / q(\theta_s)`, with
    the assignments summed out; the mean weight, its tail Pareto-smoothed, estimates
    :math:`p(x)`. How well q fits shows in the tail: ``khat`` is the shape of the Pareto
    distribution fitted to it (Yao, Vehtari, Simpson and Gelman 2018). It judges q where q draws,
    and is blind to modes of the posterior that q misses.

    Attributes
    ----------
    value : float
        The estimate of :math:`\log p(x)`, nats.
    standard_error : float
        Of ``value``, nats; means nothing where ``khat`` is above 0.7.
    khat : float
        Below 0.5 the estimate is good, up to 0.7 it can be used, above it must not be trusted.
    kl_gap : float
        ``value`` minus the lower bound: an estimate of
        :math:`\mathrm{KL}(q(z, \theta) \,\|\, p(z, \theta \mid x))`, nats.
    log_symmetry : float
        :math:`\ln K!` where the prior treats components alike (Dirichlet), 0 where it orders them
        (Dirichlet process). In the first case the posterior has :math:`K!` equal modes, of which q
        covers one, and all of it is missing from ``value`` only where the components are so well
        separated that the modes do not overlap, less of it otherwise. In the second the modes
        differ in height, by what the prior thinks of the order, and what is missing has no such
        limit. Reported and never added.
    n_draws : int
        How many draws the estimate rests on.
    n_components : int
        K. Of more than one component, the same in another order are other modes of the posterior,
        which q does not cover: equal weights make the value exact for one component only.

    Examples
    --------
    >>> import math
    >>> import vbfast
    >>> vbfast.EvidenceEstimate(-1234.5, 0.02, 0.31, 0.6, 0.0, 1000).advice
    'k-hat 0.31 is below 0.5: the estimate is good.'
    >>> exchangeable = vbfast.EvidenceEstimate(-1234.5, 0.02, 0.31, 0.6, math.log(6.0), 1000)
    >>> "may lack up to 1.792 nats by symmetric modes" in exchangeable.advice
    True
    """

    value: float
    standard_error: float
    khat: float
    kl_gap: float
    log_symmetry: float
    n_draws: int
    n_components: int = 1

    @property
    def advice(self) -> str:
        """Whether ``khat`` means to trust the estimate and, under symmetry, what it cannot tell."""
        if self.log_symmetry > 0.0:
            return (
                f"{self._trust} The components can be exchanged: the value may lack up to "
                f"{self.log_symmetry:.4g} nats by symmetric modes that q does not cover. k-hat "
                "does not see them, nor any other mode that q misses."
            )
        if self.n_components > 1:
            every_order = math.lgamma(self.n_components + 1.0)
            return (
                f"{self._trust} The components in another order are another mode: the value may "
                f"lack about {every_order:.4g} nats (ln K!), and more where theirs is not the "
                "likeliest order, by modes that q does not cover. k-hat does not see them, nor any "
                "other mode that q misses."
            )
        return self._trust

    @property
    def _trust(self) -> str:
        if math.isnan(self.khat) or self.khat == math.inf:
            return (
                f"k-hat cannot be told from {self.n_draws} draws: do not trust the estimate, "
                "take more draws."
            )
        if self.khat == -math.inf:
            if self.log_symmetry > 0.0 or self.n_components > 1:
                return "The weights are equal: q is the exact posterior where it has mass."
            return "The weights are equal: q is the exact posterior, and the value exact."
        if self.khat < KHAT_GOOD:
            return f"k-hat {self.khat:.2f} is below {KHAT_GOOD}: the estimate is good."
        if self.khat < KHAT_USABLE:
            return (
                f"k-hat {self.khat:.2f} is between {KHAT_GOOD} and {KHAT_USABLE}: the estimate can "
                "be used, but its error shrinks slowly with the number of draws."
            )
        return (
            f"k-hat {self.khat:.2f} is above {KHAT_USABLE}: do not trust the estimate or its "
            "standard error; q is too far from the posterior for importance sampling."
        )

    def __repr__(self) -> str:
        figures = (
            f"value={self.value:.3f}, standard_error={self.standard_error:.2g}, "
            f"khat={self.khat:.2f}, kl_gap={self.kl_gap:.4g}, "
            f"log_symmetry={self.log_symmetry:.4g}, n_draws={self.n_draws}, "
            f"n_components={self.n_components}"
        )
        return f"EvidenceEstimate({figures})\n{self.advice}"
