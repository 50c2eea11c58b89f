"""Starts of a fit: every kind of ``init_params``."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.mixture

from vbfast.contract import Linear, NonFiniteRowError
from vbfast.families.covariances import MOMENTS_OF
from vbfast.inference.initialisation import INIT_PARAMS, initial_statistics
from vbfast.passes import random_responsibilities
from vbfast.passes.random_responsibilities import RandomResponsibilities
from vbfast.passes.rows import SlicedRows, as_row_source
from vbfast.passes.runner import LocalRunner


def start(
    X,
    init_params,
    covariance_type="full",
    n_components=3,
    random_state=0,
    sample_weight=None,
):
    return initial_statistics(
        LocalRunner(as_row_source(X), sample_weight),
        n_components=n_components,
        moments=MOMENTS_OF[covariance_type],
        init_params=init_params,
        random_state=random_state,
    )


def means(statistics):
    return statistics.centres + statistics.first / statistics.weight[:, np.newaxis]


@pytest.fixture
def X(rng):  # noqa: N802 (named as in the literature)
    return rng.normal(size=(500, 4)) + 5.0 * rng.integers(3, size=(500, 1))


@pytest.mark.parametrize("init_params", ["random", "random_from_data"])
@pytest.mark.parametrize("seed", [0, 7])
def test_the_random_stream_is_scikit_learn_s(X, init_params, seed):
    peer = sklearn.mixture.GaussianMixture(3, init_params=init_params, random_state=seed)
    peer._initialize_parameters(X, np.random.RandomState(seed))
    np.testing.assert_allclose(means(start(X, init_params, random_state=seed)), peer.means_)


@pytest.mark.parametrize("init_params", ["random", "random_from_data"])
def test_the_generator_is_left_where_scikit_learn_leaves_it(X, init_params):
    ours, theirs = np.random.RandomState(5), np.random.RandomState(5)
    start(X, init_params, random_state=ours)
    peer = sklearn.mixture.GaussianMixture(3, init_params=init_params)
    peer._initialize_parameters(X, theirs)
    assert ours.uniform() == theirs.uniform()


def test_kmeans_gives_hard_assignments(X):
    statistics = start(X, "kmeans", "diag")
    assert statistics.weight.sum() == len(X)
    np.testing.assert_array_equal(statistics.weight, np.round(statistics.weight))
    gaps = np.diff(np.sort(means(statistics).mean(axis=1)))
    np.testing.assert_allclose(gaps, 5.0, atol=0.5)


@pytest.mark.parametrize("init_params", ["k-means++", "random_from_data"])
@pytest.mark.parametrize("covariance_type", ["full", "diag", "spherical"])
def test_one_row_a_component(X, init_params, covariance_type):
    statistics = start(X, init_params, covariance_type)
    np.testing.assert_array_equal(statistics.weight, 1.0)
    assert not statistics.second.any()
    for mean in means(statistics):
        assert (mean == X).all(axis=1).any()


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("kind", ["array", "labels", "callable"])
def test_responsibilities_of_one_s_own(X, rng, covariance_type, kind):
    labels = rng.integers(3, size=len(X))
    resp = np.eye(3)[labels]
    given = {"array": resp, "labels": labels, "callable": lambda *_: resp}[kind]
    statistics = start(X, given, covariance_type)
    np.testing.assert_allclose(statistics.weight, np.bincount(labels))
    expected = np.stack([X[labels == k].mean(axis=0) for k in range(3)])
    np.testing.assert_allclose(means(statistics), expected)
    centred = X - expected[labels]
    scatter = np.stack([centred[labels == k].T @ centred[labels == k] for k in range(3)])
    second = {
        "full": scatter,
        "tied": scatter.sum(axis=0),
        "diag": np.diagonal(scatter, axis1=1, axis2=2),
        "spherical": np.trace(scatter, axis1=1, axis2=2) / 4,
    }[covariance_type]
    np.testing.assert_allclose(statistics.second, second, atol=1e-9)


def test_a_callable_is_given_rows_components_and_generator(X):
    seen = []

    def resp(rows, n_components, random_state):
        seen.append((rows, n_components, random_state))
        return np.full((len(rows), n_components), 1 / n_components)

    start(X, resp)
    ((rows, n_components, random_state),) = seen
    assert rows is X
    assert n_components == 3
    assert isinstance(random_state, np.random.RandomState)


@pytest.mark.parametrize("init_params", INIT_PARAMS)
@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_storage_does_not_change_the_bits(X, init_params, covariance_type):
    expected = start(X, init_params, covariance_type)
    actual = start(SlicedRows(X), init_params, covariance_type)
    for name in ("centres", "weight", "first", "second"):
        np.testing.assert_array_equal(getattr(actual, name), getattr(expected, name))


@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random_from_data"])
def test_rows_of_zero_weight_hold_nothing(X, init_params):
    weights = np.zeros(len(X))
    weights[::7] = 1.0
    statistics = start(X, init_params, "diag", sample_weight=weights)
    alone = X[::7]
    assert np.all(means(statistics) >= alone.min(axis=0) - 1e-12)
    assert np.all(means(statistics) <= alone.max(axis=0) + 1e-12)


def test_unknown_names_are_listed(X):
    with pytest.raises(ValueError, match="'kmeans', 'k-means\\+\\+', 'random', 'random_from_data'"):
        start(X, "spectral")
    with pytest.raises(ValueError, match=r"'kmeans', 'random', an array of .*; got 'spectral'"):
        initial_statistics(
            LocalRunner(as_row_source(X)),
            n_components=3,
            moments="first",
            init_params="spectral",
            random_state=0,
            form=Linear(np.zeros((3, 4))),
        )


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_random_responsibilities_are_one_stream_in_any_order(monkeypatch, chunk):
    monkeypatch.setattr(random_responsibilities, "SKIP_CHUNK", chunk)
    expected = np.random.RandomState(4)
    uniform = expected.uniform(size=(90, 3))
    generator = np.random.RandomState(4)
    random = RandomResponsibilities(generator, 3, np.dtype(np.float64))
    for first in (40, 0, 70, 20, 50, 10, 30, 60):
        block = random.block(first, first + 10)
        own = uniform[first : first + 10]
        np.testing.assert_array_equal(block, own / own.sum(axis=1)[:, np.newaxis])
    random.leave_behind(generator, 90)
    assert generator.uniform() == expected.uniform()


@pytest.mark.parametrize("init_params", ["k-means++", "random_from_data"])
def test_a_drawn_row_that_is_not_finite(X, init_params):
    """The error names the first such row, and not the one that was drawn."""
    rows = np.full_like(X, np.nan)
    rows[:5] = X[:5]
    with pytest.raises(NonFiniteRowError) as caught:
        start(rows, init_params)
    assert caught.value.row == 5


def test_too_few_rows_of_positive_weight(X):
    weights = np.zeros(len(X))
    weights[:2] = 1.0
    for init_params in ("kmeans", "k-means++", "random_from_data"):
        with pytest.raises(ValueError, match="3 components need as many rows of positive weight"):
            start(X, init_params, sample_weight=weights)


@pytest.mark.parametrize(
    "resp", [np.ones((500, 2)) / 2, np.ones((500, 3)), np.full(500, 3), np.ones((4, 3)) / 3]
)
def test_what_is_no_responsibility_is_an_error(X, resp):
    with pytest.raises(ValueError, match=r"resp|init_params|row|component"):
        start(X, resp)


def test_a_function_that_returns_nothing():
    rows = LocalRunner(as_row_source(np.eye(3)))
    with pytest.raises(ValueError, match="the function returned None"):
        initial_statistics(
            rows,
            n_components=2,
            moments="diag",
            init_params=lambda X, n_components, random_state: None,
        )
