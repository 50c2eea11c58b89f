"""The global step of custom components, and what a family checks."""

from __future__ import annotations

import copy
import math
import pickle
from functools import partial

import numpy as np
import pytest

import vbfast
from vbfast.config.settings import current_linalg
from vbfast.contract import PassResult, Statistics
from vbfast.families.component_family import ComponentParameters
from vbfast.families.custom import Custom
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner

numba = pytest.importorskip("numba")


def log_density(x, theta):
    return -theta[0] * x[0]


def sufficient_statistics(x, out):
    out[0] = x[0]


def maximize(statistics, weight):
    return statistics / weight[:, np.newaxis]


@pytest.fixture
def family():
    return Custom(log_density, sufficient_statistics, maximize, n_statistics=1)


def statistics(weight, first):
    first = np.asarray(first, float)
    return Statistics("first", np.zeros_like(first), np.asarray(weight, float), first, None)


def maximized(statistics, family, theta=None):
    """The global step from parameters, or a start."""
    if theta is None:
        return family.start(statistics, LocalRunner(as_row_source(np.ones((1, 1)))))
    weights = np.full(len(theta), 1 / len(theta))
    previous = ComponentParameters(family, 1, weights, theta)
    sums = PassResult(statistics.weight.sum(), -1.0, np.nan, np.nan, np.nan, statistics)
    return family.global_step(sums, previous, current_linalg())


def test_maximize(family):
    updated = maximized(statistics([3, 1], [[6], [5]]), family)
    np.testing.assert_array_equal(updated.weights, [0.75, 0.25])
    np.testing.assert_array_equal(updated.theta, [[2], [5]])
    params = updated.log_joint()
    np.testing.assert_array_equal(params.offset, np.log([0.75, 0.25]))
    assert (params.n_components, params.n_features, params.form.n_statistics) == (2, 1, 1)


def test_a_component_without_rows_keeps_its_parameters(family):
    theta = np.array([[1.0], [7.0]])
    updated = maximized(statistics([4, 0], [[8], [0]]), family, theta)
    np.testing.assert_array_equal(updated.theta, [[2], [7]])
    np.testing.assert_array_equal(updated.weights, [1, 0])
    np.testing.assert_array_equal(updated.log_joint().offset, [0, -np.inf])
    np.testing.assert_array_equal(theta, [[1], [7]])


def test_a_component_without_rows_at_the_start(family):
    with pytest.raises(ValueError, match="component 1 has none"):
        maximized(statistics([4, 0], [[8], [0]]), family)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (np.ones(2), r"shape \(2,\)"),
        (np.ones((3, 1)), r"n_components = 2; got shape \(3, 1\)"),
        (np.ones((2, 0)), r"shape \(2, 0\)"),
        ([[1.0], [np.nan]], "finite parameters; component 1 of 2"),
        ([[1.0], [1.0, 2.0]], "maximize must return an array: "),
    ],
)
def test_what_maximize_returns_is_checked(returned, message):
    family = Custom(log_density, sufficient_statistics, lambda s, w: returned, n_statistics=1)
    with pytest.raises(ValueError, match=message):
        maximized(statistics([3, 1], [[6], [5]]), family)


@pytest.mark.parametrize("returned", [None, np.ones((2, 1), complex), [["a"], ["b"]]])
def test_maximize_that_returns_no_real_numbers(returned):
    family = Custom(log_density, sufficient_statistics, lambda s, w: returned, n_statistics=1)
    with pytest.raises(TypeError, match="maximize must return real numbers; got "):
        maximized(statistics([3, 1], [[6], [5]]), family)


def test_another_number_of_parameters_than_before(family):
    with pytest.raises(ValueError, match="1 parameters a component, and 3 before"):
        maximized(statistics([4, 0], [[8], [0]]), family, np.ones((2, 3)))


