"""Pareto smoothing against draws of known shape and against the definitions written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from vbfast.inference.pareto import fit_generalised_pareto, smooth


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.3, 0.7, 1.2])
def test_the_fit_finds_shape_and_scale(rng, shape):
    draws = np.sort(stats.genpareto.rvs(shape, scale=3.0, size=20_000, random_state=rng))
    fitted_shape, scale = fit_generalised_pareto(draws)
    assert abs(fitted_shape - shape) < 0.05
    assert abs(scale / 3.0 - 1.0) < 0.08


def test_the_fit_is_close_to_the_most_likely_one(rng):
    draws = np.sort(stats.genpareto.rvs(0.4, size=3000, random_state=rng))
    shape, scale = fit_generalised_pareto(draws)
    likeliest, _, likeliest_scale = stats.genpareto.fit(draws, floc=0.0)
    assert abs(shape - likeliest) < 0.02
    assert abs(scale / likeliest_scale - 1.0) < 0.02


def test_ties_at_the_threshold_do_not_break_the_fit():
    shape, scale = fit_generalised_pareto(np.array([0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 5.0]))
    assert math.isfinite(shape)
    assert scale > 0.0


def test_the_fit_is_zhang_and_stephens_estimator_written_out(rng):
    x = np.sort(stats.genpareto.rvs(0.6, size=40, random_state=rng))
    n, m = 40, 30 + 6
    quartile = x[int(n / 4 + 0.5) - 1]
    thetas = [1 / x[-1] + (1 - math.sqrt(m / (j - 0.5))) / (3 * quartile) for j in range(1, m + 1)]

    def shape_at(theta):
        return sum(math.log(1 - theta * value) for value in x) / n

    profile = [n * (math.log(-t / shape_at(t)) - shape_at(t) - 1) for t in thetas]
    weights = [1 / sum(math.exp(other - one) for other in profile) for one in profile]
    theta = sum(w * t for w, t in zip(weights, thetas, strict=True))
    shape, scale = fit_generalised_pareto(x)
    np.testing.assert_allclose(scale, -shape_at(theta) / theta, rtol=1e-10)
    # Drawn towards one half by ten observations.
    np.testing.assert_allclose(shape, (40 * shape_at(theta) + 5) / 50, rtol=1e-10)


def oracle(log_weights):
    """Smoothing by a loop over the tail, with scipy's quantiles."""
    n_draws = len(log_weights)
    n_tail = math.ceil(min(0.2 * n_draws, 3 * math.sqrt(n_draws)))
    order = np.argsort(log_weights)
    weights = np.exp(log_weights - log_weights.max())
    threshold = weights[order[-n_tail - 1]]
    shape, scale = fit_generalised_pareto(weights[order[-n_tail:]] - threshold)
    for z in range(1, n_tail + 1):
        quantile = stats.genpareto.ppf((z - 0.5) / n_tail, shape, scale=scale)
        weights[order[-n_tail + z - 1]] = min(threshold + quantile, 1.0)
    return np.log(weights) + log_weights.max(), shape


@pytest.mark.parametrize("n_draws", [25, 400, 2000])
def test_the_tail_becomes_quantiles(rng, n_draws):
    log_weights = 1.5 * rng.normal(size=n_draws) - 1e4
    smoothed = smooth(log_weights)
    expected, shape = oracle(log_weights)
    np.testing.assert_allclose(smoothed.log_weights, expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(smoothed.khat, shape)
    np.testing.assert_array_equal(np.argsort(smoothed.log_weights), np.argsort(log_weights))
    assert smoothed.log_weights.max() <= log_weights.max()


def test_the_shape_of_a_ratio_of_normals(rng):
    """Proposal N(0, s^2) for N(0, 1): P(w > t) is regularly varying with index 1 / (1 - s^2)."""
    deviation = 0.6
    draws = deviation * rng.normal(size=200_000)
    log_weights = -0.5 * draws**2 + 0.5 * (draws / deviation) ** 2
    # The slowly varying factor (log t)^(-1/2) makes the tail look lighter at any finite size.
    assert 0.45 < smooth(log_weights).khat < 1.0 - deviation**2 + 0.05


def test_the_input_is_left_alone(rng):
    log_weights = rng.normal(size=100)
    before = log_weights.copy()
    smooth(log_weights)
    np.testing.assert_array_equal(log_weights, before)


def test_equal_weights_have_no_tail():
    log_weights = -12345.678 + 1e-12 * np.arange(100)
    smoothed = smooth(log_weights)
    assert smoothed.khat == -math.inf
    value, error = smoothed.log_mean()
    np.testing.assert_allclose(value, -12345.678, rtol=1e-12)
    assert error < 1e-9


def test_what_rounding_may_do_grows_with_sums_that_cancel(rng):
    """Two sums of -1e5 and 1e5 nats leave log-weights near zero, but not their rounding."""
    log_weights = (-1e5 + 1e-9 * rng.pareto(1.0, size=1000)) + 1e5
    assert smooth(log_weights).khat > 0.6
    smoothed = smooth(log_weights, magnitude=2e5)
    assert smoothed.khat == -math.inf
    np.testing.assert_array_equal(smoothed.log_weights, log_weights)
    assert smooth(1e5 * log_weights, magnitude=2e5).khat > 0.6


def test_zero_weights_count_as_draws(rng):
    log_weights = np.concatenate([rng.normal(size=300), np.full(100, -np.inf)])
    smoothed = smooth(log_weights)
    value, error = smoothed.log_mean()
    np.testing.assert_allclose(value, logsumexp(smoothed.log_weights) - math.log(400))
    weights = np.exp(smoothed.log_weights)
    np.testing.assert_allclose(error, stats.sem(weights) / weights.mean())
    assert (smoothed.log_weights == -np.inf).sum() == 100


def test_a_tail_that_reaches_into_the_zero_weights():
    log_weights = np.full(100, -np.inf)
    log_weights[:7] = np.arange(7.0)
    smoothed = smooth(log_weights)
    assert np.isfinite(smoothed.khat)
    assert smoothed.log_weights.max() <= 6.0


def test_nothing_but_zero_weights():
    value, error = smooth(np.full(100, -np.inf)).log_mean()
    assert value == -math.inf
    assert math.isnan(error)


def test_too_few_draws_to_tell():
    smoothed = smooth(np.arange(20.0))
    assert smoothed.khat == math.inf
    np.testing.assert_array_equal(smoothed.log_weights, np.arange(20.0))


def test_what_rounding_may_do_depends_on_the_dtype(rng):
    log_weights = -1e4 + 2e-3 * rng.normal(size=1000)
    assert smooth(log_weights, computed_in=np.float32).khat == -math.inf
    assert smooth(log_weights).khat > -1.0
    assert smooth(10.0 * log_weights + 9e4, computed_in=np.float32).khat > -1.0


@pytest.mark.parametrize("bad", [[0.0, np.nan], [0.0, np.inf], [1.0], [[1.0, 2.0]]])
def test_bad_weights(bad):
    with pytest.raises(ValueError, match="log_weights"):
        smooth(np.array(bad))
