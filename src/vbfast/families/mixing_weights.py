"""Priors of the mixing weights and their posteriors: Dirichlet, and stick-breaking.

Both are conjugate to the components' counts ``N_k = sum_n w_n q_nk``. The stick-breaking prior is a
Dirichlet process truncated at K components (Blei and Jordan 2006):

    pi_k = v_k prod_{j<k} (1 - v_j),    v_k ~ Beta(1, gamma),

where the last stick keeps its Beta as in scikit-learn, instead of taking all that is left.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Protocol, Self

import numpy as np
from scipy.special import gammaln, logsumexp

from vbfast.config.settings import current_linalg
from vbfast.contract import Float64Array, LinearAlgebra

__all__ = ["WEIGHT_PRIORS", "Dirichlet", "MixingWeights", "StickBreaking", "log_proportions"]


class MixingWeights(Protocol):
    """A posterior of the mixing weights that knows its prior."""

    @property
    def prior_concentration(self) -> float:
        """The prior's parameter."""

    @property
    def linalg(self) -> LinearAlgebra:
        """What its expectations and divergences are computed with."""

    @classmethod
    def from_counts(
        cls, prior_concentration: float, counts: Float64Array, linalg: LinearAlgebra | None = None
    ) -> Self:
        """Return the posterior of components that hold ``counts`` of shape (n_components,).

        Its :attr:`linalg` is by default that of the backend in use.
        """

    @classmethod
    def from_parameters(
        cls,
        prior_concentration: float,
        parameters: Float64Array,
        linalg: LinearAlgebra | None = None,
    ) -> Self:
        """Return the posterior with given parameters, shaped as :attr:`parameters`."""

    @property
    def parameters(self) -> Float64Array:
        """Of the Dirichlet distribution, shape (K,), or both of every stick, shape (2, K)."""

    @property
    def counts(self) -> Float64Array:
        """``N_k`` of shape (n_components,), the posterior's parameters less the prior's."""

    @property
    def mean(self) -> Float64Array:
        """Expected weights, shape (n_components,), normalised to sum to one."""

    @property
    def expected_log(self) -> Float64Array:
        """``E[log pi_k]``, shape (n_components,), nats."""

    @property
    def kl(self) -> float:
        """``KL(q(pi) || p(pi))``, nats."""

    @property
    def log_evidence(self) -> float:
        """``sum_k N_k E[log pi_k] - KL(q || p)``, nats.

        Which is the log-ratio of the posterior's normaliser to the prior's: for whole counts the
        probability of a sequence of components that has them.
        """

    @property
    def log_symmetry(self) -> float:
        """Logarithm of the number of orders of the components that the prior treats alike."""

    def draw_log(self, generator: np.random.RandomState) -> Float64Array:
        """Draw ``log pi`` of shape (n_components,)."""


@dataclass(frozen=True)
class Dirichlet:
    """``Dirichlet(concentration)`` with the prior ``Dirichlet(a_0, ..., a_0)``.

    Bishop (2006), eq. 10.39 and 10.57-10.58.

    Attributes
    ----------
    prior_concentration : float
        ``a_0``.
    concentration : ndarray of shape (n_components,), float64
        ``a_0 + N_k``.
    known_counts : ndarray of shape (n_components,), float64, optional
        ``N_k``, of which a large ``a_0`` leaves few digits in the sum, or none.
    linalg : LinearAlgebra

    Examples
    --------
    >>> import numpy as np
    >>> from vbfast.families.mixing_weights import Dirichlet
    >>> weights = Dirichlet.from_counts(1.0, np.array([2.0, 0.0]))
    >>> weights.mean
    array([0.75, 0.25])
    >>> bool(np.isclose(np.exp(weights.log_evidence), 1 / 3))
    True
    """

    prior_concentration: float
    concentration: Float64Array
    known_counts: Float64Array | None = None
    linalg: LinearAlgebra = field(default_factory=current_linalg, repr=False, compare=False)

    @classmethod
    def from_counts(
        cls, prior_concentration: float, counts: Float64Array, linalg: LinearAlgebra | None = None
    ) -> Self:
        """Return the posterior of components that hold ``counts``."""
        concentration = prior_concentration + counts
        return cls(prior_concentration, concentration, counts, linalg or current_linalg())

    @classmethod
    def from_parameters(
        cls,
        prior_concentration: float,
        parameters: Float64Array,
        linalg: LinearAlgebra | None = None,
    ) -> Self:
        """Return the posterior with concentrations ``a_0 + N_k``."""
        return cls(prior_concentration, parameters, linalg=linalg or current_linalg())

    @property
    def parameters(self) -> Float64Array:
        """``a_0 + N_k``, shape (n_components,)."""
        return self.concentration

    @property
    def counts(self) -> Float64Array:
        """``N_k``."""
        if self.known_counts is not None:
            return self.known_counts
        return self.concentration - self.prior_concentration

    @property
    def mean(self) -> Float64Array:
        """Expected weights."""
        return np.asarray(self.concentration / self.concentration.sum())

    @functools.cached_property
    def expected_log(self) -> Float64Array:
        """``E[log pi_k]`` (Bishop 2006, eq. 10.66)."""
        return self.linalg.dirichlet_expected_log(self.concentration)

    @property
    def kl(self) -> float:
        """``KL(q || p)``, by divergences of log-gammas (Bishop 2006, eq. B.23)."""
        counts, linalg = self.counts, self.linalg
        prior_whole = len(counts) * self.prior_concentration
        each = linalg.log_gamma_divergence(self.prior_concentration, counts)
        whole = linalg.log_gamma_divergence(prior_whole, counts.sum())
        return max(0.0, float(each.sum() - whole))

    @property
    def log_evidence(self) -> float:
        """``log C(prior) - log C(posterior)`` with C the normaliser (Bishop 2006, eq. B.23)."""
        return self.linalg.dirichlet_log_evidence(self.prior_concentration, self.counts)

    @property
    def log_symmetry(self) -> float:
        """``ln K!``."""
        return float(gammaln(len(self.concentration) + 1.0))

    def draw_log(self, generator: np.random.RandomState) -> Float64Array:
        """Draw ``log pi``."""
        gammas = _draw_log_gamma(self.concentration, generator)
        return np.asarray(gammas - logsumexp(gammas))


