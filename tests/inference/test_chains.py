"""Chains choose centres as k-means++ does, from as many rows as they visit."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast.contract import NonFiniteRowError
from vbfast.inference.chains import chain_rows
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner


def runner_over(rows, weight=None):
    return LocalRunner(as_row_source(np.asarray(rows)), weight)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("weighted", [False, True])
def test_long_chains_draw_by_squared_distances(dtype, weighted):
    X = np.array([[0.0], [1.0], [2.0], [5.0], [1e3 + 0.0]], dtype)[:4]
    weight = np.array([1.0, 3.0, 0.0, 2.0]) if weighted else np.ones(4)
    runner = runner_over(X, weight if weighted else None)
    counts = np.zeros((4, 4))
    state = np.random.RandomState(0)
    for _ in range(3000):
        first, second = chain_rows(runner, 2, state, length=60)
        counts[first, second] += 1
    expected = weight * np.square(X - X.T)
    expected *= (weight / weight.sum() / expected.sum(axis=1))[:, np.newaxis]
    # Four standard deviations of the counts.
    deviations = np.sqrt(3000 * expected * (1.0 - expected))
    assert np.all(np.abs(counts - 3000 * expected) <= 4.0 * deviations)


def test_the_closest_centre_counts_within_a_block_and_before_it():
    """Of as many groups as centres, far from each other, each has one."""
    rng = np.random.default_rng(0)
    centres = 1e3 * rng.normal(size=(150, 3))
    X = np.repeat(centres, 4, axis=0) + rng.normal(size=(600, 3))
    rows = chain_rows(runner_over(X), 150, np.random.RandomState(1), length=400)
    assert len(set(rows // 4)) > 0.97 * 150


def test_rows_of_no_weight_are_never_chosen():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2))
    weight = (np.arange(400) % 3 == 0).astype(float)
    rows = chain_rows(runner_over(X, weight), 90, np.random.RandomState(0))
    assert np.all(rows % 3 == 0)


def test_an_integer_weight_counts_as_repetitions():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(200, 3))
    repeats = rng.integers(0, 4, 200)
    one = chain_rows(runner_over(X, repeats.astype(float)), 40, np.random.RandomState(0))
    other = chain_rows(runner_over(np.repeat(X, repeats, axis=0)), 40, np.random.RandomState(0))
    np.testing.assert_array_equal(one, np.repeat(np.arange(200), repeats)[other])


@pytest.mark.parametrize("rows", [np.ones((30, 2)), np.eye(30) * 1e200])
def test_without_distances_to_go_by(rows):
    chosen = chain_rows(runner_over(rows), 7, np.random.RandomState(0))
    assert chosen.shape == (7,)
    assert np.all((chosen >= 0) & (chosen < 30))


def test_one_centre():
    assert chain_rows(runner_over(np.eye(3)), 1, np.random.RandomState(0)).shape == (1,)


def test_the_first_row_that_is_not_finite_is_named():
    X = np.ones((50, 2))
    X[[31, 44], 1] = np.nan
    with pytest.raises(NonFiniteRowError) as error:
        chain_rows(runner_over(X), 3, np.random.RandomState(0))
    assert error.value.row == 31
