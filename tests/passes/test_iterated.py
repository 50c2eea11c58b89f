"""Rows that a function's iterators yield: the same chunks on every lap, or an error."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import vbfast
from vbfast.passes import groups
from vbfast.passes.iterated import IteratedRows
from vbfast.passes.rows import as_row_source, is_read


@pytest.fixture
def X():  # noqa: N802
    return np.random.default_rng(0).normal(size=(100, 3))


def test_a_function_is_rows(X):
    source = as_row_source(lambda: np.split(X, [10, 40]))
    assert isinstance(source, IteratedRows)
    assert isinstance(source, vbfast.RowSource)
    assert (source.n_samples, source.n_features, source.dtype) == (100, 3, np.float64)
    np.testing.assert_array_equal(source.block(5, 60), X[5:60])
    np.testing.assert_array_equal(source.take(np.array([99, 9, 10, 9])), X[[99, 9, 10, 9]])
    assert source.place_of(40) == "chunk 2 row 0"


@pytest.mark.parametrize(
    ("stored", "computed"), [("f4", "f4"), (">f4", "f4"), ("i2", "f8"), ("f2", "f8"), ("O", "f8")]
)
def test_dtypes(X, stored, computed):
    chunks = [chunk.astype(stored) for chunk in np.split(np.round(4 * X), [10, 40])]
    source = as_row_source(lambda: iter(chunks))
    assert source.dtype == computed
    np.testing.assert_array_equal(source.block(0, 100), np.round(4 * X))
    assert {group.dtype for group in source.groups()} == {np.dtype(computed)}


@pytest.mark.parametrize("made", [iter, list, tuple])
def test_what_a_function_may_return(X, made):
    assert as_row_source(lambda: made([X, X])).n_samples == 200


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (None, TypeError, r"X\(\) must return an iterator of two-dimensional arrays; got NoneType"),
        ("text", TypeError, "got str"),
        ([], ValueError, "at least one chunk; got none"),
        ([np.zeros((2, 2)), np.zeros((0, 2))], ValueError, r"chunk 1 of X\(\) has no rows"),
        ([np.zeros((2, 0))], ValueError, "chunk 0 of .* has no features"),
        ([np.zeros(2)], ValueError, r"chunk 0 of .* two dimensions; got shape \(2,\)"),
        ([np.zeros((2, 2)), np.zeros((2, 3))], ValueError, "chunk 1 .* 3 features, but chunk 0"),
        (
            [np.zeros((2, 2), np.float32), np.zeros((2, 2))],
            ValueError,
            "chunk 1 .* computed in float64, but chunk 0 in float32: convert",
        ),
        ([np.zeros((2, 2)), np.zeros((2, 2), complex)], TypeError, "chunk 1 of .* must be real"),
        ([np.ma.masked_equal(np.zeros((2, 2)), 0)], TypeError, "chunk 0 .* masked"),
        ([[["a", "b"]]], TypeError, "chunk 0 of .* must be numeric"),
    ],
)
def test_what_a_function_may_not_return(returned, error, message):
    with pytest.raises(error, match=message):
        as_row_source(lambda: returned)


@pytest.mark.parametrize("function", [len, lambda number: [number], pow])
def test_a_function_with_arguments_is_refused(function):
    with pytest.raises(TypeError, match="X must be a function without arguments that returns an"):
        as_row_source(function)


def test_arguments_with_defaults(X):
    assert as_row_source(lambda chunk=X: [chunk, chunk]).n_samples == 200


@pytest.mark.parametrize("made", [iter, lambda chunks: (chunk for chunk in chunks), map])
def test_an_iterator_is_refused_with_advice(X, made):
    iterator = map(np.asarray, [X, X]) if made is map else made([X, X])
    assert is_read(iterator)
    with pytest.raises(TypeError, match="give the function that makes it, without calling it"):
        as_row_source(iterator)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ([], r"X\(\) yielded 0 chunks, after 3 before. X has to return a new iterator"),
        ([10, 30], "yielded 2 chunks, after 3 before"),
        ([10, 30, 60, 1], "yielded more chunks than the 3"),
        ([10, 29, 60], "chunk 1 of .* has 29 rows; before it had 30"),
        ([10, 30, 61], "chunk 2 of .* has 61 rows; before it had 60"),
    ],
)
def test_other_chunks_on_a_later_lap(X, second, message):
    laps = [[10, 30, 60], second, second]

    def chunks():
        return (np.zeros((size, 3)) for size in laps.pop(0))

    source = as_row_source(chunks)
    with pytest.raises(ValueError, match=message):
        source.runner(None).moments_about(np.zeros(3), "first")
    if "more" not in message:  # rows are read no further than they are asked for
        with pytest.raises(ValueError, match=message):
            source.block(0, 100)


def test_a_function_that_returns_the_same_iterator(X):
    iterator = iter([X, X])
    with pytest.raises(ValueError, match=r"0 chunks, after 2 before\. X has to return a new"):
        vbfast.GaussianMixture(2, random_state=0).fit(lambda: iterator)


def test_other_features_on_a_later_lap(X):
    laps = [X, X[:, :2]]
    with pytest.raises(ValueError, match=r"chunk 0 of X\(\) has 2 features, but chunk 0 has 3"):
        vbfast.GaussianMixture(2, random_state=0).fit(lambda: [laps.pop(0)])


@pytest.mark.parametrize("lap", [1, 2])
def test_what_a_chunk_raises_names_it(X, lap):
    laps = []

    def chunks():
        laps.append(None)
        yield X
        if len(laps) == lap:
            raise KeyError("the disk is gone")
        yield X

    with pytest.raises(KeyError) as caught:
        vbfast.GaussianMixture(2, random_state=0).fit(chunks)
    assert caught.value.__notes__ == ["Raised by chunk 1 of X()."]


class TestReadingAhead:
    """The next groups are made in a thread while one is computed on, two at most."""

    @pytest.fixture
    def source(self, X, monkeypatch):
        monkeypatch.setattr(groups, "GROUP_ROWS", 20)
        self.made, self.threads = [], set()

        def chunks():
            for start in range(0, 100, 10):
                self.made.append(start)
                self.threads.add(threading.current_thread())
                yield X[start : start + 10]

        source = as_row_source(chunks)
        self.made.clear()
        self.threads.clear()
        return source

    def test_few_groups_wait(self, source):
        seen = []
        for number, _ in enumerate(source.runner(None)._map(lambda runner: runner.n_samples)):
            seen.append(len(self.made))
            assert len(self.made) <= 2 * (number + 3)
        assert len(self.made) == 10
        assert threading.current_thread() not in self.threads

    def test_the_thread_ends_with_an_error(self, source):
        def fail(runner):
            raise RuntimeError("no")

        with pytest.raises(RuntimeError, match="no"):
            list(source.runner(None)._map(fail))
        assert len(self.made) <= 6
        for thread in self.threads:
            thread.join(timeout=10.0)
            assert not thread.is_alive()