def test_another_number_of_parameters_where_all_hold_rows(family):
    with pytest.raises(ValueError, match="1 parameters a component, and 3 before"):
        maximized(statistics([4, 2], [[8], [2]]), family, np.ones((2, 3)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_sums_that_are_not_finite(family, bad):
    with pytest.raises(ValueError, match=r"finite numbers; those of component 2 are \[\S+\]"):
        maximized(
            statistics([4, 0, 2], [[8], [bad], [bad]]),
            family,
            np.ones((3, 1)),
        )


@pytest.mark.parametrize(
    ("n_statistics", "expected"), [(3, 3), (np.int64(3), 3), (lambda n_features: n_features + 1, 6)]
)
def test_statistics_length(n_statistics, expected):
    family = Custom(log_density, sufficient_statistics, maximize, n_statistics)
    assert family.statistics_length(5) == expected


@pytest.mark.parametrize(
    ("n_statistics", "error"),
    [(0, ValueError), (-3, ValueError), (2**40, ValueError), (1.5, TypeError), (None, TypeError)],
)
def test_statistics_length_that_is_none(n_statistics, error):
    with pytest.raises(error, match=f"n_statistics must be .*; got {n_statistics}"):
        Custom(log_density, sufficient_statistics, maximize, n_statistics)
    family = Custom(log_density, sufficient_statistics, maximize, lambda n_features: n_statistics)
    with pytest.raises(error, match=f"n_statistics must be .*; got {n_statistics}"):
        family.statistics_length(5)


def test_functions_are_compiled_once(family):
    assert isinstance(family.log_density, numba.core.dispatcher.Dispatcher)
    assert Custom(log_density, sufficient_statistics, maximize, 1).log_density is family.log_density
    compiled = numba.njit("float64(float64[:], float64[:])", fastmath=True)(log_density)
    other, again = (Custom(compiled, sufficient_statistics, maximize, 1) for _ in range(2))
    assert other.log_density is again.log_density
    assert other.log_density.targetoptions["fastmath"] is True
    assert other.log_density(np.ones(1, np.float32), np.full(1, 2.0)) == -2
    assert copy.deepcopy(family) is family
    again = pickle.loads(pickle.dumps(family))
    assert again.log_density(np.ones(1), np.full(1, 2.0)) == -2


def test_repr_names_the_functions(family):
    assert repr(family) == (
        "Custom(log_density=log_density, sufficient_statistics=sufficient_statistics, "
        "maximize=maximize, n_statistics=1)"
    )


def test_no_rows_at_all(family):
    with pytest.raises(ValueError, match="log_density is -inf for all of them"):
        maximized(statistics([0, 0], [[0], [0]]), family)


def test_what_is_not_callable():
    with pytest.raises(TypeError, match="maximize must be callable; got 3"):
        Custom(log_density, sufficient_statistics, 3, n_statistics=1)
    with pytest.raises(TypeError, match="sample must be callable; got 'x'"):
        Custom(log_density, sufficient_statistics, maximize, n_statistics=1, sample="x")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"log_density": lambda x: 0.0}, r"log_density must take the arguments \(x, theta\)"),
        ({"log_density": math.sin}, r"log_density must take the arguments \(x, theta\)"),
        ({"log_density": partial(log_density)}, r"log_density must be a function, or one that"),
        ({"sufficient_statistics": numba.njit(lambda out: None)}, "must take the arguments"),
        ({"maximize": lambda statistics: statistics}, r"the arguments \(statistics, weight\)"),
        ({"sample": lambda theta, n: n}, r"the arguments \(theta, n_samples, random_state\)"),
    ],
)
def test_functions_of_other_arguments(changed, message):
    functions = {
        "log_density": log_density,
        "sufficient_statistics": sufficient_statistics,
        "maximize": maximize,
        "n_statistics": 1,
    }
    with pytest.raises(TypeError, match=message):
        Custom(**{**functions, **changed})


def no_number(x, theta):
    return None


def of_two_types(x, theta):
    return "a" + x[0]


def writing_to_theta(x, theta):
    theta[0] += 1.0
    return 0.0


def writing_density(x, theta):
    x[0] = 0.0
    return 0.0


def test_a_density_is_tried(family):
    row, theta = np.ones(1, np.float32), np.full(1, 2.0)
    family.check_density(row, theta)
    for function, error, message in (
        (no_number, TypeError, "log_density must return a real number; got None"),
        (of_two_types, TypeError, "log_density cannot be compiled for rows of float32"),
        (writing_density, ValueError, "log_density must not write to its arguments"),
        (writing_to_theta, ValueError, "log_density must not write to its arguments"),
    ):
        changed = Custom(function, sufficient_statistics, maximize, n_statistics=1)
        with pytest.raises(error, match=message) as raised:
            changed.check_density(row, theta)
        assert len(str(raised.value)) < 120  # numba's own words are another exception's
    assert row[0] == 1


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (no_number, TypeError, "log_density must return a real number; got None"),
        (of_two_types, TypeError, "log_density cannot be compiled for rows of float64"),
        (writing_to_theta, ValueError, "log_density must not write to its arguments"),
    ],
)
def test_a_fit_says_what_is_wrong_with_a_density(function, error, message):
    """The first pass compiles it, before there are parameters; then it is tried on a row."""
    mixture = vbfast.Mixture(Custom(function, sufficient_statistics, maximize, 1), 2)
    with pytest.raises(error, match=message):
        mixture.fit(np.arange(1.0, 9.0)[:, np.newaxis])


def writing_statistics(x, out):
    x[0] = 0.0


def test_statistics_are_tried(family):
    family.check_statistics(np.ones(1))
    Custom(log_density, sufficient_statistics, maximize, lambda D: D).check_statistics(np.ones(3))

    def two(x, out):
        out[0] = out[1] = x[0]

    with pytest.raises(ValueError, match=r"sufficient_statistics \(two\) has an index beyond"):
        Custom(log_density, two, maximize, n_statistics=1).check_statistics(np.ones(1))
    with pytest.raises(ValueError, match="sufficient_statistics must not write to its arguments"):
        Custom(log_density, writing_statistics, maximize, 1).check_statistics(np.ones(1))


def test_what_statistics_raise_is_theirs_and_says_where():
    def too_long(x, out):
        out[:] = np.ones(7)

    with pytest.raises(ValueError, match="cannot assign slice") as raised:
        Custom(log_density, too_long, maximize, n_statistics=2).check_statistics(np.ones(1))
    assert raised.value.__notes__ == ["Raised by the family's sufficient_statistics."]


def test_what_a_start_raises_is_its_own_and_says_where():
    def start(X, n_components, random_state):
        raise KeyError("no such column")

    with pytest.raises(KeyError) as raised:
        vbfast.GaussianMixture(2, init_params=start).fit(np.arange(8.0)[:, np.newaxis])
    assert raised.value.__notes__ == ["Raised by the function given as init_params."]


def test_numbers_of_statistics_from_functions_that_fail():
    with pytest.raises(TypeError, match="n_statistics must take the number of features, 3") as e:
        Custom(log_density, sufficient_statistics, maximize, len).statistics_length(3)
    assert isinstance(e.value.__cause__, TypeError)


def test_families_are_found_from_the_package():
    assert vbfast.families.Custom is Custom
