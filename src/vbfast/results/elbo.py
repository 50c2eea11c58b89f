"""Bounds, with their terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ElboTerms", "VariationalElboTerms"]

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
    >>> import vbfast
    >>> terms = vbfast.ElboTerms(
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
        """The negative bound, ``-elbo == kl - log_evidence``: what a minimizer is given."""
        return -self.elbo


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
    >>> import vbfast
    >>> terms = vbfast.VariationalElboTerms(
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
        """The negative of the whole bound, ``-total``: what a minimizer is given."""
        return -self.total

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return (
            f"VariationalElboTerms({fields})\n"
            f"total={self.total!r}, the bound that elbo_ of a fit is of; elbo is without the "
            "divergences"
        )
