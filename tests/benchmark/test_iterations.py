"""How iterations are timed: against an estimator whose time is known."""

from __future__ import annotations

import numpy as np
import pytest

import vbfast
from vbfast.benchmark import iterations, timing
from vbfast.benchmark.cases import CASES
from vbfast.benchmark.iterations import (
    iteration_seconds,
    iterations_lasting,
    peer_iteration,
    time_iteration,
)


@pytest.fixture
def clock(monkeypatch):
    """A clock that only moves when it is told to."""

    class Clock:
        now = 0.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


class Estimator:
    """One whose fit moves a clock."""

    def __init__(self, clock, start, iteration):
        self.clock, self.start, self.iteration = clock, start, iteration

    def set_params(self, max_iter):
        self.max_iter = max_iter

    def fit(self, rows):
        self.clock.now += self.start + self.iteration * self.max_iter


def test_an_iteration_is_the_difference_of_two_fits(clock):
    assert iteration_seconds(Estimator(clock, 10, 0.25), None, 4) == 0.25


@pytest.mark.parametrize(
    ("iteration", "expected"), [(0.125, 4), (2.0, 3), (1 / 1024, 100), (0.0, 100)]
)
def test_iterations_last_long_enough(clock, iteration, expected):
    assert iterations_lasting(Estimator(clock, 16, iteration), None, 0.5) == expected


def test_calls_take_turns_and_their_medians_are_taken(clock):
    order = []
    spans = {"a": iter([1, 9, 2]), "b": iter([5, 4, 60])}

    def call(name):
        order.append(name)
        clock.now += next(spans[name])

    medians = timing.alternate([lambda: call("a"), lambda: call("b")], 3)
    assert order == ["a", "b"] * 3
    np.testing.assert_array_equal(medians, [2, 5])


def test_a_matrix_product_is_timed_once_more(clock, monkeypatch):
    product = timing.MatrixProduct("float32", 30)
    assert product.operations == 54_000

    def matmul(a, b, out):
        clock.now += 7
        assert a.dtype == b.dtype == out.dtype == np.float32
        assert a.shape == b.shape == out.shape == (30, 30)

    monkeypatch.setattr(np, "matmul", matmul)
    assert product.seconds() == 7


def test_a_case_is_timed_with_and_without_its_peer(monkeypatch):
    case = CASES["diag_32"].smaller(1000)
    product = timing.MatrixProduct("float64", 100)
    monkeypatch.setattr(product, "seconds", iter([2e-5, 4e-5]).__next__)
    time = time_iteration(case, "float64", product, repeats=2, peer_repeats=1, least_seconds=0.0)
    assert time.peer > 0
    peaks = [1e11, 5e10]
    assert time.peak == pytest.approx(np.mean(peaks))
    floors = [case.floor(peak, "float64", vbfast.get_num_threads()) for peak in peaks]
    assert time.floor == pytest.approx(np.mean(floors))
    product = timing.MatrixProduct("float32", 100)
    alone = time_iteration(case, np.float32, product, repeats=1, peer_repeats=0, least_seconds=0.0)
    assert np.isnan([alone.peer, alone.ratio]).all()
    assert alone.dtype == "float32"
    assert alone.fraction == pytest.approx(alone.floor / alone.ours)


def test_a_fraction_compares_an_iteration_with_the_product_after_it(monkeypatch):
    case = CASES["diag_32"].smaller(1000)
    product = timing.MatrixProduct("float64", 100)
    monkeypatch.setattr(product, "seconds", iter([2e-5, 4e-5, 8e-5]).__next__)
    floors = [case.floor(peak, "float64", vbfast.get_num_threads()) for peak in (1e11, 5e10, 25e9)]
    # As if a neighbour slowed both down more and more.
    remaining = iter(floors)
    monkeypatch.setattr(iterations, "iterations_lasting", lambda *_: 3)
    monkeypatch.setattr(iterations, "iteration_seconds", lambda *_: 2 * next(remaining))
    time = time_iteration(case, "float64", product, repeats=3, peer_repeats=0)
    assert time.fraction == pytest.approx(0.5)


def test_a_peer_that_fails_is_left_out():
    case = CASES["full_16"].smaller(1000)
    start = {**case.start(), "reg_covar": 0.0}
    rows = np.zeros((200, case.n_features))
    assert peer_iteration(start, rows) is None
