"""Every backend's differences of log-gammas, against the functions in hundreds of digits."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from vbfast.config.settings import current_linalg

# Of a log-gamma at 1e300 the digits before the point alone are 303.
DIGITS = 360
ARGUMENTS = [1e-300, 1e-3, 0.5, 1.0, 7.3, 15.99, 16.0, 40.0, 1e6, 1e12, 1e16, 1e20, 1e100, 1e300]
STEPS = [1e-9, 1e-3, 0.25, 1.0, 333.25, 1e7]
# What the digits leave of a difference at 1e300.
NEXT_TO_NOTHING = 1e-50
EPS = np.finfo(np.float64).eps


@pytest.fixture
def linalg(backend):
    """The functions of each backend."""
    del backend
    return current_linalg()


def exact(x, step):
    """Log-gammas and digammas at x and x + step."""
    x, step = mpmath.mpf(x), mpmath.mpf(step)
    return x, step, mpmath.loggamma(x), mpmath.loggamma(x + step), mpmath.digamma(x + step)


def cases():
    yield from ((x, step) for x in ARGUMENTS for step in STEPS)
    # Back towards the origin, as an arbitrary posterior may be.
    yield from ((x, -part * x) for x in ARGUMENTS[1:] for part in (1e-6, 0.3, 0.999))


@pytest.mark.parametrize(("x", "step"), cases())
def test_differences_of_log_gammas(linalg, x, step):
    with mpmath.workdps(DIGITS):
        at, by, before, after, psi = exact(x, step)
        increment = after - before - by * mpmath.log(at)
        divergence = before - after + by * psi
        # As a sum of positive terms it keeps its digits; an increment has two signs.
        error = abs(linalg.log_gamma_divergence(x, step) - divergence)
        assert error <= 50 * EPS * divergence + NEXT_TO_NOTHING
        terms = abs(increment) + (abs(by * mpmath.log1p(by / at)) if x < 100 else 0)
        assert abs(linalg.log_gamma_increment(x, step) - increment) <= 100 * EPS * max(terms, 1e-3)
        assert linalg.log_gamma_divergence(x, step) >= 0.0


@pytest.mark.parametrize("x", ARGUMENTS)
def test_digamma_less_log(linalg, x):
    with mpmath.workdps(DIGITS):
        expected = mpmath.digamma(mpmath.mpf(x)) - mpmath.log(mpmath.mpf(x))
        assert abs(linalg.digamma_less_log(x) - expected) <= 100 * EPS * abs(expected) + 1e-310


@pytest.mark.parametrize("x", [-1 + 1e-12, -0.7, -0.5, -1e-5, -1e-200, 1e-9, 0.49, 0.51, 3.0, 1e9])
def test_log1p_less_argument(linalg, x):
    with mpmath.workdps(60):
        expected = mpmath.log1p(mpmath.mpf(x)) - mpmath.mpf(x)
        assert abs(linalg.log1p_less_argument(x) - expected) <= 8 * EPS * abs(expected)


def test_nothing_moved_is_nothing(linalg):
    x = np.array([1e-300, 0.5, 16.0, 1e16, 1e300])
    for function in (linalg.log_gamma_increment, linalg.log_gamma_divergence, linalg.log_ratio):
        np.testing.assert_array_equal(function(x, 0.0), np.zeros(5))
    np.testing.assert_array_equal(linalg.itakura_saito(x, x, 0.0), np.zeros(5))


@pytest.mark.parametrize("x", [5e-324, 1e-310, 1e-9, 0.3, 1.0, 5.0, 1e8, 1e300])
def test_ratios_from_the_smallest_number_to_the_largest(linalg, x):
    with mpmath.workdps(DIGITS):
        ratio = mpmath.mpf(x)
        expected = ratio - 1 - mpmath.log(ratio)
        assert abs(linalg.itakura_saito(x, 1.0, 1.0 - x) - expected) <= 8 * EPS * abs(expected)
        for step in (1e-3, 1e3):
            expected = mpmath.log((mpmath.mpf(x) + mpmath.mpf(step)) / mpmath.mpf(x))
            assert abs(linalg.log_ratio(x, step) - expected) <= 4 * EPS * abs(expected)


def test_the_least_numbers(linalg):
    """What overflows is infinite, and no NaN."""
    assert linalg.log1p_less_argument(np.inf) == -np.inf
    assert linalg.digamma_less_log(1e-309) == -np.inf
