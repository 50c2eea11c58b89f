from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from vbfast.contract import COVARIANCE_TYPES
from vbfast.families.covariances import MOMENTS_OF
from vbfast.families.mixing_weights import Dirichlet
from vbfast.families.mixture_posterior import MixturePrior
from vbfast.families.normal_wishart_prior import NormalWishartPrior
from vbfast.families.splitting import split_components
from vbfast.inference.initialisation import initial_statistics
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner

D = 3
all_types = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)


@pytest.fixture
def posterior(covariance_type):
    """Of a small wide component and a large narrow one, with next to no prior."""
    rng = np.random.default_rng(0)
    wide = 20.0 * rng.normal(size=(200, 1)) * np.array([0.6, 0.8, 0.0]) + rng.normal(size=(200, D))
    rows = np.concatenate([wide, rng.normal(size=(500, D)) + 3.0])
    scale = 1e-3 * np.eye(D)
    covariance = {
        "full": scale,
        "tied": scale,
        "diag": np.diag(scale).copy(),
        "spherical": np.asarray(1e-3),
    }[covariance_type]
    prior = MixturePrior(
        Dirichlet, 1.0, NormalWishartPrior(covariance_type, 1e-3, np.zeros(D), 3.0, covariance)
    )
    statistics = initial_statistics(
        LocalRunner(as_row_source(rows)),
        n_components=2,
        moments=MOMENTS_OF[covariance_type],
        init_params=np.repeat([0, 1], [200, 500]),
    )
    return prior.posterior(statistics, reg_covar=0.0)


def split_widest(posterior, n_components):
    components = posterior.components
    return split_components(
        components.prior.covariance_type,
        posterior.weights.counts,
        components.means,
        components.covariances,
        n_components,
    )


@all_types
def test_as_many_components_as_there_are_stay(posterior):
    statistics = split_widest(posterior, 2)
    np.testing.assert_allclose(statistics.weight, posterior.weights.counts)
    np.testing.assert_array_equal(statistics.centres, posterior.components.means)


@all_types
def test_the_widest_is_cut_and_its_moments_stay(posterior, covariance_type):
    statistics = split_widest(posterior, 3)
    counts, components = posterior.weights.counts, posterior.components
    cut = 1 if covariance_type == "tied" else 0  # with one covariance the fuller one is wider
    halves = [cut, 2]
    np.testing.assert_allclose(statistics.weight[halves], counts[cut] / 2)
    np.testing.assert_allclose(statistics.weight.sum(), counts.sum())
    np.testing.assert_allclose(statistics.centres[halves].mean(axis=0), components.means[cut])
    if covariance_type == "tied":
        np.testing.assert_allclose(statistics.second / counts.sum(), components.covariances)
        return
    shift = statistics.centres[2] - components.means[cut]
    within = statistics.second[2] / statistics.weight[2]
    between = {
        "full": np.outer(shift, shift),
        "diag": shift**2,
        "spherical": np.asarray(shift @ shift / D),
    }[covariance_type]
    np.testing.assert_allclose(within + between, components.covariances[cut], rtol=1e-10)
    np.testing.assert_array_equal(statistics.centres[1], components.means[1])


@pytest.mark.parametrize("covariance_type", ["full", "diag", "spherical"])
def test_the_halves_are_those_of_a_normal_distribution(posterior, covariance_type):
    """Cut at the mean across the longest axis: along it each half is a half-normal distribution."""
    statistics = split_widest(posterior, 3)
    covariance, mean = posterior.components.covariances[0], posterior.components.means[0]
    dense = covariance if covariance_type == "full" else np.diag(np.broadcast_to(covariance, D))
    variances, axes = np.linalg.eigh(dense)
    axis = axes[:, 0] if covariance_type == "spherical" else axes[:, -1]
    half = stats.halfnorm(scale=np.sqrt(variances[-1]))
    shift = statistics.centres[2] - mean
    np.testing.assert_allclose(np.abs(shift), np.abs(axis) * half.mean(), atol=1e-12)
    within = statistics.second[2] / statistics.weight[2]
    expected = axes @ np.diag([*variances[:-1], half.var()]) @ axes.T
    if covariance_type == "diag":
        expected = np.diag(expected)
    elif covariance_type == "spherical":
        expected = np.trace(expected) / D
    np.testing.assert_allclose(within, expected, rtol=1e-10, atol=1e-10)


def moments_of_all(weight, means, covariances, covariance_type):
    """Weight, mean and second moments about the origin of a mixture, as far as its type has them.

    Of 'tied' the components' common covariance, which cuts leave alone.
    """
    total, mean = weight.sum(), weight @ means / weight.sum()
    if covariance_type == "tied":
        return total, mean, covariances
    squares = {
        "full": np.einsum("ki,kj->kij", means, means),
        "diag": means**2,
        "spherical": (means**2).mean(axis=1),
    }[covariance_type]
    return total, mean, np.tensordot(weight, covariances + squares, 1) / total


@all_types
def test_many_cuts_keep_the_moments_of_all_rows(posterior, covariance_type):
    """Normal distributions are cut at their means: the halves together have the whole's moments."""
    statistics = split_widest(posterior, 9)
    weight, components = statistics.weight, posterior.components
    assert weight.shape == (9,)
    divisor = weight.sum() if covariance_type == "tied" else weight
    covariances = (statistics.second.T / divisor).T
    whole = (posterior.weights.counts, components.means, components.covariances)
    for ours, theirs in zip(
        moments_of_all(weight, statistics.centres, covariances, covariance_type),
        moments_of_all(*whole, covariance_type),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    # Each is a half, a quarter, an eighth, ... of one of the two.
    halvings = np.log2(posterior.weights.counts[:, np.newaxis] / weight)
    assert (np.abs(halvings - np.round(halvings)) < 1e-9).any(axis=0).all()
    if covariance_type != "tied":
        eigenvalues = np.linalg.eigvalsh(covariances) if covariance_type == "full" else covariances
        assert eigenvalues.min() > 0.0
