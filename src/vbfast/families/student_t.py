"""Student-t components: the predictive densities of normal-Wishart posteriors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vbfast.contract import Float64Array, FloatArray
from vbfast.families.covariances import log_det_factor
from vbfast.families.normal_wishart import NormalWishart

__all__ = ["StudentT"]


@dataclass(frozen=True)
class StudentT:
    """Densities ``log p_k(x) = offset_k - exponent_k log(1 + scale_k ||(x - m_k) P_k||^2)``.

    ``m_k`` and ``P_k`` are the means and precision factors of the posterior that they come from.

    Attributes
    ----------
    offset, exponent, scale : ndarray of shape (n_components,), float64
    """

    offset: Float64Array
    exponent: Float64Array
    scale: Float64Array

    @classmethod
    def from_posterior(cls, components: NormalWishart) -> StudentT:
        """Integrate mean and precision out (Bishop 2006, eq. 10.81-10.82).

        With ``t = nu_k + 1 - D`` degrees of freedom and ``L = t beta_k / (1 + beta_k) W_k``, the
        density is ``St(x | m_k, L, t)`` (eq. B.68). It holds for every covariance type, as each is
        a restriction of ``W_k``: a 'diag' component is no product of one-dimensional densities.
        """
        D = components.n_features
        nu = np.broadcast_to(components.degrees_of_freedom, components.mean_precision.shape)
        shrinkage = components.mean_precision / (1.0 + components.mean_precision)
        # G((nu + 1) / 2) / G((nu + 1 - D) / 2) nu^(-D/2), with W relative to nu W.
        half = 0.5 * (nu + 1.0 - D)
        increments = components.linalg.log_gamma_increment(half, 0.5 * D)
        gammas = increments + 0.5 * D * np.log1p((1.0 - D) / nu)
        log_det = log_det_factor(components.prior.covariance_type, components.precision_cholesky, D)
        offset = gammas + log_det + 0.5 * D * (np.log(shrinkage) - math.log(2.0 * math.pi))
        return cls(offset, 0.5 * (nu + 1.0), shrinkage / nu)

    def log_density(self, log_kernel: FloatArray) -> Float64Array:
        """Return ``log p_k(x_n)`` of shape (n_rows, n_components), nats.

        Parameters
        ----------
        log_kernel : ndarray of shape (n_rows, n_components)
            ``-1/2 ||(x_n - m_k) P_k||^2``.
        """
        # One array throughout: new memory for every step would cost as much as the step.
        result: Float64Array = log_kernel * (-2.0 * self.scale)
        np.log1p(result, out=result)
        result *= -self.exponent
        result += self.offset
        return result
