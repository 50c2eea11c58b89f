"""The global step of components of one's own, and what a family checks."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import vbfast
from vbfast.engine.contract import Statistics
from vbfast.families.custom import Custom, CustomLikelihood, CustomParameters

numba = pytest.importorskip("numba")

EPS = float(np.finfo(float).eps)


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
    return Statistics("means", np.zeros_like(first), np.asarray(weight, float), first, None)


def previous(family, theta=None, n_components=2):
    return CustomParameters(family, 1, np.full(n_components, 1 / n_components), theta)


def test_maximise(family):
    updated = CustomLikelihood(EPS).maximise(statistics([3, 1], [[6], [5]]), previous(family))
    np.testing.assert_array_equal(updated.weights, [0.75, 0.25])
    np.testing.assert_array_equal(updated.theta, [[2], [5]])
    params = updated.kernel_params()
    np.testing.assert_array_equal(params.offset, np.log([0.75, 0.25]))
    assert (params.n_components, params.n_features, params.n_statistics) == (2, 1, 1)


def test_a_component_without_rows_keeps_its_parameters(family):
    theta = np.array([[1.0], [7.0]])
    updated = CustomLikelihood(EPS).maximise(
        statistics([4, 0], [[8], [0]]), previous(family, theta)
    )
    np.testing.assert_array_equal(updated.theta, [[2], [7]])
    np.testing.assert_array_equal(updated.weights, [1, 0])
    np.testing.assert_array_equal(updated.kernel_params().offset, [0, -np.inf])
    np.testing.assert_array_equal(theta, [[1], [7]])


def test_a_component_without_rows_at_the_start(family):
    with pytest.raises(ValueError, match="component 1 has none"):
        CustomLikelihood(EPS).maximise(statistics([4, 0], [[8], [0]]), previous(family))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (np.ones(2), r"shape \(2,\)"),
        (np.ones((3, 1)), r"n_components = 2; got shape \(3, 1\)"),
        (np.ones((2, 0)), r"shape \(2, 0\)"),
        ([[1.0], [np.nan]], "finite parameters; component 1 of 2"),
    ],
)
def test_what_maximize_returns_is_checked(returned, message):
    family = Custom(log_density, sufficient_statistics, lambda s, w: returned, n_statistics=1)
    with pytest.raises(ValueError, match=message):
        CustomLikelihood(EPS).maximise(statistics([3, 1], [[6], [5]]), previous(family))


def test_another_number_of_parameters_than_before(family):
    with pytest.raises(ValueError, match="1 parameters a component, and 3 before"):
        CustomLikelihood(EPS).maximise(
            statistics([4, 0], [[8], [0]]), previous(family, np.ones((2, 3)))
        )


@pytest.mark.parametrize(
    ("n_statistics", "expected"), [(3, 3), (np.int64(3), 3), (lambda n_features: n_features + 1, 6)]
)
def test_statistics_length(n_statistics, expected):
    family = Custom(log_density, sufficient_statistics, maximize, n_statistics)
    assert family.statistics_length(5) == expected


@pytest.mark.parametrize(("n_statistics", "error"), [(0, ValueError), (1.5, TypeError)])
def test_statistics_length_that_is_none(n_statistics, error):
    family = Custom(log_density, sufficient_statistics, maximize, n_statistics)
    with pytest.raises(error):
        family.statistics_length(5)


def test_functions_are_compiled_once(family):
    assert isinstance(family.log_density, numba.core.dispatcher.Dispatcher)
    compiled = numba.njit(log_density)
    other = Custom(compiled, sufficient_statistics, maximize, n_statistics=1)
    assert other.log_density is compiled
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
        CustomLikelihood(EPS).maximise(statistics([0, 0], [[0], [0]]), previous(family))


def test_what_is_not_callable():
    with pytest.raises(TypeError, match="maximize must be callable; got 3"):
        Custom(log_density, sufficient_statistics, 3, n_statistics=1)
    with pytest.raises(TypeError, match="sample must be callable; got 'x'"):
        Custom(log_density, sufficient_statistics, maximize, n_statistics=1, sample="x")


def test_families_are_found_from_the_package():
    assert vbfast.families.Custom is Custom
