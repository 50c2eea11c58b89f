"""Natural parameters of a variational mixture's posterior, and the bound's gradients in them.

``q(theta)`` is an exponential family in the coordinates, one normal-Wishart each component,

    beta_k,    beta_k m_k,    S_k = W_k^-1 + beta_k m_k m_k^T,    nu_k,

and the concentrations of the weights' posterior. Of ``S_k`` 'diag' keeps the diagonal and
'spherical' its mean; 'tied' has the means over the components of ``S_k`` and ``nu_k``. Conjugate to
them are the expectations

    -1/2 (m_k^T E[Lambda_k] m_k + D / beta_k),    E[Lambda_k] m_k,    -1/2 E[Lambda_k],
    1/2 E[log det Lambda_k],

the third times D for the one number of 'spherical', the third and fourth summed over the components
for 'tied'.

With the responsibilities that are best for q, the bound's gradient in the coordinates ``eta`` is
``A''(eta) (eta* - eta)``, where ``eta*``, prior plus sufficient statistics, is what coordinate
ascent would set, and ``A''`` the derivative of the expectations: the Fisher information of q. So
the natural gradient is ``eta* - eta`` (Hoffman, Blei, Wang and Paisley 2013, eq. 14-16): a step of
length one is coordinate ascent, and stochastic variational inference takes a fraction of one from
a part of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from scipy.special import polygamma

from vbfast.engine.contract import CovarianceType, Float64Array
from vbfast.families.covariances import precision_factor, precisions_of
from vbfast.families.mixing_weights import Dirichlet, MixingWeights, StickBreaking
from vbfast.families.normal_wishart import NormalWishart
from vbfast.families.variational import MixturePosterior

__all__ = ["NaturalParameters", "VariationalGradient", "variational_gradient"]


@dataclass(frozen=True)
class NaturalParameters:
    """Natural parameters of a posterior, or a gradient in them; all float64.

    Attributes
    ----------
    weight_concentration : ndarray of shape (n_components,) or (2, n_components)
        Of the Dirichlet distribution, or both parameters of every stick's Beta distribution.
    mean_precision : ndarray of shape (n_components,)
        ``beta_k``.
    scaled_means : ndarray of shape (n_components, n_features)
        ``beta_k m_k``.
    second_moments : ndarray
        ``W_k^-1 + beta_k m_k m_k^T`` on the covariance type's pattern: shape (K, D, D) for 'full',
        (D, D) for 'tied' (the mean over the components), (K, D) for 'diag', (K,) for 'spherical'
        (the mean over the features). A Euclidean gradient G is such that the bound changes by the
        sum of ``G * dS`` over all entries, of which a symmetric matrix has most twice.
    degrees_of_freedom : ndarray of shape (n_components,), () for 'tied'
        ``nu_k``.
    """

    weight_concentration: Float64Array
    mean_precision: Float64Array
    scaled_means: Float64Array
    second_moments: Float64Array
    degrees_of_freedom: Float64Array

    @classmethod
    def of(cls, posterior: MixturePosterior) -> NaturalParameters:
        """Return the coordinates of a posterior."""
        components = posterior.components
        kind = components.prior.covariance_type
        beta, means, nu = (
            components.mean_precision,
            components.means,
            components.degrees_of_freedom,
        )
        scaled = beta[:, np.newaxis] * means
        return cls(
            _concentration(posterior.weights),
            beta,
            scaled,
            np.asarray(_inverse_scale(components) + _products(kind, scaled, means)),
            nu,
        )

    def moved(self, direction: NaturalParameters, length: float = 1.0) -> NaturalParameters:
        """Return the coordinates after a step: ``self + length * direction``."""
        return NaturalParameters(
            *(
                getattr(self, field.name) + length * getattr(direction, field.name)
                for field in fields(self)
            )
        )

    def posterior(self, like: MixturePosterior) -> MixturePosterior:
        """Return the posterior at these coordinates, with the priors of another one.

        Raises
        ------
        NotPositiveDefiniteError
            If a ``W_k^-1`` is not positive definite.
        """
        kind = like.components.prior.covariance_type
        means = self.scaled_means / self.mean_precision[:, np.newaxis]
        inverse_scale = self.second_moments - _products(kind, self.scaled_means, means)
        covariances = np.asarray((inverse_scale.T / self.degrees_of_freedom).T)
        weights: MixingWeights
        if isinstance(like.weights, Dirichlet):
            weights = replace(like.weights, concentration=self.weight_concentration)
        else:
            taken, left = self.weight_concentration
            weights = StickBreaking(like.weights.prior_concentration, taken, left)
        components = replace(
            like.components,
            mean_precision=self.mean_precision,
            means=means,
            degrees_of_freedom=self.degrees_of_freedom,
            covariances=covariances,
            precision_cholesky=precision_factor(kind, covariances),
        )
        return MixturePosterior(weights, components)


@dataclass(frozen=True)
class VariationalGradient:
    """Gradients of the bound at a posterior.

    Attributes
    ----------
    coordinates : NaturalParameters
        Where they were taken.
    euclidean : NaturalParameters
        Partial derivatives.
    natural : NaturalParameters
        The direction of steepest ascent by the Fisher information of q: what coordinate ascent
        would set, less what there is.
    """

    coordinates: NaturalParameters
    euclidean: NaturalParameters
    natural: NaturalParameters


def variational_gradient(
    posterior: MixturePosterior, target: MixturePosterior
) -> VariationalGradient:
    """Return the gradients of the bound at a posterior.

    Parameters
    ----------
    posterior : MixturePosterior
    target : MixturePosterior
        What the global step makes of the posterior's responsibilities, with ``reg_covar`` zero.

    Returns
    -------
    VariationalGradient
    """
    coordinates = NaturalParameters.of(posterior)
    natural = NaturalParameters.of(target).moved(coordinates, -1.0)
    return VariationalGradient(coordinates, _times_information(posterior, target), natural)


def _times_information(posterior: MixturePosterior, target: MixturePosterior) -> NaturalParameters:
    """Return how the expectations change towards a target: the Fisher information times that.

    On leaving ``eta`` for ``eta*`` means and scale matrices change at the rates

        m' = beta* (m* - m) / beta,    (W^-1)' = W*^-1 - W^-1 + beta* (m* - m)(m* - m)^T,

    which keep their digits far from the origin, as differences of the second moments do not.
    """
    components, reached = posterior.components, target.components
    kind, D, K = components.prior.covariance_type, components.n_features, len(components.means)
    beta, means, nu = components.mean_precision, components.means, components.degrees_of_freedom
    precisions = precisions_of(kind, components.precision_cholesky)  # E[Lambda_k] = nu_k W_k
    d_beta, d_nu = reached.mean_precision - beta, reached.degrees_of_freedom - nu

    deviation = reached.means - means
    pull_of_target = reached.mean_precision[:, np.newaxis] * deviation
    d_means = pull_of_target / beta[:, np.newaxis]
    d_inverse_scale = (
        _inverse_scale(reached)
        - _inverse_scale(components)
        + _products(kind, pull_of_target, deviation)
    )
    bend = _sandwich(kind, precisions, d_inverse_scale)
    d_precisions = np.asarray(((precisions.T * d_nu - bend.T) / nu).T)
    pull = _times(kind, precisions, means)
    d_pull = _times(kind, d_precisions, means) + _times(kind, precisions, d_means)
    d_distance = np.einsum("ki,ki->k", means, d_pull) + np.einsum("ki,ki->k", d_means, pull)

    trigamma = polygamma(1, 0.5 * np.subtract.outer(nu, np.arange(D))).sum(axis=-1)
    d_log_det = 0.5 * trigamma * d_nu - _inner(kind, precisions, d_inverse_scale, D) / nu
    copies = K if kind == "tied" else 1
    entries = D if kind == "spherical" else copies
    return NaturalParameters(
        _weights_information(
            posterior.weights, _concentration(target.weights) - _concentration(posterior.weights)
        ),
        -0.5 * (d_distance - D * d_beta / beta**2),
        d_pull,
        -0.5 * entries * d_precisions,
        np.asarray(0.5 * copies * d_log_det),
    )


def _weights_information(weights: MixingWeights, direction: Float64Array) -> Float64Array:
    """Return how the expected logarithms change: a stick is a Dirichlet of two."""
    concentration = _concentration(weights)
    whole = polygamma(1, concentration.sum(axis=0)) * direction.sum(axis=0)
    return np.asarray(polygamma(1, concentration) * direction - whole)


def _inverse_scale(components: NormalWishart) -> Float64Array:
    """Return ``W_k^-1``."""
    return np.asarray((components.covariances.T * components.degrees_of_freedom).T)


def _concentration(weights: MixingWeights) -> Float64Array:
    if isinstance(weights, Dirichlet):
        return weights.concentration
    assert isinstance(weights, StickBreaking)
    return np.stack([weights.taken, weights.left])


def _products(kind: CovarianceType, left: Float64Array, right: Float64Array) -> Float64Array:
    """Return ``(l_k r_k^T + r_k l_k^T) / 2`` on the covariance type's pattern."""
    if kind == "full":
        outer = left[:, :, np.newaxis] * right[:, np.newaxis, :]
        return np.asarray(0.5 * (outer + outer.swapaxes(1, 2)))
    if kind == "tied":
        mean = np.einsum("ki,kj->ij", left, right) / len(left)
        return np.asarray(0.5 * (mean + mean.T))
    products = left * right
    return np.asarray(products if kind == "diag" else products.mean(axis=1))


def _times(kind: CovarianceType, matrices: Float64Array, vectors: Float64Array) -> Float64Array:
    """Return ``M_k v_k``, shape (K, D)."""
    if kind in ("full", "tied"):
        return np.asarray((matrices @ vectors[:, :, np.newaxis])[..., 0])
    return np.asarray((matrices.T * vectors.T).T)


def _sandwich(kind: CovarianceType, outer: Float64Array, inner: Float64Array) -> Float64Array:
    """Return ``M X M`` on the pattern."""
    if kind in ("full", "tied"):
        return np.asarray(outer @ inner @ outer)
    return np.asarray(outer * inner * outer)


def _inner(
    kind: CovarianceType, left: Float64Array, right: Float64Array, n_features: int
) -> Float64Array:
    """Return ``tr(L R)`` of symmetric matrices on the pattern."""
    if kind == "spherical":
        return n_features * left * right
    return np.asarray((left * right).sum(axis=-1 if kind == "diag" else (-2, -1)))
