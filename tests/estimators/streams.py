"""Streams of batches, and mixtures that learn from them."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast import BayesianGaussianMixture, GaussianMixture, Mixture
from vbfast.contract import COVARIANCE_TYPES
from vbfast.families import Gaussian

MEANS = np.array([[0.0, 0.0, 0.0], [9.0, 0.0, 3.0], [0.0, -9.0, 6.0]])
all_types = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
both_mixtures = pytest.mark.parametrize("make", [GaussianMixture, BayesianGaussianMixture])


def gaussian_family(n_components, covariance_type="full", **arguments):
    return Mixture(Gaussian(covariance_type), n_components, **arguments)


every_mixture = pytest.mark.parametrize(
    "make", [GaussianMixture, BayesianGaussianMixture, gaussian_family]
)


def batches(n_batches, n_rows, seed=0, means=MEANS, dtype=np.float64):
    rng = np.random.default_rng(seed)
    for _ in range(n_batches):
        labels = rng.choice(3, p=[0.5, 0.3, 0.2], size=n_rows)
        yield (means[labels] + rng.normal(size=(n_rows, 3))).astype(dtype)


def learned(mixture, rows):
    for batch in rows:
        mixture.partial_fit(batch)
    return mixture


def in_order(mixture):
    """Weights and means, by the first and second feature of the means."""
    order = np.argsort(mixture.means_[:, 0] * 10 - mixture.means_[:, 1])
    return mixture.weights_[order], mixture.means_[order]


def covariances_of(covariance_type, weights, scatter):
    """Covariances of scatter matrices about the means."""
    if covariance_type == "tied":
        return scatter.sum(axis=0)
    each = scatter / weights[:, np.newaxis, np.newaxis]
    if covariance_type == "full":
        return each
    variances = each.diagonal(axis1=1, axis2=2)
    return variances if covariance_type == "diag" else variances.mean(axis=1)
