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
a part of the rows. With all rows a fraction never lowers the bound: at fixed responsibilities that
is a constant less the divergence of q from the target, which changes along the step at the rate

    -(1 - rho) (eta* - eta)^T A''(eta + rho (eta* - eta)) (eta* - eta) <= 0,    0 <= rho <= 1.

The domain is convex (concentrations and ``beta`` above zero, ``nu`` above D - 1, ``W^-1`` positive
definite), so such a step does not leave it either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from scipy.special import polygamma

from vbfast.contract import CovarianceType, Float64Array, NotPositiveDefiniteError
from vbfast.families.covariances import (
    matrix_product,
    precision_factor,
    precisions_of,
    trace_of_product,
)
from vbfast.families.mixing_weights import MixingWeights
from vbfast.families.mixture_posterior import MixturePosterior
from vbfast.families.normal_wishart import NormalWishart
from vbfast.inputs.numbers import as_numbers

__all__ = ["NaturalParameters", "VariationalGradient", "variational_gradient"]

# By how much of the largest entry mirrored entries may differ: what rounding leaves.
ASYMMETRY = 1e-8


@dataclass(frozen=True)
class NaturalParameters:
    """Natural parameters of a posterior, or a gradient in them; all float64.

    They are vectors: they can be added, subtracted, and multiplied by a number.

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

    Examples
    --------
    >>> import numpy as np
    >>> import vbfast
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> mixture = vbfast.BayesianGaussianMixture(1, random_state=0).fit(X)
    >>> eta = mixture.natural_parameters_
    >>> (0.5 * (eta + eta) - eta).mean_precision
    array([0.])
    """

    weight_concentration: Float64Array
    mean_precision: Float64Array
    scaled_means: Float64Array
    second_moments: Float64Array
    degrees_of_freedom: Float64Array

    # NumPy's numbers leave products to __rmul__, where they would make arrays of objects.
    __array_ufunc__: ClassVar[None] = None

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
            posterior.weights.parameters,
            beta,
            scaled,
            np.asarray(_inverse_scale(components) + _products(kind, scaled, means)),
            nu,
        )

    def __add__(self, other: NaturalParameters) -> NaturalParameters:
        """Return the sum."""
        return self._entrywise(np.add, other)

    def __sub__(self, other: NaturalParameters) -> NaturalParameters:
        """Return the difference."""
        return self._entrywise(np.subtract, other)

    def __mul__(self, factor: Any) -> NaturalParameters:
        """Return the product with a number."""
        if not isinstance(factor, Real):
            return NotImplemented
        return NaturalParameters(
            *(np.multiply(getattr(self, field.name), float(factor)) for field in fields(self))
        )

    __rmul__ = __mul__

    def _entrywise(
        self, operation: Callable[[Any, Any], Any], other: NaturalParameters
    ) -> NaturalParameters:
        if not isinstance(other, NaturalParameters):
            return NotImplemented
        return NaturalParameters(
            *(
                operation(getattr(self, field.name), getattr(other, field.name))
                for field in fields(self)
            )
        )

    def posterior(self, like: MixturePosterior) -> MixturePosterior:
        """Return the posterior at these coordinates, with the priors of another one.

        Parameters
        ----------
        like : MixturePosterior
            Of as many components and features.

        Returns
        -------
        MixturePosterior

        Raises
        ------
        TypeError
            If an array is complex.
        ValueError
            If an array has the wrong shape or is not finite, ``second_moments`` has matrices that
            are not symmetric, or the coordinates are outside of the domain: a concentration or
            ``beta_k`` that is not positive, ``nu_k`` that is not above D - 1, or ``W_k^-1`` that
            is not positive definite. The message names it.
        """
        eta = self._checked(like)
        kind = like.components.prior.covariance_type
        with np.errstate(over="ignore", invalid="ignore"):
            means = eta.scaled_means / eta.mean_precision[:, np.newaxis]
            inverse_scale = eta.second_moments - _products(kind, eta.scaled_means, means)
        covariances = np.asarray((inverse_scale.T / eta.degrees_of_freedom).T)
        try:
            factor = precision_factor(kind, covariances, like.components.linalg)
        except NotPositiveDefiniteError as error:
            which = "" if kind == "tied" else f" of component {error.component}"
            raise ValueError(
                f"second_moments{which} must exceed scaled_means scaled_means^T / mean_precision: "
                "the difference, the inverse of the scale matrix W, must be positive definite"
            ) from error
        weights = like.weights.from_parameters(
            like.weights.prior_concentration, eta.weight_concentration, like.weights.linalg
        )
        components = replace(
            like.components,
            mean_precision=eta.mean_precision,
            means=means,
            degrees_of_freedom=eta.degrees_of_freedom,
            covariances=covariances,
            precision_cholesky=factor,
        )
        return MixturePosterior(weights, components)

    def _checked(self, like: MixturePosterior) -> NaturalParameters:
        """Return the coordinates as float64 arrays that have another posterior's shapes."""
        components = like.components
        kind = components.prior.covariance_type
        second_moments = _check_field(
            "second_moments", self.second_moments, components.covariances.shape
        )
        if kind in ("full", "tied"):
            transposed = second_moments.swapaxes(-1, -2)
            asymmetry = np.abs(second_moments - transposed).max()
            if asymmetry > ASYMMETRY * np.abs(second_moments).max():
                raise ValueError(
                    f"second_moments must be symmetric; mirrored entries differ by {asymmetry}"
                )
            second_moments = 0.5 * (second_moments + transposed)
        return NaturalParameters(
            _check_field(
                "weight_concentration",
                self.weight_concentration,
                like.weights.parameters.shape,
                above=0.0,
            ),
            _check_field(
                "mean_precision", self.mean_precision, components.mean_precision.shape, above=0.0
            ),
            _check_field("scaled_means", self.scaled_means, components.means.shape),
            second_moments,
            _check_field(
                "degrees_of_freedom",
                self.degrees_of_freedom,
                components.degrees_of_freedom.shape,
                above=components.n_features - 1.0,
            ),
        )


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
    natural = NaturalParameters.of(target) - coordinates
    return VariationalGradient(coordinates, _times_information(posterior, target), natural)


