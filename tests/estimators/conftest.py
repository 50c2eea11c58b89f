from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def clustered():
    """600 standardised rows of four features around four centres, some of them close."""
    rng = np.random.default_rng(20)
    centres = 2.5 * rng.normal(size=(4, 4))
    mixing = rng.normal(size=(4, 4, 4)) / 1.5
    component = rng.integers(4, size=600)
    rows = centres[component] + np.einsum(
        "nij,nj->ni", mixing[component], rng.normal(size=(600, 4))
    )
    rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    rows.setflags(write=False)
    return rows


@pytest.fixture(scope="session")
def given_start(clustered):
    """Keyword arguments that start a four-component mixture on ``clustered``, for a type."""

    def start(covariance_type):
        return {
            "n_components": 4,
            "covariance_type": covariance_type,
            "weights_init": np.array([0.1, 0.2, 0.3, 0.4]),
            "means_init": clustered[:4],
            "precisions_init": {
                "full": np.tile(2.0 * np.eye(4) + 0.5, (4, 1, 1)),
                "tied": 2.0 * np.eye(4) + 0.5,
                "diag": np.linspace(1.0, 2.0, 16).reshape(4, 4),
                "spherical": np.linspace(1.0, 2.0, 4),
            }[covariance_type],
        }

    return start
