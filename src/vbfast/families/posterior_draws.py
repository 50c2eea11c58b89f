"""Draws from the posterior of a variational mixture, and how the prior weighs them.

Whatever the covariance type restricts ``q`` to, its components' precisions are full matrices, and
independent (:mod:`vbfast.families.normal_wishart`); so is what is drawn here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vbfast.engine.contract import Float64Array, KernelParams
from vbfast.families.linalg import log_det_cholesky
from vbfast.families.normal_wishart import NormalWishart, log_wishart_normaliser
from vbfast.families.variational import MixturePosterior

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

    def kernel_params(self) -> KernelParams:
        """Lay ``log pi_k + log N(x | mu_k, Lambda_k^-1)`` out as a pass takes it."""
        constant = 0.5 * self.means.shape[1] * math.log(2.0 * math.pi)
        offset = self.log_weights - constant + log_det_cholesky(self.precision_cholesky)
        return KernelParams("full", offset, self.means, self.precision_cholesky)


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

    traces = np.square(bartlett).sum(axis=(1, 2))
    distances = np.square(noise).sum(axis=1)
    components_ratio = _log_ratio(components, whitened, factor, traces, distances)
    return MixtureDraw(log_weights, means, factor, float(weights_ratio + components_ratio.sum()))


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


def _log_ratio(
    components: NormalWishart,
    whitened: Float64Array,
    factor: Float64Array,
    traces: Float64Array,
    distances: Float64Array,
) -> Float64Array:
    """Return ``log p(mu_k, Lambda_k) - log q(mu_k, Lambda_k)``, shape (n_components,), nats.

    ``whitened`` are ``P_k^T (mu_k - m_k)``, ``traces`` ``tr(W_k^-1 Lambda_k)`` and ``distances``
    ``beta_k (mu_k - m_k)^T Lambda_k (mu_k - m_k)``: what was drawn, and sums of its squares. A mean
    that a small precision has thrown far away would not give them back.
    """
    prior, D = components.prior, components.n_features
    degrees = components.degrees_of_freedom
    normalisers = prior.log_normaliser - log_wishart_normaliser(
        components.log_det_scale, degrees, D
    )
    log_det = 2.0 * log_det_cholesky(factor)
    if prior.covariance_type in ("full", "tied"):
        precisions = factor @ factor.swapaxes(1, 2)
        prior_traces = np.einsum("ij,kij->k", prior.covariance, precisions)
    else:
        prior_traces = (prior.covariance * np.square(factor).sum(axis=2)).sum(axis=1)
    centres = components.means - prior.mean
    deviations = whitened + np.einsum("ki,kij->kj", centres, factor)
    prior_distances = prior.mean_precision * np.square(deviations).sum(axis=1)
    wishart = normalisers + 0.5 * (
        (prior.degrees_of_freedom - degrees) * log_det + traces - prior_traces
    )
    # The difference of logarithms is finite also where the ratio is zero to rounding.
    log_ratio = math.log(prior.mean_precision) - np.log(components.mean_precision)
    normal = 0.5 * (D * log_ratio + distances - prior_distances)
    return np.asarray(wishart + normal)
