"""What estimators and array functions return: bounds with their terms, gradients, estimates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ElboTerms", "EvidenceEstimate", "MixtureGradient", "VariationalElboTerms"]

Term = float | npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class ElboTerms:
    r"""The evidence lower bound of a distribution :math:`q` over components, term by term, in nats.

    With the log-joint :math:`\ell_{nk} = \log p(x_n, z_n = k)` and weights :math:`w_n`
    (Blei, Kucukelbir and McAuliffe 2017, eq. 13-14):

    .. math::

        \mathcal L(q) = \sum_n w_n \Big(\sum_k q_{nk} \ell_{nk} - \sum_k q_{nk} \log q_{nk}\Big)

    The terms satisfy, to rounding,

    - ``elbo == expected_log_joint + entropy``,
    - ``log_evidence == elbo + kl``,
    - ``loss == kl - log_evidence``.

    Attributes
    ----------
    elbo : float or ndarray of shape (n_samples,)
        The lower bound; ``-inf`` where ``q`` has mass on a component of log-joint ``-inf``.
    expected_log_joint : float or ndarray of shape (n_samples,)
        :math:`E_q[\ell]`.
    entropy : float or ndarray of shape (n_samples,)
        :math:`H[q]`, never negative for non-negative weights.
    log_evidence : float or ndarray of shape (n_samples,)
        :math:`\log p(x) = \mathrm{logsumexp}_k \ell_k`.
    kl : float or ndarray of shape (n_samples,)
        :math:`\mathrm{KL}(q \,\|\, p(z \mid x)) \ge 0`, the gap of the bound; summed directly and
        not by subtraction. Zero exactly at the posterior.

    Examples
    --------
    >>> from vbfast.results import ElboTerms
    >>> terms = ElboTerms(
    ...     elbo=-3.0, expected_log_joint=-3.5, entropy=0.5, log_evidence=-2.75, kl=0.25
    ... )
    >>> terms.loss
    3.0
    """

    elbo: Term
    expected_log_joint: Term
    entropy: Term
    log_evidence: Term
    kl: Term

    def __init__(
        self, elbo: Term, expected_log_joint: Term, entropy: Term, log_evidence: Term, kl: Term
    ) -> None:
        # The generated one of a frozen class sets each field through object.__setattr__, which
        # takes as long as the bound of a short row.
        fields = self.__dict__
        fields["elbo"] = elbo
        fields["expected_log_joint"] = expected_log_joint
        fields["entropy"] = entropy
        fields["log_evidence"] = log_evidence
        fields["kl"] = kl

    @property
    def loss(self) -> Term:
        """The negative bound, ``-elbo == kl - log_evidence``: what a minimiser is given."""
        return -self.elbo


@dataclass(frozen=True)
class MixtureGradient:
    r"""The gradient of a Gaussian mixture's log evidence :math:`L = \sum_n w_n \log p(x_n)`.

    With the posterior :math:`q_{nk}`, :math:`r_{nk} = w_n q_{nk}`, :math:`N_k = \sum_n r_{nk}`,
    :math:`d_{nk} = x_n - \mu_k` and :math:`\Lambda_k = \Sigma_k^{-1} = P_k P_k^\top`. A row of log
    evidence :math:`-\infty` counts for nothing. The parameters' gradients are float64.

    Attributes
    ----------
    weights : ndarray of shape (n_components,)
        The unconstrained partial derivatives
        :math:`\partial L / \partial \pi_k = \sum_n r_{nk} / \pi_k
        = \sum_n w_n p(x_n \mid k) / p(x_n)`, also where :math:`\pi_k = 0`. On the simplex only
        their differences matter.
    logits : ndarray of shape (n_components,)
        :math:`\partial L / \partial \eta_k = N_k - \pi_k \sum_j N_j` for
        :math:`\pi = \mathrm{softmax}(\eta)`; they sum to zero.
    means : ndarray of shape (n_components, n_features)
        :math:`\Lambda_k \sum_n r_{nk} d_{nk}`.
    covariances : ndarray
        :math:`G_k = \frac12 \sum_n r_{nk} (\Lambda_k d_{nk} d_{nk}^\top \Lambda_k - \Lambda_k)`,
        shaped as the covariances: (K, D, D) for 'full', (D, D) for 'tied', where it is summed over
        the components, (K, D) for 'diag' and (K,) for 'spherical'. Matrices are symmetric, with
        :math:`dL = \sum_{ij} G_{ij} \, d\Sigma_{ij}`: in one number that two mirrored entries
        share the derivative is twice the entry.
    precisions_cholesky : ndarray
        :math:`\sum_n r_{nk} (P_k^{-\top} - d_{nk} d_{nk}^\top P_k)` in the upper triangle, zero
        below it; shaped as the covariances, and in the square roots of the precisions for 'diag'
        and 'spherical'.
    X : ndarray of shape (n_samples, n_features) or None
        :math:`\partial L / \partial x_n = w_n \sum_k q_{nk} \Lambda_k (\mu_k - x_n)`, in the dtype
        of the computation; None where it was not asked for.

    Examples
    --------
    >>> import numpy as np
    >>> import vbfast
    >>> X = np.array([[-1.0], [1.0], [2.0], [4.0]])
    >>> mixture = vbfast.GaussianMixture(reg_covar=0.0).fit(X)
    >>> _, gradient = mixture.log_evidence_and_grad(X)  # zero where EM converged
    >>> bool(np.allclose(gradient.means, 0.0)), bool(np.allclose(gradient.covariances, 0.0))
    (True, True)
    """

    weights: npt.NDArray[np.float64]
    logits: npt.NDArray[np.float64]
    means: npt.NDArray[np.float64]
    covariances: npt.NDArray[np.float64]
    precisions_cholesky: npt.NDArray[np.float64]
    X: npt.NDArray[np.floating[Any]] | None = None


@dataclass(frozen=True, repr=False)
class VariationalElboTerms(ElboTerms):
    r"""The evidence lower bound of a variational mixture, term by term, in nats.

    The log-joint is the expectation :math:`\ell_{nk} = E_{q(\theta)}[\log p(x_n, z_n = k \mid
    \theta)]`, so that ``log_evidence`` means :math:`\sum_n w_n \,\mathrm{logsumexp}_k\, \ell_{nk}`
    and ``kl`` the gap of the responsibilities alone. The bound on the logarithm of the marginal
    likelihood of the rows is ``total`` (Bishop 2006, eq. 10.70):

    .. math::

        \mathcal L(q) = \sum_n w_n \big(E_q[\ell_{nk}] + H[q_n]\big)
        - \mathrm{KL}(q(\pi) \,\|\, p(\pi))
        - \sum_k \mathrm{KL}(q(\mu_k, \Lambda_k) \,\|\, p(\mu_k, \Lambda_k))

    The attribute ``elbo_`` of a fitted mixture is of the kind of ``total``, **not** of ``elbo``,
    which is the sum of the first two terms alone. On the rows of the fit ``total >= elbo_``, with
    equality where the fit has converged.

    The terms satisfy, to rounding, the identities of :class:`ElboTerms` but for the loss, which is
    that of the whole bound:

    - ``total == elbo - kl_weights - sum(kl_components)``,
    - ``loss == -total``.

    Attributes
    ----------
    elbo, expected_log_joint, entropy, log_evidence, kl : float
        As in :class:`ElboTerms`, given :math:`q(\theta)`: without the divergences of the
        parameters from their priors.
    kl_weights : float
        :math:`\mathrm{KL}(q(\pi) \,\|\, p(\pi))` of the mixing weights.
    kl_components : ndarray of shape (n_components,)
        :math:`\mathrm{KL}(q(\mu_k, \Lambda_k) \,\|\, p(\mu_k, \Lambda_k))`.

    Examples
    --------
    >>> import numpy as np
    >>> from vbfast.results import VariationalElboTerms
    >>> terms = VariationalElboTerms(
    ...     elbo=-3.0,
    ...     expected_log_joint=-3.5,
    ...     entropy=0.5,
    ...     log_evidence=-2.75,
    ...     kl=0.25,
    ...     kl_weights=0.5,
    ...     kl_components=np.array([1.0, 1.5]),
    ... )
    >>> terms.total, terms.loss
    (-6.0, 6.0)
    """

    kl_weights: float
    kl_components: npt.NDArray[np.float64]

    @property
    def total(self) -> float:
        """``elbo - kl_weights - sum(kl_components)``: the bound on the log marginal likelihood."""
        return float(self.elbo - self.kl_weights - self.kl_components.sum())

    @property
    def loss(self) -> float:
        """The negative of the whole bound, ``-total``: what a minimiser is given."""
        return -self.total

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return (
            f"VariationalElboTerms({fields})\n"
            f"total={self.total!r}, the bound that elbo_ of a fit is of; elbo is without the "
            "divergences"
        )


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
    >>> from vbfast.results import EvidenceEstimate
    >>> EvidenceEstimate(-1234.5, 0.02, 0.31, 0.6, 0.0, 1000).advice
    'k-hat 0.31 is below 0.5: the estimate is good.'
    >>> exchangeable = EvidenceEstimate(-1234.5, 0.02, 0.31, 0.6, math.log(6.0), 1000)
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
