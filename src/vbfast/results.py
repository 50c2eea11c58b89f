"""What the estimators and the array functions return: an evidence lower bound with its terms."""

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

    @property
    def loss(self) -> Term:
        """The negative bound, ``-elbo == kl - log_evidence``: what a minimiser is given."""
        return -self.elbo


@dataclass(frozen=True)
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

    Attributes
    ----------
    elbo, expected_log_joint, entropy, log_evidence, kl : float
        As in :class:`ElboTerms`, given :math:`q(\theta)`.
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
    >>> terms.total
    -6.0
    """

    kl_weights: float
    kl_components: npt.NDArray[np.float64]

    @property
    def total(self) -> float:
        """``elbo - kl_weights - sum(kl_components)``: the bound on the log marginal likelihood."""
        return float(self.elbo - self.kl_weights - self.kl_components.sum())
