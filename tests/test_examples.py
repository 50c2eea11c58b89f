"""The examples in docs/ run, and show what they say they show."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"


@pytest.fixture(scope="module")
def example():
    """A function that returns the names of an example."""
    if not EXAMPLES.is_dir():
        pytest.skip("the examples are not part of this distribution")
    return lambda name: runpy.run_path(str(EXAMPLES / f"{name}.py"))


def test_lbfgs_lands_on_ems_optimum(example):
    em_bound, bound, em_means, means = example("fit_by_lbfgs")["main"](n_samples=800)
    np.testing.assert_allclose(bound, em_bound, rtol=1e-9)
    np.testing.assert_allclose(means, em_means, atol=1e-3)


def test_langevin_samples_are_the_mixtures(example):
    chains, samples = example("langevin")["main"](n_chains=3000, n_steps=200)
    # Four standard errors, and the bias of a finite step.
    np.testing.assert_allclose(chains.mean(axis=0), samples.mean(axis=0), atol=0.2)
    np.testing.assert_allclose(np.cov(chains.T), np.cov(samples.T), atol=0.3)