def _check_field(
    name: str, values: Any, shape: tuple[int, ...], *, above: float = -np.inf
) -> Float64Array:
    """Return finite values above a limit as a float64 array."""
    given = as_numbers(values, name)
    if given.shape != shape:
        raise ValueError(f"{name} must have shape {shape}; got {given.shape}")
    array = np.array(given, dtype=np.float64, order="C")
    inside = (array > above) & np.isfinite(array)
    if not inside.all():
        index = tuple(int(i) for i in np.argwhere(~inside)[0])
        where = f"[{', '.join(map(str, index))}]" if index else ""
        limit = "" if above == -np.inf else f" and greater than {above:g}"
        raise ValueError(f"{name} must be finite{limit}; got {name}{where} = {array[index]}")
    return array


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
    bend = matrix_product(kind, matrix_product(kind, precisions, d_inverse_scale), precisions)
    d_precisions = np.asarray(((precisions.T * d_nu - bend.T) / nu).T)
    pull = _times(kind, precisions, means)
    d_pull = _times(kind, d_precisions, means) + _times(kind, precisions, d_means)
    d_distance = np.einsum("ki,ki->k", means, d_pull) + np.einsum("ki,ki->k", d_means, pull)

    trigamma = polygamma(1, 0.5 * np.subtract.outer(nu, np.arange(D))).sum(axis=-1)
    d_log_det = 0.5 * trigamma * d_nu - trace_of_product(kind, precisions, d_inverse_scale, D) / nu
    copies = K if kind == "tied" else 1
    entries = D if kind == "spherical" else copies
    return NaturalParameters(
        _weights_information(
            posterior.weights, target.weights.parameters - posterior.weights.parameters
        ),
        -0.5 * (d_distance - D * d_beta / beta**2),
        d_pull,
        -0.5 * entries * d_precisions,
        np.asarray(0.5 * copies * d_log_det),
    )


def _weights_information(weights: MixingWeights, direction: Float64Array) -> Float64Array:
    """Return how the expected logarithms change: a stick is a Dirichlet of two."""
    concentration = weights.parameters
    whole = polygamma(1, concentration.sum(axis=0)) * direction.sum(axis=0)
    return np.asarray(polygamma(1, concentration) * direction - whole)


def _inverse_scale(components: NormalWishart) -> Float64Array:
    """Return ``W_k^-1``."""
    return np.asarray((components.covariances.T * components.degrees_of_freedom).T)


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
