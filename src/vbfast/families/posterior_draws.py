"""Draws from the posterior of a variational mixture, and how the prior weighs them.

Whatever the covariance type restricts ``q`` to, its components' precisions are full matrices, and
independent (:mod:`vbfast.families.normal_wishart`); so is what is drawn here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vbfast.contract import Float64Array, LogJoint
from vbfast.families.linalg import log_det_cholesky
from vbfast.families.mixture_posterior import MixturePosterior
from vbfast.families.normal_wishart import NormalWishart

__all__ = ["MixtureDraw", "draw_mixture"]

# Chi-square variates of few degrees of freedom underflow. No row notices a precision that small,
# and its root still has a reciprocal.
LEAST_VARIATE = 1e-200


@dataclass(frozen=True)
class MixtureDraw:
    """Parameters ``theta`` drawn from ``q``: weights, means and full precisions, all float64.

    Attributes
    ----------
    log_weights : ndarray of shape (n_components,)
    means : ndarray of shape (n_components, n_features)
    precision_cholesky : ndarray of shape (n_components, n_features, n_features)
        Upper triangular ``P`` with ``P @ P.T`` the precision.
    log_ratio : float
        ``log p(theta) - log q(theta)``, nats.
    """

    log_weights: Float64Array
    means: Float64Array
    precision_cholesky: Float64Array
    log_ratio: float

    def log_joint(self) -> LogJoint:
        """Lay ``log pi_k + log N(x | mu_k, Lambda_k^-1)`` out as a pass takes it."""
        constant = 0.5 * self.means.shape[1] * math.log(2.0 * math.pi)
        offset = self.log_weights - constant + log_det_cholesky(self.precision_cholesky)
        return LogJoint.quadratic("full", offset, self.means, self.precision_cholesky)


def draw_mixture(posterior: MixturePosterior, generator: np.random.RandomState) -> MixtureDraw:
    """Draw the parameters of a mixture from ``q(pi) prod_k q(mu_k, Lambda_k)``.

    Precisions are drawn by Bartlett's (1933) decomposition from the last row upwards, so that the
    factors are the upper triangular ones that a pass takes.

    Parameters
    ----------
    posterior : MixturePosterior
    generator : RandomState

    Returns
    -------
    MixtureDraw
    """
    components = posterior.components
    K, D = components.means.shape
    degrees = np.broadcast_to(components.degrees_of_freedom, K)
    bartlett = _draw_bartlett(degrees, D, generator)
    noise = generator.standard_normal((K, D))

    factor = _scale_factors(components) @ bartlett
    whitened = noise / np.sqrt(components.mean_precision)[:, np.newaxis]
    means = components.means + _solve_transposed(factor, whitened)
    log_weights = posterior.weights.draw_log(generator)
    # Both families are conjugate: a power of pi_k for every row that k holds.
    weights_ratio = posterior.weights.log_evidence - posterior.weights.counts @ log_weights

    wishart = _wishart_log_ratio(components, bartlett, factor)
    normal = _normal_log_ratio(components, whitened, factor, np.square(noise).sum(axis=1))
    components_ratio = float((wishart + normal).sum())
    return MixtureDraw(log_weights, means, factor, float(weights_ratio + components_ratio))


def _draw_bartlett(
    degrees_of_freedom: Float64Array, n_features: int, generator: np.random.RandomState
) -> Float64Array:
    """Draw upper triangular ``A`` with ``A A^T ~ Wishart(I, nu_k)``, shape (K, D, D)."""
    K, D = len(degrees_of_freedom), n_features
    result = np.triu(generator.standard_normal((K, D, D)), 1)
    degrees = np.subtract.outer(degrees_of_freedom, np.arange(D)[::-1])
    each = np.arange(D)
    result[:, each, each] = np.sqrt(np.maximum(generator.chisquare(degrees), LEAST_VARIATE))
    return result


def _scale_factors(components: NormalWishart) -> Float64Array:
    """Return upper triangular ``U`` with ``U U^T = W_k``, one for each component or for all."""
    factor = components.precision_cholesky
    if components.prior.covariance_type not in ("full", "tied"):
        per_feature = factor.reshape(len(factor), -1, 1)
        factor = per_feature * np.eye(components.n_features)
    scale = np.sqrt(components.degrees_of_freedom)
    return np.asarray(factor / scale[..., np.newaxis, np.newaxis])


def _solve_transposed(factors: Float64Array, values: Float64Array) -> Float64Array:
    """Solve ``P_k^T x = values_k`` for upper triangular factors, shape (K, D).

    By substitution over all components at once, in an order that nothing changes.
    """
    result = np.empty_like(values)
    for i in range(values.shape[1]):
        known = np.einsum("kj,kj->k", factors[:, :i, i], result[:, :i])
        result[:, i] = (values[:, i] - known) / factors[:, i, i]
    return result


def _wishart_log_ratio(
    components: NormalWishart, bartlett: Float64Array, factor: Float64Array
) -> Float64Array:
    """Return ``log p(Lambda_k) - log q(Lambda_k)``, shape (n_components,), nats.

    With ``A`` Bartlett's factor over ``sqrt(nu_k)``, ``T = I + E`` as in ``excess_over_prior``,
    ``d = nu_k - nu_0``, ``x_i = (nu_0 - i) / 2`` and the gamma function G that is

        nu_0 / 2 (log det T^2 - 2 <A, E A> - |E A|^2 - D log(nu_k / nu_0)) + d / 2 |A|^2
        + sum_i (log G(x_i + d / 2) - log G(x_i) + d / 2 (log(2 / nu_k) - log A_ii^2)),

    in which nothing cancels that is of the order of the degrees of freedom.
    """
    prior, D = components.prior, components.n_features
    excess = components.excess_over_prior
    if excess is None:
        return _improper_wishart_log_ratio(components, bartlett, factor)
    start, degrees = prior.degrees_of_freedom, components.degrees_of_freedom
    step = np.asarray(degrees - start)
    scaled = bartlett / np.sqrt(degrees)[..., np.newaxis, np.newaxis]
    moved = excess @ scaled
    log_det = 2.0 * np.log1p(excess.diagonal(axis1=1, axis2=2)).sum(axis=1)
    stretched = (moved * (2.0 * scaled + moved)).sum(axis=(1, 2))
    spread = np.square(scaled).sum(axis=(1, 2))
    halves = 0.5 * (start - np.arange(float(D)))
    half_step = 0.5 * step[..., np.newaxis]
    logs = 2.0 * np.log(scaled.diagonal(axis1=1, axis2=2))
    linalg = components.linalg
    gammas = linalg.log_gamma_increment(halves, half_step) + half_step * (
        np.log(2.0 * halves / np.asarray(degrees)[..., np.newaxis]) - logs
    )
    scale = log_det - stretched - D * linalg.log_ratio(start, step)
    return np.asarray(0.5 * (start * scale + step * spread) + gammas.sum(axis=-1))


def _improper_wishart_log_ratio(
    components: NormalWishart, bartlett: Float64Array, factor: Float64Array
) -> Float64Array:
    """Return the same where the prior has no factor, and an infinite constant is left out."""
    prior, degrees = components.prior, components.degrees_of_freedom
    if prior.covariance_type in ("full", "tied"):
        precisions = factor @ factor.swapaxes(1, 2)
        prior_traces = np.einsum("ij,kij->k", prior.covariance, precisions)
    else:
        prior_traces = (prior.covariance * np.square(factor).sum(axis=2)).sum(axis=1)
    return np.asarray(
        prior.log_normaliser
        - components.log_normaliser
        + (prior.degrees_of_freedom - degrees) * log_det_cholesky(factor)
        + 0.5 * (np.square(bartlett).sum(axis=(1, 2)) - prior_traces)
    )


def _normal_log_ratio(
    components: NormalWishart,
    whitened: Float64Array,
    factor: Float64Array,
    distances: Float64Array,
) -> Float64Array:
    """Return ``log p(mu_k | Lambda_k) - log q(mu_k | Lambda_k)``, shape (n_components,), nats.

    ``whitened`` are ``P_k^T (mu_k - m_k)`` and ``distances``
    ``beta_k (mu_k - m_k)^T Lambda_k (mu_k - m_k)``: what was drawn, and sums of its squares. A mean
    that a small precision has thrown far away would not give them back.
    """
    prior = components.prior
    centres = components.means - prior.mean
    deviations = whitened + np.einsum("ki,kij->kj", centres, factor)
    prior_distances = prior.mean_precision * np.square(deviations).sum(axis=1)
    # The difference of logarithms is finite also where the ratio is zero to rounding.
    log_precisions = math.log(prior.mean_precision) - np.log(components.mean_precision)
    return np.asarray(0.5 * (components.n_features * log_precisions + distances - prior_distances))
