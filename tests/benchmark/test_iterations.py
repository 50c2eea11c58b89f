"""How iterations are timed: against an estimator whose time is known."""

from __future__ import annotations

import numpy as np
import pytest

import vbfast
from vbfast.benchmark import timing
from vbfast.benchmark.cases import CASES
from vbfast.benchmark.iterations import iteration_seconds, peer_iteration, time_iteration


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


def test_an_iteration_is_the_difference_of_two_fits(clock):
    class Estimator:
        def set_params(self, max_iter):
            self.max_iter = max_iter

        def fit(self, rows):
            clock.now += 10 + 0.25 * self.max_iter

    assert iteration_seconds(Estimator(), None, 4) == pytest.approx(0.25)


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
    time = time_iteration(case, "float64", product, repeats=2, peer_repeats=1, iterations=1)
    assert time.peer > 0
    assert time.peak == pytest.approx(2 * 100**3 / 3e-5)
    assert time.floor == case.floor(time.peak, "float64", vbfast.get_num_threads())
    product = timing.MatrixProduct("float32", 100)
    alone = time_iteration(case, np.float32, product, repeats=1, peer_repeats=0, iterations=1)
    assert np.isnan([alone.peer, alone.ratio]).all()
    assert alone.dtype == "float32"


def test_a_peer_that_fails_is_left_out():
    case = CASES["full_16"].smaller(1000)
    start = {**case.start(), "reg_covar": 0.0}
    rows = np.zeros((200, case.n_features))
    assert peer_iteration(start, rows) is None
