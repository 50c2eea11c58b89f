from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

import vbfast
from vbfast.plotting import WeightsDisplay

pytest.importorskip("matplotlib")
from matplotlib.colors import to_rgba


def texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_bars_are_the_weights_and_their_colours_say_what_is_active(bayesian, ax):
    display = WeightsDisplay.from_estimator(bayesian, ax=ax)
    heights = np.array([bar.get_height() for bar in display.bars_])
    np.testing.assert_allclose(heights, np.sort(bayesian.weights_)[::-1], rtol=1e-12)
    assert bayesian.n_active_components_ == display.active.sum() == 3
    colours = [bar.get_facecolor() for bar in display.bars_]
    assert colours == [to_rgba("C0")] * 3 + [to_rgba("lightgrey")] * 3
    ticks = [int(text.get_text()) for text in ax.get_xticklabels()]
    np.testing.assert_array_equal(ticks, np.argsort(-bayesian.weights_, kind="stable"))
    assert texts(ax) == ["active: 3 of 6", "not active", "95 % interval"]


@pytest.mark.parametrize("mass", [0.5, 0.95])
def test_intervals_are_those_of_the_beta_marginals(bayesian, mass, ax):
    display = WeightsDisplay.from_estimator(bayesian, mass=mass, ax=ax)
    a = bayesian.weight_concentration_
    expected = np.transpose(beta.interval(mass, a, a.sum() - a))
    np.testing.assert_allclose(display.intervals, expected, rtol=1e-6, atol=1e-300)
    segments = np.array(display.intervals_.get_segments())
    np.testing.assert_array_equal(segments[:, :, 1], display.intervals[display.order])
    np.testing.assert_array_equal(segments[:, :, 0], np.arange(6)[:, np.newaxis] * [1, 1])


def test_intervals_hold_what_is_drawn_from_the_posterior(bayesian, ax):
    display = WeightsDisplay.from_estimator(bayesian, mass=0.8, ax=ax)
    draws = np.random.default_rng(0).dirichlet(bayesian.weight_concentration_, 20_000)
    low, high = display.intervals.T
    held = ((draws >= low) & (draws <= high)).mean(axis=0)
    np.testing.assert_allclose(held[display.active], 0.8, atol=0.015)


def test_a_single_weight_is_known(rows, ax):
    mixture = vbfast.BayesianGaussianMixture(
        1, weight_concentration_prior_type="dirichlet_distribution"
    ).fit(rows)
    display = WeightsDisplay.from_estimator(mixture, ax=ax)
    np.testing.assert_array_equal(display.intervals, [[1.0, 1.0]])
    assert texts(ax) == ["active: 1 of 1", "95 % interval"]


def test_weights_of_a_dirichlet_process_have_no_intervals(rows, ax):
    mixture = vbfast.BayesianGaussianMixture(4, max_iter=500, random_state=0).fit(rows)
    display = WeightsDisplay.from_estimator(mixture, ax=ax)
    np.testing.assert_allclose(display.weights, mixture.weights_, rtol=1e-12)
    assert display.intervals is display.intervals_ is display.mass is None


@pytest.mark.parametrize("mass", [0, 1, -0.5, np.nan, [0.5]])
def test_impossible_masses(bayesian, mass, ax):
    with pytest.raises(ValueError, match=r"^mass must be a number between 0 and 1; got"):
        WeightsDisplay.from_estimator(bayesian, mass=mass, ax=ax)


def test_mass_is_a_number(bayesian, ax):
    with pytest.raises(TypeError, match=r"^mass must be numeric"):
        WeightsDisplay.from_estimator(bayesian, mass="most", ax=ax)


def test_a_mixture_of_maximum_likelihood_has_no_posterior(mixture, ax):
    with pytest.raises(TypeError, match=r"must be a BayesianG.*; got GaussianMixture$"):
        WeightsDisplay.from_estimator(mixture, ax=ax)


def test_wrong_arrays():
    with pytest.raises(ValueError, match=r"^weights must have shape \(n_components,\)"):
        WeightsDisplay([], [])
    with pytest.raises(ValueError, match=r"^active must have shape \(2,\), .*; got \(1,\)"):
        WeightsDisplay([0.5, 0.5], [True])
    with pytest.raises(ValueError, match=r"^intervals must have shape \(2, 2\); got \(2,\)"):
        WeightsDisplay([0.5, 0.5], [True, True], intervals=[0.1, 0.2])