@dataclass(frozen=True)
class StickBreaking:
    """``v_k ~ Beta(taken_k, left_k)`` with the prior ``Beta(1, gamma)`` (Blei and Jordan 2006).

    Attributes
    ----------
    prior_concentration : float
        ``gamma``.
    taken : ndarray of shape (n_components,), float64
        ``1 + N_k``.
    left : ndarray of shape (n_components,), float64
        ``gamma + sum_{j>k} N_j``.
    linalg : LinearAlgebra

    Examples
    --------
    >>> import numpy as np
    >>> from vbfast.families.mixing_weights import StickBreaking
    >>> weights = StickBreaking.from_counts(1.0, np.array([3.0, 1.0, 0.0]))
    >>> weights.taken, weights.left
    (array([4., 2., 1.]), array([2., 1., 1.]))
    """

    prior_concentration: float
    taken: Float64Array
    left: Float64Array
    linalg: LinearAlgebra = field(default_factory=current_linalg, repr=False, compare=False)

    @classmethod
    def from_counts(
        cls, prior_concentration: float, counts: Float64Array, linalg: LinearAlgebra | None = None
    ) -> Self:
        """Return the posterior of components that hold ``counts``."""
        left = np.empty(len(counts))
        left.fill(prior_concentration)
        left[:-1] += np.add.accumulate(counts[:0:-1])[::-1]
        return cls(prior_concentration, 1.0 + counts, left, linalg or current_linalg())

    @classmethod
    def from_parameters(
        cls,
        prior_concentration: float,
        parameters: Float64Array,
        linalg: LinearAlgebra | None = None,
    ) -> Self:
        """Return the posterior with the parameters of every stick's Beta distribution."""
        taken, left = parameters
        return cls(prior_concentration, taken, left, linalg or current_linalg())

    @property
    def parameters(self) -> Float64Array:
        """``taken`` and ``left``, shape (2, n_components)."""
        return np.stack([self.taken, self.left])

    @property
    def counts(self) -> Float64Array:
        """``N_k``."""
        return self.taken - 1.0

    @property
    def mean(self) -> Float64Array:
        """Expected weights; normalised, as the last stick leaves something."""
        whole = self.taken + self.left
        remaining = np.cumprod(self.left / whole)
        weights = self.taken / whole * np.append(1.0, remaining[:-1])
        return np.asarray(weights / weights.sum())

    @functools.cached_property
    def expected_log(self) -> Float64Array:
        """``E[log v_k] + sum_{j<k} E[log (1 - v_j)]``."""
        return self.linalg.stick_expected_log(self.taken, self.left)

    @property
    def kl(self) -> float:
        """``KL(q || p)``, summed over the sticks, by divergences of log-gammas."""
        gamma = self.prior_concentration
        rows, later = self.taken - 1.0, self.left - gamma
        divergence = self.linalg.log_gamma_divergence
        own, others = divergence(1.0, rows), divergence(gamma, later)
        both = divergence(1.0 + gamma, rows + later)
        return max(0.0, float((own + others - both).sum()))

    @property
    def log_evidence(self) -> float:
        """``sum_k log B(taken_k, left_k) - log B(1, gamma)``."""
        gamma = self.prior_concentration
        return self.linalg.stick_log_evidence(gamma, self.taken - 1.0, self.left - gamma)

    @property
    def log_symmetry(self) -> float:
        """Zero: the sticks have an order."""
        return 0.0

    def draw_log(self, generator: np.random.RandomState) -> Float64Array:
        """Draw ``log pi``, whose exponentials leave what the last stick leaves."""
        taken = _draw_log_gamma(self.taken, generator)
        left = _draw_log_gamma(self.left, generator)
        whole = np.logaddexp(taken, left)
        remaining = np.cumsum(left - whole)
        return np.asarray(taken - whole + np.append(0.0, remaining[:-1]))


# By scikit-learn's names.
WEIGHT_PRIORS: dict[str, type[MixingWeights]] = {
    "dirichlet_process": StickBreaking,
    "dirichlet_distribution": Dirichlet,
}


def log_proportions(weights: Float64Array) -> Float64Array:
    """Return logarithms of weights that are known, nats; ``-inf`` for a component without any."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(weights))


def _draw_log_gamma(shape: Float64Array, generator: np.random.RandomState) -> Float64Array:
    """Draw logarithms of Gamma(shape, 1) variates, of which those of small shape underflow.

    Gamma(a) is Gamma(a + 1) times a uniform variate to the power 1 / a.
    """
    boost = generator.standard_exponential(len(shape)) / shape
    return np.asarray(np.log(generator.standard_gamma(shape + 1.0)) - boost)
