"""What the estimators and the array functions return: an evidence lower bound with its terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ElboTerms"]

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
