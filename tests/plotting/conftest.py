from __future__ import annotations

import numpy as np
import pytest

import vbfast


@pytest.fixture
def ax():
    """Axes of a figure that pyplot does not know."""
    return pytest.importorskip("matplotlib.figure").Figure().subplots()


@pytest.fixture(scope="session")
def rows():
    """Three clusters of three features, apart from each other."""
    rng = np.random.default_rng(3)
    centres = np.array([[0.0, 0.0, 0.0], [9.0, 3.0, -4.0], [-2.0, 12.0, 6.0]])
    spread = np.array([[1.0, 0.4, 0.0], [0.0, 1.5, 0.3], [0.0, 0.0, 0.8]])
    return centres[np.repeat([0, 1, 2], [150, 100, 50])] + rng.normal(size=(300, 3)) @ spread


@pytest.fixture(scope="session")
def mixture(rows):
    return vbfast.GaussianMixture(3, random_state=0).fit(rows)


@pytest.fixture(scope="session")
def bayesian(rows):
    """With six components for three clusters."""
    return vbfast.BayesianGaussianMixture(
        6,
        weight_concentration_prior_type="dirichlet_distribution",
        weight_concentration_prior=0.01,
        max_iter=500,
        random_state=0,
    ).fit(rows)


@pytest.fixture(scope="session")
def selection(rows):
    return vbfast.select(rows, [1, 2, 3, 4], covariance_type=["full", "diag"], random_state=0)
