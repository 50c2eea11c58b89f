"""Unconstrained coordinates of a mixture's posterior.

A variational posterior that a global step can lead to is a function of the counts ``N_k``, the
means and the scale matrices; its coordinates are those of the mixture with weights proportional to
``N_k`` and the expected precisions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vbfast.contract import Float64Array
from vbfast.families.gaussian_coordinates import GaussianCoordinates
from vbfast.families.gaussian_parameters import GaussianParameters
from vbfast.families.mixture_posterior import MixturePosterior
from vbfast.families.normal_wishart import NormalWishart

__all__ = ["PosteriorCoordinates"]


@dataclass(frozen=True)
class PosteriorCoordinates:
    """Coordinates of :class:`~vbfast.families.mixture_posterior.MixturePosterior`."""

    gaussian: GaussianCoordinates = field(default_factory=GaussianCoordinates)

    def vector(self, posterior: MixturePosterior) -> Float64Array:
        """Return the coordinates of a posterior, all finite: shape (n_coordinates,)."""
        return self.gaussian.vector(_mixture(posterior))

    def metric(self, posterior: MixturePosterior) -> Float64Array:
        """Return the diagonal of the Fisher information, zero for faint components."""
        return self.gaussian.metric(_mixture(posterior))

    def parameters(self, vector: Float64Array, image: MixturePosterior) -> MixturePosterior:
        """Return the posterior at given coordinates, with the rows and priors of ``image``.

        Raises
        ------
        NotPositiveDefiniteError
            If a scale matrix has lost its rank to rounding or overflow.
        """
        mixture = self.gaussian.parameters(vector, _mixture(image))
        counts = mixture.weights * image.weights.counts.sum()
        prior = image.components.prior
        rows = counts.mean() if prior.covariance_type == "tied" else counts
        weights = image.weights
        return MixturePosterior(
            weights.from_counts(weights.prior_concentration, counts, weights.linalg),
            NormalWishart(
                prior,
                prior.mean_precision + counts,
                mixture.means,
                np.asarray(prior.degrees_of_freedom + rows),
                mixture.covariances,
                mixture.precision_cholesky,
            ),
        )


def _mixture(posterior: MixturePosterior) -> GaussianParameters:
    counts, components = posterior.weights.counts, posterior.components
    return GaussianParameters(
        components.prior.covariance_type,
        counts / counts.sum(),
        components.means,
        components.covariances,
        components.precision_cholesky,
        components.linalg,
    )
